//! API keys by a clock that the test moves, over a store that fails when it is told to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::{
    ApiKey, Clock, KeySecret, ManualClock, Principal, PrincipalKind,
    ports::{KeyStore, KeyStoreError, MemoryKeyStore, MemoryReplayStore},
};
use mcp_ultra_edge::{
    identity::{
        ApiKeySettings, DpopSettings, Identity, IdentitySettings, KeyTimes, LoginRule, Refused,
        issue,
    },
    outbound::{Outbound, OutboundConfig},
};
use secrecy::ExposeSecret;

const RECHECK: Duration = Duration::from_secs(10);
const MAX_AGE: Duration = Duration::from_mins(10);

/// A store that can be cut off.
#[derive(Default)]
struct Fallible {
    store: MemoryKeyStore,
    down: AtomicBool,
    finds: AtomicUsize,
}

impl Fallible {
    fn up(&self) -> Result<&MemoryKeyStore, KeyStoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(KeyStoreError::Failed("it is down".into()));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl KeyStore for Fallible {
    async fn add(&self, key: &ApiKey) -> Result<(), KeyStoreError> {
        self.up()?.add(key).await
    }
    async fn find(&self, lookup: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        let found = self.up()?.find(lookup).await;
        // Others come in between, as where it is far away.
        tokio::task::yield_now().await;
        found
    }
    async fn get(&self, tenant: &str, id: &str) -> Result<Option<ApiKey>, KeyStoreError> {
        self.up()?.get(tenant, id).await
    }
    async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, KeyStoreError> {
        self.up()?.list(tenant, after, limit).await
    }
    async fn replace(&self, key: &ApiKey, revision: u64) -> Result<(), KeyStoreError> {
        self.up()?.replace(key, revision).await
    }
    async fn used(&self, uses: &[(String, Duration)]) -> Result<(), KeyStoreError> {
        self.up()?.used(uses).await
    }
}

struct Rig {
    store: Arc<Fallible>,
    clock: Arc<ManualClock>,
    identity: Identity,
}

fn rig(cached: usize) -> Rig {
    let store = Arc::new(Fallible::default());
    let clock = Arc::new(ManualClock::at(Duration::from_hours(500_000)));
    let zero = Duration::ZERO;
    let settings = IdentitySettings {
        resource: "https://mcp.example.com/mcp".into(),
        issuers: Vec::new(),
        secret: None,
        api_keys: Some(ApiKeySettings {
            store: store.clone(),
            recheck: RECHECK,
            max_age: MAX_AGE,
        }),
        required_scopes: Vec::new(),
        login: LoginRule::default(),
        certificates: Vec::new(),
        supported_scopes: Vec::new(),
        clock_skew: zero,
        times: KeyTimes {
            refresh: zero,
            max_age: zero,
            retry: zero,
            timeout: zero,
        },
        cached_tokens: cached,
        dpop: DpopSettings {
            required: false,
            max_age: Duration::from_mins(1),
            used: Arc::new(MemoryReplayStore::new(1000)),
        },
    };
    let outbound = Outbound::new(&OutboundConfig::default()).unwrap();
    let identity = Identity::new(settings, &outbound, clock.clone());
    Rig {
        store,
        clock,
        identity,
    }
}

impl Rig {
    /// A key of this name, and its secret.
    async fn key(&self, name: &str) -> (ApiKey, String) {
        let issued = issue(self.clock.now()).unwrap();
        let key = key(name, issued.kept, self.clock.now());
        self.store.add(&key).await.unwrap();
        (key, issued.token.expose_secret().to_owned())
    }

    /// Lets the identity read its keys again.
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        tokio::time::sleep(time).await;
        tokio::task::yield_now().await;
    }

    async fn refused(&self, token: &str) -> Option<Refused> {
        self.identity.identify(token).await.err()
    }

    fn finds(&self) -> usize {
        self.store.finds.load(Ordering::SeqCst)
    }

    async fn revoke(&self, mut key: ApiKey) {
        let revision = key.revision;
        key.revision += 1;
        key.revoke(self.clock.now());
        self.store.replace(&key, revision).await.unwrap();
    }
}

