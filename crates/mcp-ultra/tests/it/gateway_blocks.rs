//! Callers are blocked by administrators for a time.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use mcp_ultra_testkit::raw::legacy::Session;
use serde_json::{Value, json};

use crate::{
    gateway_rig::{gateway, until},
    gateway_sessions_admin::{Rig, bearer, ends, rig, status_of},
};

const PATH: &str = "/api/v1/blocks";

/// Who one is at the gateway: subject and issuer.
async fn who(rig: &Rig, token: &str) -> (String, String) {
    let session = rig.session(token).await;
    let (_, list) = rig
        .ask(&rig.operator, Method::GET, "/api/v1/sessions", None)
        .await;
    let open = list["items"].as_array().unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    session.close().await.unwrap();
    let text = |name: &str| open[0][name].as_str().unwrap().to_owned();
    (text("subject"), text("issuer"))
}

/// Status, challenge and body of a call with this token.
async fn told(gateway: &mcp_ultra_testkit::gateway::Gateway, token: &str) -> (u16, Value, String) {
    let mut caller = gateway.caller();
    caller.extra_headers = bearer(token);
    let request = caller.prepare("tools/list", json!({}));
    let answer = caller.send(request).await.unwrap();
    let challenge = json!(answer.header("www-authenticate"));
    let status = answer.status.as_u16();
    (status, challenge, answer.text().await.unwrap())
}

fn later(hours: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(hours)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_is_refused_as_with_a_bad_token_until_let_in_again() {
    let rig = rig().await;
    let (subject, issuer) = who(&rig, &rig.ana).await;
    let (me, _) = who(&rig, &rig.operator).await;
    let (session, stream) = (rig.session(&rig.ana).await, rig.listens(&rig.ana).await);
    let (operators, others) = (
        rig.session(&rig.operator).await,
        rig.session(&rig.bea).await,
    );
    // Not without who vouches for them, in the past, for good, oneself, or for a dry run.
    let of = |subject: &str, until: Timestamp| {
        format!("/api/v1/sessions?subject={subject}&issuer={issuer}&block_until={until}")
    };
    let nameless = format!(
        "/api/v1/sessions?subject={subject}&block_until={}",
        later(1)
    );
    for (path, status, field) in [
        (nameless, 400, json!("issuer")),
        (of(&subject, later(-1)), 400, json!("block_until")),
        (of(&subject, later(24 * 31)), 400, json!("block_until")),
        (of(&me, later(1)), 400, json!("subject")),
        (of(&subject, later(1)) + "&dry_run=true", 200, Value::Null),
    ] {
        let (found, said) = rig
            .ask(&rig.operator, Method::DELETE, &path, Some("*"))
            .await;
        assert_eq!((found, &said["field"]), (status, &field), "{path}: {said}");
    }
    assert_eq!(status_of(&session).await, 200);
    let end = [
        "end",
        "--subject",
        &subject,
        "--issuer",
        &issuer,
        "--block-for",
    ];
    let ended = rig.command(&[&end[..], &["1h"]].concat()).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended
            .out
            .contains("2 sessions are ended. The caller is blocked until"),
        "{}",
        ended.out
    );
    assert!(ends(stream).await);
    let bad = told(&rig.gateway, "nonsense").await;
    assert_eq!(bad.0, 401);
    assert_eq!(told(&rig.gateway, &rig.ana).await, bad);
    assert_eq!(status_of(&session).await, 401);
    let (admin, _) = rig.ask(&rig.ana, Method::GET, PATH, None).await;
    assert_eq!(admin, 401);
    assert_eq!(
        (status_of(&operators).await, status_of(&others).await),
        (200, 200)
    );
    // Of their tenant alone, and for who may alone.
    let (_, list) = rig.ask(&rig.operator, Method::GET, PATH, None).await;
    assert_eq!(list["items"][0]["subject"], json!(subject), "{list}");
    assert!(!list.to_string().contains(&rig.ana));
    let other = format!("{PATH}?tenant=other");
    let (_, none) = rig.ask(&rig.operator, Method::GET, &other, None).await;
    assert_eq!(none["items"], json!([]));
    let id = list["items"][0]["id"].as_str().unwrap();
    for (token, query, tag, status) in [
        (&rig.bea, "?tenant=default", Some("*"), 403),
        (&rig.operator, "?tenant=other", Some("*"), 404),
        (&rig.operator, "", None, 428),
        (&rig.operator, "", Some("\"r1\""), 412),
        (&rig.operator, "?dry_run=true", Some("*"), 200),
    ] {
        let path = format!("{PATH}/{id}{query}");
        let (found, said) = rig.ask(token, Method::DELETE, &path, tag).await;
        assert_eq!(found, status, "{query}: {said}");
    }
    assert_eq!(told(&rig.gateway, &rig.ana).await.0, 401);
    let blocked = rig.command(&["blocked"]).await;
    assert!(
        blocked.out.contains(&subject) && blocked.out.contains(id),
        "{}",
        blocked.out
    );
    let over = rig.command(&["unblock", id]).await;
    assert_eq!(over.code, 0, "{}", over.err);
    assert_eq!(told(&rig.gateway, &rig.ana).await.0, 200);
    assert_eq!(status_of(&session).await, 404, "what was ended stays so");
    let blocked = rig.command(&["blocked"]).await;
    assert!(blocked.out.contains("nobody is blocked"), "{}", blocked.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_notice_a_block_and_a_restart_keeps_it() {
    let rig = rig().await;
    let (subject, issuer) = who(&rig, &rig.ana).await;
    let beside = gateway(&rig.config).await;
    let opened = Session::open(beside.client(), "2025-11-25", json!({}), bearer(&rig.ana));
    let session = opened.await.unwrap();
    let pushed = session.stream(None).await.unwrap().events();
    // A caller of a revision without sessions, of whom the other gateway has no session to end.
    let mut caller = beside.caller();
    caller.extra_headers = bearer(&rig.ana);
    let listening = caller.listen(json!({"toolsListChanged": true}));
    let mut stream = listening.await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(told(&beside, &rig.ana).await.0, 200);
    let until_then = later(1);
    let path =
        format!("/api/v1/sessions?subject={subject}&issuer={issuer}&block_until={until_then}");
    let (blocked, said) = rig
        .ask(&rig.operator, Method::DELETE, &path, Some("*"))
        .await;
    assert_eq!(blocked, 200, "{said}");
    until("the other gateway refuses", async || {
        told(&beside, &rig.ana).await.0 == 401
    })
    .await;
    assert!(ends(pushed).await);
    assert!(ends(stream).await);
    assert_eq!(told(&beside, &rig.operator).await.0, 200);
    let started = gateway(&rig.config).await;
    assert_eq!(told(&started, &rig.ana).await.0, 401, "from the start");
    let id = said["block"]["id"].as_str().unwrap();
    let over = rig.command(&["unblock", id]).await;
    assert_eq!(over.code, 0, "{}", over.err);
    until("the other gateway lets in", async || {
        told(&beside, &rig.ana).await.0 == 200
    })
    .await;
    assert_eq!(
        status_of(&session).await,
        404,
        "what was ended there stays so"
    );
}
