//! API keys: what is known of one, and the rules by which its secrets come and go.
//!
//! What is kept never holds a secret, only its digest. How a secret looks and how the digest is
//! made is the business of whoever issues and checks it (`edge::identity`).

use std::{collections::BTreeSet, time::Duration};

use crate::{Attributes, Principal, PrincipalKind, Withdrawal};

/// The issuer of principals that are known by an API key.
pub const API_KEY_ISSUER: &str = "api-key";

/// How many secrets of one key are valid at a time: the current one, and while it is being
/// replaced the one before.
pub const MOST_SECRETS: usize = 2;

/// An API key: a principal, and the secrets that it is known by. Times are since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier, unique over all tenants.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What people call it, unique among the keys of a tenant.
    pub name: String,
    /// What kind of caller holds it.
    pub kind: PrincipalKind,
    /// The roles of its principal.
    pub roles: BTreeSet<String>,
    /// The scopes of its principal.
    pub scopes: BTreeSet<String>,
    /// When it was made.
    pub created: Duration,
    /// When it ends, with all its secrets.
    pub expires: Option<Duration>,
    /// When it was ended for good, before its time.
    pub revoked: Option<Duration>,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// Its secrets, the newest last.
    pub secrets: Vec<KeySecret>,
}

/// What is kept of one secret of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// The part of the secret that it is found by; no secret itself, and unique.
    pub lookup: String,
    /// The SHA-256 of the whole.
    pub digest: [u8; 32],
    /// When it was issued.
    pub created: Duration,
    /// When it ends, where that is before the key does.
    pub expires: Option<Duration>,
    /// When it was used for the last time, as far as has been noted.
    pub last_used: Option<Duration>,
}

impl KeySecret {
    /// A secret that lasts as long as its key.
    pub fn new(lookup: String, digest: [u8; 32], created: Duration) -> Self {
        Self {
            lookup,
            digest,
            created,
            expires: None,
            last_used: None,
        }
    }
}

/// The key can't be changed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API key has ended")]
pub struct KeyEnded;

impl ApiKey {
    /// Whether anybody is known by it still.
    pub fn is_valid(&self, now: Duration) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }

    /// When the secret ends, if it is one of this key and has not ended by `now`.
    pub fn ends(&self, lookup: &str, now: Duration) -> Option<Duration> {
        let secret = self.secrets.iter().find(|one| one.lookup == lookup)?;
        let end = [self.expires, secret.expires].into_iter().flatten().min();
        let end = end.unwrap_or(Duration::MAX);
        (self.is_valid(now) && now < end).then_some(end)
    }

    /// When any of its secrets was used for the last time.
    pub fn last_used(&self) -> Option<Duration> {
        self.secrets.iter().filter_map(|one| one.last_used).max()
    }

    /// Takes a new secret; the one before stays valid until `overlap` is over, and all older ones
    /// end now.
    pub fn rotate(
        &mut self,
        new: KeySecret,
        overlap: Duration,
        now: Duration,
    ) -> Result<(), KeyEnded> {
        if !self.is_valid(now) {
            return Err(KeyEnded);
        }
        self.secrets
            .retain(|one| one.expires.is_none_or(|end| now < end));
        let older = self.secrets.len().saturating_sub(MOST_SECRETS - 1);
        self.secrets.drain(..older);
        let end = now.saturating_add(overlap);
        for secret in &mut self.secrets {
            secret.expires = Some(secret.expires.map_or(end, |earlier| earlier.min(end)));
        }
        self.secrets.push(new);
        Ok(())
    }

    /// Ends it for good. Ending it again changes nothing.
    pub fn revoke(&mut self, now: Duration) {
        self.revoked.get_or_insert(now);
    }

    /// Who is known by one of its secrets, which ends at `end` or with `withdrawal`.
    pub fn principal(&self, end: Duration, withdrawal: &Withdrawal) -> Principal {
        let mut attributes = Attributes::new(self.kind, &self.tenant, API_KEY_ISSUER, &self.id);
        attributes.roles.clone_from(&self.roles);
        attributes.scopes.clone_from(&self.scopes);
        attributes.withdrawal = withdrawal.clone();
        attributes.expires = (end < Duration::MAX).then_some(end);
        attributes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key() -> ApiKey {
        ApiKey {
            id: "key_1".into(),
            tenant: "acme".into(),
            name: "reports".into(),
            kind: PrincipalKind::Agent,
            roles: ["reader".to_owned()].into(),
            scopes: BTreeSet::new(),
            created: at(0),
            expires: Some(at(1000)),
            revoked: None,
            revision: 1,
            secrets: vec![KeySecret::new("a".into(), [1; 32], at(0))],
        }
    }

    fn valid(key: &ApiKey, now: Duration) -> Vec<&str> {
        let all = ["a", "b", "c"].into_iter();
        all.filter(|one| key.ends(one, now).is_some()).collect()
    }

    #[test]
    fn at_most_two_secrets_are_valid() {
        let mut key = key();
        let new = |name: &str, now| KeySecret::new(name.into(), [2; 32], now);
        key.rotate(new("b", at(10)), at(100), at(10)).unwrap();
        assert_eq!(valid(&key, at(11)), ["a", "b"]);
        assert_eq!(valid(&key, at(110)), ["b"]);
        key.rotate(new("c", at(20)), at(100), at(20)).unwrap();
        assert_eq!(
            valid(&key, at(21)),
            ["b", "c"],
            "the third displaces the first"
        );
        assert_eq!(valid(&key, at(120)), ["c"]);
    }

    #[test]
    fn an_overlap_never_lengthens_a_secret() {
        let mut key = key();
        key.secrets[0].expires = Some(at(20));
        let new = KeySecret::new("b".into(), [2; 32], at(10));
        key.rotate(new, at(500), at(10)).unwrap();
        assert_eq!(key.ends("a", at(10)), Some(at(20)));
        assert_eq!(key.ends("b", at(10)), Some(at(1000)));
    }

    #[test]
    fn nothing_outlives_the_key() {
        let mut key = key();
        assert_eq!(key.ends("a", at(999)), Some(at(1000)));
        assert_eq!(key.ends("a", at(1000)), None);
        assert_eq!(key.ends("other", at(1)), None);
        key.revoke(at(5));
        key.revoke(at(9));
        assert_eq!((key.revoked, key.ends("a", at(6))), (Some(at(5)), None));
        let new = KeySecret::new("b".into(), [2; 32], at(10));
        assert_eq!(key.rotate(new, at(1), at(10)), Err(KeyEnded));
    }

    #[test]
    fn its_principal_is_of_its_tenant_and_ends_with_the_secret() {
        let withdrawal = Withdrawal::default();
        let principal = key().principal(at(7), &withdrawal);
        let attributes = principal.attributes();
        assert_eq!(&*attributes.tenant, "acme");
        assert_eq!(attributes.expires, Some(at(7)));
        assert!(attributes.roles.contains("reader"));
        withdrawal.withdraw();
        assert!(attributes.withdrawal.is_withdrawn());
        let endless = key().principal(Duration::MAX, &withdrawal);
        assert_eq!(endless.attributes().expires, None);
    }
}