fn is_withdrawn(principal: &Principal) -> bool {
    principal.attributes().withdrawal.is_withdrawn()
}

fn key(name: &str, secret: KeySecret, now: Duration) -> ApiKey {
    ApiKey {
        id: format!("key_{name}"),
        tenant: "acme".into(),
        name: name.into(),
        kind: PrincipalKind::Agent,
        roles: ["reader".to_owned()].into(),
        scopes: std::collections::BTreeSet::new(),
        created: now,
        expires: Some(now + Duration::from_hours(1)),
        revoked: None,
        revision: 1,
        secrets: vec![secret],
    }
}

#[tokio::test]
async fn a_known_key_is_not_looked_up_again_until_it_ends() {
    let rig = rig(100);
    let (_, token) = rig.key("a").await;
    let principal = rig.identity.identify(&token).await.unwrap();
    let attributes = principal.attributes();
    assert_eq!(
        (&*attributes.tenant, &*attributes.subject),
        ("acme", "key_a")
    );
    assert_eq!(attributes.kind, PrincipalKind::Agent);
    for _ in 0..10 {
        assert!(rig.identity.recall(&token).unwrap().is_ok());
    }
    assert_eq!(rig.finds(), 1);
    rig.clock.advance(Duration::from_hours(1));
    assert_eq!(rig.refused(&token).await, Some(Refused::Expired));
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    let rig = rig(100);
    let (key, token) = rig.key("a").await;
    let stranger = issue(rig.clock.now()).unwrap();
    let stranger = stranger.token.expose_secret();
    assert_eq!(rig.refused(stranger).await, Some(Refused::UnknownKey));
    // Found by what the real one is found by, but it is another.
    let forged = issue(rig.clock.now()).unwrap();
    let mut owner = self::key("b", forged.kept.clone(), rig.clock.now());
    owner.secrets[0].digest = key.secrets[0].digest;
    rig.store.add(&owner).await.unwrap();
    let forged = forged.token.expose_secret();
    assert_eq!(rig.refused(forged).await, Some(Refused::Signature));
    assert_eq!(rig.refused("mcpu_0").await, Some(Refused::Malformed));
    assert_eq!(rig.refused(&token).await, None);
    rig.revoke(key).await;
    rig.identity.forget_api_key("key_a");
    assert_eq!(rig.refused(&token).await, Some(Refused::Revoked));
}

#[tokio::test(start_paused = true)]
async fn changes_of_others_are_known_after_a_while() {
    let rig = rig(100);
    let (key, token) = rig.key("a").await;
    let (_, other) = rig.key("b").await;
    rig.identity.warm();
    let principal = rig.identity.identify(&token).await.unwrap();
    rig.identity.identify(&other).await.unwrap();
    rig.revoke(key).await;
    assert!(rig.identity.recall(&token).unwrap().is_ok(), "not yet");
    rig.pass(RECHECK * 2).await;
    assert!(is_withdrawn(&principal));
    assert_eq!(rig.refused(&token).await, Some(Refused::Revoked));
    assert!(rig.identity.recall(&other).unwrap().is_ok());
    // When they were used is noted, and nothing else of them changes.
    let kept = rig.store.get("acme", "key_b").await.unwrap().unwrap();
    assert!(kept.last_used().is_some());
    assert_eq!(kept.revision, 1);
}

