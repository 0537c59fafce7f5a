//! API keys are made, changed and ended. Used by the admin API and by `mcp-ultra key` on the
//! machine of the store, so that both follow the same rules.

mod rules;
mod view;

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{
    ApiKey, Clock, PrincipalKind,
    ports::{KeyStore, KeyStoreError},
};
use mcp_ultra_edge::identity::{IssuedSecret, NoRandomness, issue, new_key_id};
use secrecy::SecretString;

pub use rules::{Invalid, LONGEST_OVERLAP};
pub use view::{KeyView, SecretView};

/// How long a key lasts where nothing else is asked for.
pub const USUAL_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// How long a replaced secret stays valid where nothing else is asked for.
pub const USUAL_OVERLAP: Duration = Duration::from_hours(24);
/// The keys of a page where all are looked at.
const PAGE: u32 = 200;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was asked for breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The tenant has no such key.
    #[error("there is no such API key")]
    NotFound,
    /// The key has been revoked or has expired; make a new one.
    #[error("the API key has ended and can't be changed any more")]
    Ended,
    /// The tenant has a key of that name.
    #[error("there is an API key of that name already")]
    NameTaken,
    /// The key is not of the revision that the change was meant for.
    #[error("the API key has been changed meanwhile")]
    Changed,
    /// The store did not do it.
    #[error("the store of API keys failed: {0}")]
    Store(String),
    /// No secret can be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl From<KeyStoreError> for KeyError {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::Exists => Self::NameTaken,
            KeyStoreError::Changed => Self::Changed,
            KeyStoreError::Failed(why) => Self::Store(why),
        }
    }
}

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose it will be.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// What kind of caller will hold it.
    pub kind: PrincipalKind,
    /// The roles of its principal.
    pub roles: Vec<String>,
    /// The scopes of its principal.
    pub scopes: Vec<String>,
    /// When it ends, since the Unix epoch; `None` for never.
    pub expires: Option<Duration>,
}

/// What is to become of a key; `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// What people call it.
    pub name: Option<String>,
    /// All its roles.
    pub roles: Option<Vec<String>>,
    /// All its scopes.
    pub scopes: Option<Vec<String>>,
    /// When it ends; `Some(None)` for never.
    pub expires: Option<Option<Duration>>,
}

/// A key with a secret that is shown this once.
#[derive(Debug)]
pub struct Shown {
    /// The key as it is kept.
    pub key: ApiKey,
    /// The secret.
    pub token: SecretString,
}

