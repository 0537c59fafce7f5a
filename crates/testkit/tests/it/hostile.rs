//! Every misbehaviour is catalogued like a good server and then does what it promises.

use std::time::Duration;

use http::StatusCode;
use mcp_ultra_testkit::{
    hostile::{Hostile, MISBEHAVIOURS, TOOL},
    raw::{Answer, Client, RawError, modern::Caller},
    schema::{Revision, assert_valid},
};
use serde_json::json;

async fn call(hostile: &Hostile, path: &str, patience: Duration) -> Result<Answer, RawError> {
    let caller = Caller::new(Client::new(hostile.url(path)).with_patience(patience));
    caller
        .send(caller.prepare("tools/call", json!({ "name": TOOL })))
        .await
}

#[tokio::test]
async fn all_of_them_can_be_catalogued() {
    let hostile = Hostile::start().await.expect("a server");
    for misbehaviour in MISBEHAVIOURS {
        let caller = Caller::new(Client::new(hostile.url(misbehaviour.path)));
        let discovered = caller
            .call("server/discover", json!({}))
            .await
            .expect("discovered");
        assert_valid(Revision::V2026_07_28, "DiscoverResult", discovered.result());
        let tools = caller.call("tools/list", json!({})).await.expect("listed");
        assert_valid(Revision::V2026_07_28, "ListToolsResult", tools.result());
        assert_eq!(tools.result()["tools"][0]["name"], TOOL);
    }
}

#[tokio::test]
async fn bodies_are_as_bad_as_promised() {
    let hostile = Hostile::start().await.expect("a server");
    let patience = Duration::from_secs(10);
    let body = async |path: &str| {
        call(&hostile, path, patience)
            .await
            .expect(path)
            .bytes()
            .await
            .expect(path)
    };
    assert!(serde_json::from_slice::<serde_json::Value>(&body("garbage").await).is_err());
    assert!(serde_json::from_slice::<serde_json::Value>(&body("truncated").await).is_err());
    assert!(body("empty").await.is_empty());
    assert!(body("huge").await.len() > 10 * 1024 * 1024);
    assert!(body("huge-stream").await.len() > 10 * 1024 * 1024);
    let deep = String::from_utf8(body("deep").await).expect("text");
    assert_eq!(deep.matches('[').count(), 100_000);
    assert!(
        String::from_utf8(body("surrogate").await)
            .expect("text")
            .contains(r"\ud800")
    );
    let newlines = serde_json::from_slice::<serde_json::Value>(&body("newlines").await);
    assert_eq!(newlines.expect("JSON")["result"]["resultType"], "complete");
    let wrong = serde_json::from_slice::<serde_json::Value>(&body("wrong-id").await);
    assert_eq!(wrong.expect("JSON")["id"], 987_654_321);
    let streamed = String::from_utf8(body("two-answers").await).expect("text");
    assert_eq!(streamed.matches("\"result\"").count(), 2);
}

#[tokio::test]
async fn statuses_are_as_bad_as_promised() {
    let hostile = Hostile::start().await.expect("a server");
    for (path, status) in [
        ("error", StatusCode::INTERNAL_SERVER_ERROR),
        ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        ("unauthorized", StatusCode::UNAUTHORIZED),
        ("redirect", StatusCode::TEMPORARY_REDIRECT),
        ("no-such-path", StatusCode::NOT_FOUND),
    ] {
        let answer = call(&hostile, path, Duration::from_secs(5))
            .await
            .expect(path);
        assert_eq!(answer.status, status, "{path}");
    }
    let html = call(&hostile, "content-type", Duration::from_secs(5))
        .await
        .expect("an answer");
    assert_eq!(html.header("content-type"), Some("text/html"));
}

#[tokio::test]
async fn some_never_end_and_some_end_too_soon() {
    let hostile = Hostile::start().await.expect("a server");
    let brief = Duration::from_millis(300);
    assert!(matches!(
        call(&hostile, "hang", brief).await,
        Err(RawError::TooLate(_))
    ));
    let mut silent = call(&hostile, "hang-stream", brief).await.expect("a head");
    assert!(matches!(silent.part().await, Err(RawError::TooLate(_))));
    for path in ["cut", "cut-stream"] {
        let answer = call(&hostile, path, Duration::from_secs(5))
            .await
            .expect("a head");
        assert!(
            matches!(answer.bytes().await, Err(RawError::Body(_))),
            "{path}"
        );
    }
    for path in ["endless", "endless-line", "endless-body"] {
        let mut answer = call(&hostile, path, Duration::from_secs(5))
            .await
            .expect("a head");
        let mut received = 0;
        while received < 4 * 1024 * 1024 {
            received += answer.part().await.expect(path).expect("no end").len();
        }
    }
    let mut closed = call(&hostile, "closed-stream", brief)
        .await
        .expect("a head")
        .events();
    assert_eq!(closed.message().await.expect("readable"), None);
}

#[tokio::test]
async fn always_means_discovery_too() {
    let hostile = Hostile::start().await.expect("a server");
    let caller = Caller::new(Client::new(hostile.url("always/garbage")));
    assert!(caller.call("server/discover", json!({})).await.is_err());
}