#[tokio::test(start_paused = true)]
async fn known_keys_serve_while_the_store_is_down_until_their_maximum_age() {
    let rig = rig(100);
    let (_, token) = rig.key("a").await;
    let (_, fresh) = rig.key("b").await;
    rig.identity.warm();
    assert_eq!(rig.refused(&token).await, None);
    rig.store.down.store(true, Ordering::SeqCst);
    rig.pass(Duration::from_mins(9)).await;
    assert_eq!(rig.refused(&token).await, None);
    assert_eq!(rig.refused(&fresh).await, Some(Refused::Unavailable));
    rig.pass(Duration::from_secs(90)).await;
    assert_eq!(rig.refused(&token).await, Some(Refused::Unavailable));
    rig.store.down.store(false, Ordering::SeqCst);
    assert_eq!(rig.refused(&token).await, None);
    assert_eq!(rig.refused(&fresh).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_known_soon_after_the_store_is_back() {
    let rig = rig(100);
    let (key, token) = rig.key("a").await;
    rig.identity.warm();
    let principal = rig.identity.identify(&token).await.unwrap();
    rig.store.down.store(true, Ordering::SeqCst);
    rig.pass(RECHECK + Duration::from_millis(500)).await;
    rig.store.down.store(false, Ordering::SeqCst);
    rig.revoke(key).await;
    // It was just missed, and is not left for as long again.
    rig.pass(RECHECK / 5).await;
    assert!(is_withdrawn(&principal));
    assert_eq!(rig.refused(&token).await, Some(Refused::Revoked));
    // Then there is time again.
    let (_, other) = rig.key("b").await;
    rig.identity.identify(&other).await.unwrap();
    let finds = rig.finds();
    rig.pass(RECHECK / 2).await;
    assert_eq!(rig.finds(), finds);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_is_bounded_and_none_escapes_a_revocation() {
    let rig = rig(32);
    rig.identity.warm();
    let mut all = Vec::new();
    for number in 0..200 {
        let (key, token) = rig.key(&format!("k{number}")).await;
        let principal = rig.identity.identify(&token).await.unwrap();
        all.push((key, token, principal));
        // Some are not used for a while, and have streams still.
        if number % 50 == 49 {
            rig.pass(RECHECK * 2).await;
        }
    }
    for (key, ..) in &all {
        rig.revoke(key.clone()).await;
    }
    rig.pass(RECHECK * 2).await;
    for (key, token, principal) in &all {
        assert_eq!(rig.refused(token).await, Some(Refused::Revoked));
        assert!(is_withdrawn(principal), "a stream of {} goes on", key.name);
    }
}

#[tokio::test]
async fn a_key_that_is_in_use_is_not_dropped_for_others() {
    let rig = rig(32);
    let (_, token) = rig.key("used").await;
    let principal = rig.identity.identify(&token).await.unwrap();
    for number in 0..200 {
        rig.clock.advance(Duration::from_millis(1));
        let (_, other) = rig.key(&format!("k{number}")).await;
        assert_eq!(rig.refused(&other).await, None);
        assert_eq!(rig.refused(&token).await, None);
        assert!(!is_withdrawn(&principal), "{number}");
    }
}

#[tokio::test]
async fn one_change_ends_the_streams_of_all_verifications_of_a_secret() {
    let rig = rig(100);
    let (key, token) = rig.key("a").await;
    let identify = || rig.identity.identify(&token);
    let (one, other) = tokio::join!(identify(), identify());
    assert_eq!(rig.finds(), 2, "both were looked up");
    // What is known of it lapses while the store is down.
    rig.store.down.store(true, Ordering::SeqCst);
    rig.clock.advance(MAX_AGE);
    assert_eq!(rig.refused(&token).await, Some(Refused::Unavailable));
    rig.store.down.store(false, Ordering::SeqCst);
    let all = [one.unwrap(), other.unwrap(), identify().await.unwrap()];
    assert_eq!(rig.finds(), 4);
    assert!(!all.iter().any(is_withdrawn), "nothing has changed");
    rig.revoke(key).await;
    rig.identity.forget_api_key("key_a");
    assert_eq!(all.each_ref().map(is_withdrawn), [true; 3]);
    assert_eq!(rig.refused(&token).await, Some(Refused::Revoked));
}

#[tokio::test]
async fn what_was_used_is_noted_at_the_end() {
    let rig = rig(100);
    let (_, token) = rig.key("a").await;
    assert_eq!(rig.refused(&token).await, None);
    rig.identity.finish().await;
    let kept = rig.store.get("acme", "key_a").await.unwrap().unwrap();
    assert_eq!(kept.last_used(), Some(rig.clock.now()));
}
