//! Whose grant is lent for the lists of a server.

use mcp_ultra_edge::credentials::Grant as Kind;

use super::{world::*, *};

fn lending(rig: &Rig, to: Lenders) -> Arc<Credentials> {
    rig.credentials(|settings| {
        settings.grant = Kind::AuthorizationCode {
            granted: Arc::new(rig.grants()),
            step_up: Vec::new(),
            own: false,
            lenders: Some(to),
        };
    })
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