/// The keys of all tenants.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    changed: Arc<dyn Fn(&str) + Send + Sync>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys in `store`. `changed` is told the identifier of every key that has been changed,
    /// so that nobody goes on by what was known of it.
    pub fn new(
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        changed: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        Self {
            store,
            clock,
            changed,
        }
    }

    /// An identifier for a key that is to be made.
    pub fn new_id(&self) -> Result<String, KeyError> {
        Ok(new_key_id()?)
    }

    /// The key that [`create`](Self::create) would make, without its secret.
    pub fn prepare(&self, id: String, new: NewKey) -> Result<ApiKey, KeyError> {
        let now = self.clock.now();
        rules::check_new(&new, now)?;
        Ok(ApiKey {
            id,
            tenant: new.tenant,
            name: new.name,
            kind: new.kind,
            roles: new.roles.into_iter().collect(),
            scopes: new.scopes.into_iter().collect(),
            created: now,
            expires: new.expires,
            revoked: None,
            revision: 1,
            secrets: Vec::new(),
        })
    }

    /// Makes a key.
    pub async fn create(&self, id: String, new: NewKey) -> Result<Shown, KeyError> {
        let mut key = self.prepare(id, new)?;
        let IssuedSecret { token, kept } = issue(key.created)?;
        key.secrets.push(kept);
        self.store.add(&key).await?;
        Ok(Shown { key, token })
    }

    /// A key of a tenant.
    pub async fn get(&self, tenant: &str, id: &str) -> Result<ApiKey, KeyError> {
        let found = self.store.get(tenant, id).await?;
        found.ok_or(KeyError::NotFound)
    }

    /// At most `limit` keys of a tenant in the order of their identifiers, after `after`.
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyError> {
        Ok(self.store.list(tenant, after, limit).await?)
    }

    /// What would become of a key by a change.
    pub fn apply(&self, mut key: ApiKey, change: KeyChange) -> Result<ApiKey, KeyError> {
        let now = self.clock.now();
        if !key.is_valid(now) {
            return Err(KeyError::Ended);
        }
        rules::check_change(&change, now)?;
        let KeyChange {
            name,
            roles,
            scopes,
            expires,
        } = change;
        if let Some(name) = name {
            key.name = name;
        }
        if let Some(roles) = roles {
            key.roles = roles.into_iter().collect();
        }
        if let Some(scopes) = scopes {
            key.scopes = scopes.into_iter().collect();
        }
        if let Some(expires) = expires {
            key.expires = expires;
        }
        Ok(key)
    }

    /// All keys of a tenant.
    pub async fn all(&self, tenant: &str) -> Result<Vec<ApiKey>, KeyError> {
        let mut all: Vec<ApiKey> = Vec::new();
        loop {
            let after = all.last().map(|key| &*key.id);
            let page = self.store.list(tenant, after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Whether another key of its tenant has the name of this one; the store checks it again.
    pub async fn check_name(&self, key: &ApiKey) -> Result<(), KeyError> {
        let all = self.all(&key.tenant).await?;
        let mut others = all.iter().filter(|other| other.id != key.id);
        if others.any(|other| other.name == key.name) {
            return Err(KeyError::NameTaken);
        }
        Ok(())
    }

    /// Whether a key could be rotated.
    pub fn check_rotation(&self, key: &ApiKey, overlap: Duration) -> Result<(), KeyError> {
        rules::check_overlap(overlap)?;
        if key.is_valid(self.clock.now()) {
            Ok(())
        } else {
            Err(KeyError::Ended)
        }
    }

    /// Changes a key that was read before; it must not have been changed since.
    pub async fn update(&self, key: ApiKey, change: KeyChange) -> Result<ApiKey, KeyError> {
        let key = self.apply(key, change)?;
        self.replace(key).await
    }

    /// Gives a key that was read before a new secret; the one before stays valid for `overlap`.
    pub async fn rotate(&self, mut key: ApiKey, overlap: Duration) -> Result<Shown, KeyError> {
        let now = self.clock.now();
        rules::check_overlap(overlap)?;
        let IssuedSecret { token, kept } = issue(now)?;
        key.rotate(kept, overlap, now)
            .map_err(|_| KeyError::Ended)?;
        let key = self.replace(key).await?;
        Ok(Shown { key, token })
    }

    /// Ends a key that was read before. One that has been revoked stays as it is.
    pub async fn revoke(&self, mut key: ApiKey) -> Result<ApiKey, KeyError> {
        if key.revoked.is_some() {
            return Ok(key);
        }
        key.revoke(self.clock.now());
        self.replace(key).await
    }

    async fn replace(&self, mut key: ApiKey) -> Result<ApiKey, KeyError> {
        let revision = key.revision;
        key.revision += 1;
        self.store.replace(&key, revision).await?;
        (self.changed)(&key.id);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::{ManualClock, ports::MemoryKeyStore};
    use parking_lot::Mutex;
    use secrecy::ExposeSecret;

    use super::*;

    struct Rig {
        keys: Keys,
        clock: Arc<ManualClock>,
        changed: Arc<Mutex<Vec<String>>>,
    }

    fn rig() -> Rig {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(1_000)));
        let changed = Arc::new(Mutex::default());
        let told: Arc<Mutex<Vec<String>>> = Arc::clone(&changed);
        let keys = Keys::new(
            Arc::new(MemoryKeyStore::default()),
            clock.clone(),
            Arc::new(move |id| told.lock().push(id.to_owned())),
        );
        Rig {
            keys,
            clock,
            changed,
        }
    }

    fn new_key() -> NewKey {
        NewKey {
            tenant: "acme".into(),
            name: "reports".into(),
            kind: PrincipalKind::Agent,
            roles: vec!["reader".into()],
            scopes: Vec::new(),
            expires: Some(Duration::from_secs(5_000)),
        }
    }

    impl Rig {
        async fn made(&self) -> Shown {
            let id = self.keys.new_id().unwrap();
            self.keys.create(id, new_key()).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_key_lives_and_ends() {
        let rig = rig();
        let made = rig.made().await;
        assert!(made.token.expose_secret().starts_with("mcpu_"));
        let key = rig.keys.get("acme", &made.key.id).await.unwrap();
        assert_eq!(key, made.key);
        let rotated = rig.keys.rotate(key, Duration::from_mins(1)).await.unwrap();
        assert_ne!(rotated.token.expose_secret(), made.token.expose_secret());
        assert_eq!((rotated.key.secrets.len(), rotated.key.revision), (2, 2));
        let ended = rig.keys.revoke(rotated.key).await.unwrap();
        assert_eq!(ended.revoked, Some(rig.clock.now()));
        let again = rig.keys.revoke(ended.clone()).await.unwrap();
        assert_eq!(again, ended, "ending it twice changes nothing");
        let late = rig.keys.update(ended.clone(), KeyChange::default()).await;
        assert!(matches!(late, Err(KeyError::Ended)));
        let late = rig.keys.rotate(ended, Duration::ZERO).await;
        assert!(matches!(late, Err(KeyError::Ended)));
        assert_eq!(*rig.changed.lock(), [made.key.id.clone(), made.key.id]);
    }

    #[tokio::test]
    async fn two_changes_of_one_revision_do_not_both_win() {
        let rig = rig();
        let key = rig.made().await.key;
        let change = KeyChange {
            name: Some("billing".into()),
            expires: Some(None),
            ..KeyChange::default()
        };
        let changed = rig.keys.update(key.clone(), change.clone()).await.unwrap();
        assert_eq!((&*changed.name, changed.expires), ("billing", None));
        assert_eq!(changed.roles, key.roles);
        let lost = rig.keys.update(key, change).await;
        assert!(matches!(lost, Err(KeyError::Changed)));
    }

    #[tokio::test]
    async fn names_are_taken_once() {
        let rig = rig();
        rig.made().await;
        let again = rig.keys.create("other".into(), new_key()).await;
        assert!(matches!(again, Err(KeyError::NameTaken)));
    }
}
