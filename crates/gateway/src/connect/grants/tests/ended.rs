//! Grants that end: by their time, at the server, or withdrawn.

use std::sync::atomic::Ordering;

use mcp_ultra_domain::ports::GrantStore;

use super::{world::*, *};

#[tokio::test]
async fn what_can_not_be_refreshed_serves_until_its_end() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    let month = 30 * 24 * 3600;
    rig.connect("ana", &credentials, granted(None, false)).await;
    let bounded = granted(Some(month), false);
    rig.connect("bea", &credentials, bounded).await;
    for _ in 0..3 {
        rig.pass(month / 3 - 10);
        for name in ["ana", "bea"] {
            assert_eq!(token_of(name, &credentials).await.unwrap(), "access-1");
        }
        settle().await;
    }
    rig.pass(40);
    let ended = token_of("bea", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("bea").await, None);
    // Nobody knows when the other one ends, until the server says so.
    let token = credentials.token(&caller("ana")).await.unwrap().unwrap();
    assert!(credentials.rejected(&caller("ana"), &token));
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("ana").await, None);
    assert!(rig.server.refreshed().is_empty());
}

#[tokio::test]
async fn what_was_withdrawn_elsewhere_ends_soon() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(None, false)).await;
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-1");
    let grant = rig.kept("ana").await.unwrap();
    let store = &rig.store.inner;
    store.remove("acme", &grant.id, 1).await.unwrap();
    rig.pass(60);
    drop(token_of("ana", &credentials).await);
    settle().await;
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
}

/// Else all calls would end whenever the store does not answer for a moment.
#[tokio::test]
async fn what_can_not_be_read_is_not_taken_for_withdrawn() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(None, false)).await;
    let is_gone = async |name| rig.grants().is_gone(person(name).id()).await;
    assert!(!is_gone("ana").await && is_gone("bea").await);
    rig.store.unreadable.store(true, Ordering::SeqCst);
    assert!(!is_gone("ana").await && !is_gone("bea").await);
}

#[tokio::test]
async fn what_is_refreshed_while_it_is_withdrawn_is_revoked() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.server.is(Mood::Slow);
    let grant = rig.kept("ana").await.unwrap();
    let withdrawing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.store.remove("acme", &grant.id, 1).await.unwrap();
    };
    let (token, ()) = tokio::join!(token_of("ana", &credentials), withdrawing);
    assert_eq!(token, Err(CredentialError::NotGranted));
    assert_eq!(*rig.server.revoked.lock(), ["refresh-2"]);
}
