//! What is kept, written later, and waited for at the end of the process.

use std::sync::atomic::Ordering;

use mcp_ultra_domain::ports::GrantStore;
use mcp_ultra_edge::credentials::{CredentialSettings, EndpointPlace};
use secrecy::ExposeSecret;

use super::{world::*, *};

#[tokio::test]
async fn a_refreshed_grant_that_can_not_be_written_is_written_later() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.read_only.store(true, Ordering::SeqCst);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-2");
    assert_eq!(rig.kept("ana").await.unwrap().revision, 1);
    // Without having kept it nobody goes on.
    rig.pass(100);
    let failed = token_of("ana", &credentials).await;
    assert_eq!(failed, Err(CredentialError::Unavailable));
    assert_eq!(rig.server.refreshed(), ["refresh-1"]);
    rig.store.read_only.store(false, Ordering::SeqCst);
    rig.pass(1);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-3");
    assert_eq!(rig.server.refreshed(), ["refresh-1", "refresh-2"]);
    assert_eq!(rig.kept("ana").await.unwrap().revision, 3);
}

/// Nobody has to call for that: another gateway may be about to refresh what is kept.
#[tokio::test]
async fn what_can_not_be_written_is_written_as_soon_as_it_can_be() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.read_only.store(true, Ordering::SeqCst);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-2");
    rig.store.read_only.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.kept("ana").await.unwrap().revision, 2);
    rig.pass(100);
    assert_eq!(token_of("ana", &credentials).await.unwrap(), "access-3");
    assert_eq!(rig.server.refreshed(), ["refresh-1", "refresh-2"]);
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_what_is_to_be_kept() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    rig.connect("bea", &credentials, granted(Some(10), true))
        .await;
    rig.pass(60);
    rig.store.read_only.store(true, Ordering::SeqCst);
    token_of("bea", &credentials).await.unwrap();
    rig.store.read_only.store(false, Ordering::SeqCst);
    rig.server.is(Mood::Slow);
    let calling = tokio::time::timeout(Duration::from_millis(50), token_of("ana", &credentials));
    assert!(calling.await.is_err(), "the caller has gone");
    rig.shared.finish().await;
    for (name, refresh) in [("ana", "refresh-3"), ("bea", "refresh-2")] {
        let tokens = rig.opened(&rig.kept(name).await.unwrap());
        assert_eq!(tokens.refresh.unwrap().expose_secret(), refresh);
    }
}

#[tokio::test]
async fn scopes_of_which_nothing_is_said_are_those_that_were_asked_for() {
    let rig = Rig::start().await;
    let credentials = rig.process();
    rig.connect("ana", &credentials, granted(Some(10), true))
        .await;
    let named = TokenAnswer {
        scope: Some("read".into()),
        ..granted(Some(10), true)
    };
    rig.connect("bea", &credentials, named).await;
    for (name, expected) in [("ana", &["read", "write"][..]), ("bea", &["read"])] {
        let scopes = rig.kept(name).await.unwrap().scopes;
        assert!(scopes.iter().eq(expected), "{scopes:?}");
    }
}

#[tokio::test]
async fn a_grant_is_of_use_for_what_it_was_given_for_only() {
    let rig = Rig::start().await;
    let given = rig.credentials(|settings| settings.resource = None);
    rig.connect("ana", &given, granted(Some(3600), true)).await;
    assert!(rig.grants().has(&person("ana"), &given, "").await);
    assert_eq!(token_of("ana", &given).await.unwrap(), "access-1");
    let changes: [fn(&mut CredentialSettings); 3] = [
        |settings| {
            settings.resource = None;
            ELSEWHERE.clone_into(&mut settings.url);
        },
        |settings| settings.resource = Some(ELSEWHERE.to_owned()),
        |settings| settings.client.id = "another".into(),
    ];
    for change in changes {
        let other = rig.credentials(change);
        assert!(!rig.grants().has(&person("ana"), &other, "").await);
        let refused = token_of("ana", &other).await;
        assert_eq!(refused, Err(CredentialError::NotGranted));
    }
    assert!(rig.server.refreshed().is_empty());
}

#[tokio::test]
async fn tokens_are_shown_to_no_other_authorization_server() {
    let (rig, other) = (Rig::start().await, Server::start().await);
    let given = granted(Some(10), true);
    rig.connect("ana", &rig.process(), given).await;
    rig.pass(60);
    // The same client and resource, of another server.
    let elsewhere = rig.credentials(|settings| {
        settings.client.place = EndpointPlace::Issuer(other.issuer.clone());
    });
    assert!(!rig.grants().has(&person("ana"), &elsewhere, "").await);
    let refused = token_of("ana", &elsewhere).await;
    assert_eq!(refused, Err(CredentialError::NotGranted));
    let grant = rig.kept("ana").await.unwrap();
    let revoked = rig.grants().revoke(&grant, elsewhere.endpoint()).await;
    assert_eq!(revoked, Revocation::Failed);
    assert!(other.refreshed().is_empty() && other.revoked.lock().is_empty());
    // What it is of has not ended.
    assert_eq!(token_of("ana", &rig.process()).await.unwrap(), "access-2");
}

#[tokio::test]
async fn a_grant_that_was_asked_for_less_is_none() {
    let rig = Rig::start().await;
    let given = rig.process();
    // Bea has granted less than she was asked for.
    let named = TokenAnswer {
        scope: Some("read".into()),
        ..granted(Some(3600), true)
    };
    rig.connect("ana", &given, granted(Some(3600), true)).await;
    rig.connect("bea", &given, named).await;
    let with = |scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        rig.credentials(|settings| settings.scopes = scopes)
    };
    for (scopes, is_enough) in [
        (&["read", "write"][..], true),
        (&["write"], true),
        (&[], true),
        (&["read", "write", "admin"], false),
    ] {
        let credentials = with(scopes);
        for name in ["ana", "bea"] {
            let token = token_of(name, &credentials).await;
            assert_eq!(token.is_ok(), is_enough, "{name} {scopes:?}");
            let has = rig.grants().has(&person(name), &credentials, "").await;
            assert_eq!(has, is_enough, "{name} {scopes:?}");
        }
    }
    // It stays so when it is refreshed.
    rig.pass(3600);
    assert_eq!(token_of("bea", &given).await.unwrap(), "access-2");
    let kept = rig.opened(&rig.kept("bea").await.unwrap());
    assert_eq!(kept.wanted.as_deref(), Some("read write"));
}

/// What they were asked for was not kept.
#[tokio::test]
async fn of_a_grant_of_before_it_counts_what_was_granted() {
    let rig = Rig::start().await;
    let given = rig.process();
    rig.connect("ana", &given, granted(Some(3600), true)).await;
    let mut grant = rig.kept("ana").await.unwrap();
    let before = Tokens {
        wanted: None,
        ..rig.opened(&grant)
    };
    grant.tokens = rig.shared.vault.seal(Of::grant(&grant), &before).unwrap();
    rig.store.inner.put(&grant).await.unwrap();
    assert!(token_of("ana", &rig.process()).await.is_ok());
    let more = rig.credentials(|settings| settings.scopes.push("admin".into()));
    let refused = token_of("ana", &more).await;
    assert_eq!(refused, Err(CredentialError::NotGranted));
}
