//! Whose grant is lent for the lists of a server, and to whom.

use std::sync::atomic::Ordering;

use mcp_ultra_domain::ports::GrantStore;
use mcp_ultra_edge::credentials::{CredentialSettings, Grant as Kind, Subject};

use super::{world::*, *};

/// The credentials of a server whose lists are read with what one of `those` has granted.
fn lending(rig: &Rig, those: Lenders) -> Arc<Credentials> {
    rig.credentials(|settings| lend_of(settings, those))
}

/// The same of everybody, with these scopes.
fn asking(rig: &Rig, scopes: &[&str]) -> Arc<Credentials> {
    rig.credentials(|settings| {
        settings.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        lend_of(settings, Lenders::Everybody);
    })
}

fn lend_of(settings: &mut CredentialSettings, those: Lenders) {
    if let Kind::AuthorizationCode { lenders, .. } = &mut settings.grant {
        *lenders = Some(those);
    }
}

/// Some people who have granted one after the other.
async fn connected(rig: &Rig, credentials: &Credentials, names: &[&str]) {
    for name in names {
        let answer = granted(None, false);
        rig.connect(name, credentials, answer).await;
        rig.pass(1);
    }
}

/// Who is chosen, and lends from then on.
async fn chosen(credentials: &Credentials) -> Option<String> {
    let next = credentials.next_lender().await.ok();
    credentials.lend(next.clone());
    next.map(|lender| lender.attributes().subject.clone())
}

#[tokio::test]
async fn the_oldest_that_is_not_refused_lends() {
    let rig = Rig::start().await;
    let credentials = lending(&rig, Lenders::Everybody);
    assert_eq!(chosen(&credentials).await, None);
    connected(&rig, &credentials, &["ana", "bea"]).await;
    assert_eq!(chosen(&credentials).await.as_deref(), Some("ana"));
    credentials.lender_refused();
    assert_eq!(chosen(&credentials).await.as_deref(), Some("bea"));
    credentials.lender_refused();
    let all_refused = chosen(&credentials).await;
    assert_eq!(all_refused.as_deref(), Some("ana"));
    rig.pass(3600);
    connected(&rig, &credentials, &["eva"]).await;
    let later = chosen(&credentials).await;
    assert_eq!(later.as_deref(), Some("ana"), "it may be shown them by now");
}

#[tokio::test]
async fn a_server_that_refuses_everyone_is_not_asked_in_the_name_of_all() {
    let rig = Rig::start().await;
    let credentials = lending(&rig, Lenders::Everybody);
    let names: Vec<String> = (0..30).map(|at| format!("p{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    connected(&rig, &credentials, &names).await;
    let mut asked = BTreeSet::new();
    for _ in 0..60 {
        asked.extend(chosen(&credentials).await);
        credentials.lender_refused();
    }
    assert!((16..=17).contains(&asked.len()), "{asked:?}");
}

#[tokio::test]
async fn only_those_who_are_named_lend() {
    let rig = Rig::start().await;
    let of = |issuer: &str| {
        let person = (issuer.to_owned(), "bea".to_owned());
        lending(&rig, Lenders::These(vec![person]))
    };
    let (named, of_another) = (of("https://idp.example.com"), of("https://other.example"));
    connected(&rig, &named, &["ana"]).await;
    assert_eq!(chosen(&named).await, None);
    connected(&rig, &named, &["bea"]).await;
    assert_eq!(chosen(&named).await.as_deref(), Some("bea"));
    assert_eq!(chosen(&of_another).await, None);
}

#[tokio::test]
async fn the_oldest_grant_that_can_be_used_is_lent() {
    let rig = Rig::start().await;
    let (little, more) = (asking(&rig, &["read"]), asking(&rig, &["read", "write"]));
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
    let credentials = asking(&rig, &["read"]);
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
