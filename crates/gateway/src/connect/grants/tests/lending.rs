//! Whose grant is lent, and to whom.

use std::sync::atomic::Ordering;

use mcp_ultra_domain::ports::GrantStore;
use mcp_ultra_edge::credentials::{Grant as Kind, Subject};

use super::{world::*, *};

/// The credentials of a server whose lists are read with what one person has granted.
fn lent(rig: &Rig, scopes: &[&str]) -> Arc<Credentials> {
    rig.credentials(|settings| {
        settings.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        if let Kind::AuthorizationCode { lent, .. } = &mut settings.grant {
            *lent = true;
        }
    })
}

#[tokio::test]
async fn the_oldest_grant_that_can_be_used_is_lent() {
    let rig = Rig::start().await;
    let (little, more) = (lent(&rig, &["read"]), lent(&rig, &["read", "write"]));
    let lender = async |credentials: &Credentials| {
        let lender = credentials.next_lender().await?;
        Ok::<_, CredentialError>(lender.attributes().subject.clone())
    };
    assert_eq!(lender(&little).await, Err(CredentialError::NobodyGranted));
    rig.connect("ana", &little, granted(None, false)).await;
    rig.pass(1);
    rig.connect("bea", &more, granted(None, false)).await;
    assert_eq!(lender(&little).await.unwrap(), "ana");
    assert_eq!(
        lender(&more).await.unwrap(),
        "bea",
        "ana was asked for less"
    );
    let grant = rig.kept("bea").await.unwrap();
    rig.store.remove("acme", &grant.id, 1).await.unwrap();
    assert_eq!(lender(&more).await, Err(CredentialError::NobodyGranted));
    rig.store.unreadable.store(true, Ordering::SeqCst);
    assert_eq!(lender(&little).await, Err(CredentialError::Unavailable));
}

#[tokio::test]
async fn a_grant_is_lent_to_the_gateway_and_to_no_caller() {
    let rig = Rig::start().await;
    let credentials = lent(&rig, &["read"]);
    let own = async || {
        let token = credentials.token(&Subject::Gateway).await;
        token.map(|token| token.is_some())
    };
    assert_eq!(own().await, Err(CredentialError::NobodyGranted));
    rig.connect("ana", &credentials, granted(None, false)).await;
    credentials.lend(Some(person("ana")));
    assert_eq!(own().await, Ok(true));
    let of_bea = token_of("bea", &credentials).await;
    assert_eq!(of_bea, Err(CredentialError::NotGranted));
    // It ends for both at once, and what the gateway is told makes nobody be asked for it.
    let grant = rig.kept("ana").await.unwrap();
    rig.store.remove("acme", &grant.id, 1).await.unwrap();
    credentials.forget(person("ana").id());
    assert_eq!(own().await, Err(CredentialError::NobodyGranted));
    let of_ana = token_of("ana", &credentials).await;
    assert_eq!(of_ana, Err(CredentialError::NotGranted));
}
