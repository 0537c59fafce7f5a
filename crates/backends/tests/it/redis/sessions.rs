//! What changes in sessions.

use std::time::Duration;

use mcp_ultra_backends::redis::{Redis, RedisSessionStore};
use mcp_ultra_domain::ports::{MemorySessionStore, SessionState, SessionStore};

use super::{cluster, open, sentinel, shared_contracts, single};

pub(super) const NOW: Duration = Duration::from_millis(1_800_000_000_123);

pub(super) fn store(redis: &Redis) -> RedisSessionStore {
    RedisSessionStore::new(redis.clone())
}

pub(super) async fn state(store: &dyn SessionStore, session: &str) -> SessionState {
    store.load(session).await.unwrap()
}

shared_contracts!(
    MemorySessionStore::default(),
    store,
    what_changes_is_there,
    an_ended_session_stays_ended,
    sessions_are_apart,
);

async fn what_changes_is_there(store: &dyn SessionStore) {
    assert_eq!(state(store, "s").await, SessionState::default());
    store.set_log_level("s", "debug").await.unwrap();
    store.set_log_level("s", "error").await.unwrap();
    for (uri, wanted) in [
        ("file:///a", true),
        ("file:///b?ü=%20", true),
        ("file:///a", false),
        ("file:///c", false),
    ] {
        store.subscribe("s", uri, wanted).await.unwrap();
    }
    let state = state(store, "s").await;
    assert_eq!(state.log_level.as_deref(), Some("error"));
    assert_eq!(state.subscriptions, ["file:///b?ü=%20".to_owned()].into());
    assert!(!state.terminated);
}

async fn an_ended_session_stays_ended(store: &dyn SessionStore) {
    store.set_log_level("s", "debug").await.unwrap();
    store.terminate("s", NOW).await.unwrap();
    store.set_log_level("s", "debug").await.unwrap();
    store.subscribe("s", "file:///b", true).await.unwrap();
    store.forget("s").await.unwrap();
    let ended = SessionState {
        terminated: true,
        ..SessionState::default()
    };
    assert_eq!(state(store, "s").await, ended);
}

async fn sessions_are_apart(store: &dyn SessionStore) {
    store.terminate("s", NOW).await.unwrap();
    store.set_log_level("t", "debug").await.unwrap();
    assert!(!state(store, "t").await.terminated);
    assert_eq!(state(store, "u").await, SessionState::default());
}

async fn news(store: &dyn SessionStore) -> Vec<String> {
    let live = || vec!["all".to_owned()];
    store.changed_elsewhere(&live).await.unwrap()
}

#[tokio::test]
async fn replicas_hear_of_what_others_have_changed() {
    for settings in [single().await, cluster().await, sentinel().await] {
        let replicas = [open(&settings).await, open(&settings).await];
        let [one, other] = replicas.each_ref().map(store);
        for store in [&one, &other] {
            assert_eq!(news(store).await, ["all"], "what was before is not known");
        }
        one.set_log_level("s", "debug").await.unwrap();
        other.subscribe("s", "file:///a", true).await.unwrap();
        one.terminate("t", NOW).await.unwrap();
        assert_eq!(news(&other).await, ["s", "t"]);
        assert_eq!(news(&one).await, ["s"]);
        for store in [&one, &other] {
            let session = state(store, "s").await;
            assert_eq!(session.log_level.as_deref(), Some("debug"));
            assert!(session.subscriptions.contains("file:///a"));
            assert!(state(store, "t").await.terminated);
            assert!(news(store).await.is_empty());
        }
        // Another replica may serve it on.
        one.forget("s").await.unwrap();
        assert!(state(&one, "s").await.log_level.is_some());
    }
}
