//! When and how often tokens are refreshed, and what refusals mean.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Instant};

use mcp_ultra_domain::{Clock, ports::GrantStore};
use mcp_ultra_edge::credentials::Grant as Kind;

use super::{world::*, *};

#[tokio::test]
async fn a_refresh_that_fails_is_not_tried_with_every_call() {
    let rig = Rig::start().await;
    let first = rig.process();
    rig.connect("ana", &first, granted(Some(100), true)).await;
    rig.server.is(Mood::Down);
    rig.pass(75);
    for _ in 0..30 {
        assert_eq!(token_of("ana", &first).await.unwrap(), "access-1");
        settle().await;
    }
    assert_eq!(rig.server.refreshed().len(), 1);
    // Also after a restart nobody waits for it.
    rig.server.is(Mood::Slow);
    let second = rig.process();
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-1");
    assert_eq!(rig.server.refreshed().len(), 1);
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-1");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(token_of("ana", &second).await.unwrap(), "access-3");
    assert_eq!(rig.server.refreshed(), ["refresh-1", "refresh-1"]);
}

#[tokio::test]
async fn what_fails_for_one_is_not_in_the_way_of_another() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    let connect = async |name, lifetime| {
        let answer = granted(Some(lifetime), true);
        rig.connect(name, &credentials, answer).await;
    };
    connect("ana", 10).await;
    connect("bea", 3600).await;
    connect("eva", 10).await;
    rig.pass(60);
    // A store that can't be read says nothing of the authorization server.
    rig.store.unreadable.store(true, Ordering::SeqCst);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    rig.store.unreadable.store(false, Ordering::SeqCst);
    assert_eq!(token_of("eva", &credentials).await.unwrap(), "access-2");
    // And who has a good token needs no authorization server.
    rig.server.is(Mood::Down);
    rig.pass(1);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    assert_eq!(token_of("bea", &credentials).await.unwrap(), "access-1");
    assert_eq!(rig.server.refreshed().len(), 2);
}

#[tokio::test]
async fn who_is_refused_looks_again_whether_another_process_was_faster() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.server.is(Mood::Says("invalid_grant"));
    let grant = rig.kept("ana").await.unwrap();
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let tokens = Tokens {
            access: "access-of-the-other".into(),
            refresh: Some("refresh-of-the-other".into()),
            asked: rig.clock.now(),
            ..rig.opened(&grant)
        };
        let sealed = rig.shared.vault.seal(Of::grant(&grant), &tokens).unwrap();
        let renewed = grant.renewed(sealed, BTreeSet::new(), rig.clock.now());
        rig.store.replace(&renewed, 1).await.unwrap();
    };
    let (token, ()) = tokio::join!(token_of("ana", &credentials), other);
    assert_eq!(token.unwrap(), "access-of-the-other");
    // And where nobody was, it has ended.
    rig.pass(60);
    let ended = token_of("ana", &credentials).await;
    assert_eq!(ended, Err(CredentialError::NotGranted));
    assert_eq!(rig.kept("ana").await, None);
}

#[tokio::test]
async fn refusals_that_pass_are_told_apart_from_those_that_stay() {
    for (error, expected) in [
        ("temporarily_unavailable", CredentialError::Unavailable),
        ("slow_down", CredentialError::Unavailable),
        ("invalid_client", CredentialError::Refused),
    ] {
        let rig = Rig::start().await;
        let credentials = rig.process();
        rig.connect("ana", &credentials, granted(Some(10), true))
            .await;
        rig.pass(60);
        rig.server.is(Mood::Says(error));
        let failed = token_of("ana", &credentials).await;
        assert_eq!(failed, Err(expected), "{error}");
        assert!(rig.kept("ana").await.is_some());
    }
}

/// Another gateway on the same store.
fn another(rig: &Rig) -> Arc<Credentials> {
    let grants = Grants::new("tickets".into(), shared(&rig.store, &rig.clock));
    rig.credentials(|settings| {
        if let Kind::AuthorizationCode { granted, .. } = &mut settings.grant {
            *granted = Arc::new(grants);
        }
    })
}

#[tokio::test]
async fn of_several_processes_one_refreshes() {
    let rig = Rig::start().await;
    let (one, other, third) = (rig.process(), another(&rig), another(&rig));
    rig.connect("ana", &one, granted(Some(10), true)).await;
    rig.pass(60);
    rig.server.is(Mood::Slow);
    let (one, other, third) = tokio::join!(
        token_of("ana", &one),
        token_of("ana", &other),
        token_of("ana", &third)
    );
    for token in [one, other, third] {
        assert_eq!(token.unwrap(), "access-2");
    }
    assert_eq!(rig.server.refreshed(), ["refresh-1"]);
    assert_eq!(rig.kept("ana").await.unwrap().revision, 2);
}

#[tokio::test]
async fn one_that_has_died_in_the_middle_is_waited_for_until_its_claim_ends() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    let (grant, now) = (rig.kept("ana").await.unwrap(), rig.clock.now());
    let until = now + Duration::from_secs(10);
    let claimed = rig
        .store
        .claim_refresh(&grant, "the dead", now, until)
        .await;
    assert_eq!(claimed, Ok(true));
    let passing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(rig.server.refreshed().is_empty());
        rig.pass(10);
    };
    let begun = Instant::now();
    let (token, ()) = tokio::join!(token_of("ana", &credentials), passing);
    assert_eq!(token.unwrap(), "access-2");
    assert!(begun.elapsed() < Duration::from_secs(2), "it looks often");
}

#[tokio::test]
async fn a_refresh_that_fails_is_in_nobodys_way() {
    let rig = Rig::start().await;
    let (one, other) = (rig.process(), another(&rig));
    rig.connect("ana", &one, granted(Some(10), true)).await;
    rig.pass(60);
    rig.server.is(Mood::Down);
    let failed = token_of("ana", &one).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    rig.server.is(Mood::Fine);
    assert_eq!(token_of("ana", &other).await.unwrap(), "access-3");
}

/// What it would get could not be kept.
#[tokio::test]
async fn who_can_not_write_that_it_refreshes_does_not() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.unclaimable.store(true, Ordering::SeqCst);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    assert!(rig.server.refreshed().is_empty());
    assert!(rig.kept("ana").await.is_some());
}
