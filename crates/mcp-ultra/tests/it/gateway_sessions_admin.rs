//! What callers have open is listed and ended by administrators.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::{Client, Events, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cli::{Run, command, finish, run};
use crate::gateway_rig::{SOON, fixture, gateway, legacy, only, until};

const PATH: &str = "/api/v1/sessions";

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    admin: String,
    /// The configuration of the gateway.
    pub(crate) config: String,
    /// Keys, by their names.
    pub(crate) operator: String,
    pub(crate) ana: String,
    pub(crate) bea: String,
    _folder: TempDir,
    _upstream: Running,
}

pub(crate) async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.yaml");
    let yaml = format!(
        "storage: {{ sqlite: \"{}\" }}\nadmin: {{ port: 0 }}\nauth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true }}\n",
        folder.path().join("state.db").display()
    );
    std::fs::write(&config, &yaml).unwrap();
    let file = config.to_string_lossy().into_owned();
    let key = async |arguments: &[&str]| {
        let made = run(&[&["key", "create"], arguments, &["--config", &file]].concat()).await;
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim_end().to_owned()
    };
    let operator = key(&["admin", "--role", "operator"]).await;
    let (ana, bea) = (
        key(&["ana"]).await,
        key(&["bea", "--tenant", "other"]).await,
    );
    let upstream = fixture(Era::Dual).await;
    let config = only(&upstream.url(), &yaml);
    let mut gateway = gateway(&config).await;
    let line = gateway.logged(&["the admin API listens"], SOON).await;
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
    Rig {
        admin: admin.unwrap().to_owned(),
        config,
        gateway,
        operator,
        ana,
        bea,
        _folder: folder,
        _upstream: upstream,
    }
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

impl Rig {
    pub(crate) async fn session(&self, token: &str) -> Session {
        let opened = Session::open(
            self.gateway.client(),
            "2025-11-25",
            json!({}),
            bearer(token),
        );
        opened.await.unwrap()
    }

    fn caller(&self, token: &str) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = bearer(token);
        caller
    }

    pub(crate) async fn listens(&self, token: &str) -> Events {
        let caller = self.caller(token);
        let listened = caller.listen(json!({"toolsListChanged": true}));
        let mut events = listened.await.unwrap();
        let first = events.message().await.unwrap().unwrap();
        assert!(first["method"].as_str().unwrap().ends_with("acknowledged"));
        events
    }

    pub(crate) async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        if_match: Option<&str>,
    ) -> (u16, Value) {
        let mut headers = bearer(token);
        if let Some(tag) = if_match {
            headers.insert(HeaderName::from_static("if-match"), tag.parse().unwrap());
        }
        let client = Client::new(format!("{}{path}", self.admin));
        let answer = client.request(method, headers, Bytes::new()).await.unwrap();
        let status = answer.status.as_u16();
        (status, answer.json().await.unwrap())
    }

    async fn open(&self, query: &str) -> Vec<Value> {
        let path = format!("{PATH}{query}");
        let (status, list) = self.ask(&self.operator, Method::GET, &path, None).await;
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().unwrap().clone()
    }

    pub(crate) async fn command(&self, arguments: &[&str]) -> Run {
        let mut command = command(&[&["session"], arguments, &["--admin", &self.admin]].concat());
        command.env("MCP_ULTRA_TOKEN", &self.operator);
        finish(command).await
    }
}

/// Whether the stream ends in time.
pub(crate) async fn ends(mut events: Events) -> bool {
    let rest = async { while let Ok(Some(_)) = events.message().await {} };
    tokio::time::timeout(SOON, rest).await.is_ok()
}

pub(crate) async fn status_of(session: &Session) -> u16 {
    let message = json!({"jsonrpc": "2.0", "id": 99, "method": "tools/list", "params": {}});
    session.post(&message).await.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_listed_and_ended_one_by_one() {
    let rig = rig().await;
    let (session, other) = (rig.session(&rig.ana).await, rig.session(&rig.bea).await);
    legacy(&session, "tools/list", json!({})).await;
    let pushed = session.stream(None).await.unwrap().events();
    let stream = rig.listens(&rig.ana).await;
    let open = rig.open("").await;
    assert_eq!(open.len(), 2, "{open:?}");
    let of = |kind: &str| open.iter().find(|one| one["kind"] == kind).unwrap();
    assert_eq!(of("session")["version"], "2025-11-25");
    assert!(of("session")["last_used"].is_string() && of("session")["since"].is_string());
    assert_eq!(
        (&of("stream")["version"], &of("stream")["last_used"]),
        (&Value::Null, &Value::Null)
    );
    let sealed = session.id.as_ref().unwrap().to_str().unwrap();
    assert!(!json!(open).to_string().contains(sealed));
    // Pages, and one caller's.
    let (_, page) = rig
        .ask(&rig.operator, Method::GET, &format!("{PATH}?limit=1"), None)
        .await;
    let next = page["next"].as_str().unwrap();
    assert_eq!(rig.open(&format!("?after={next}")).await.len(), 1);
    assert!(rig.open("?subject=nobody").await.is_empty());
    assert_eq!(rig.open("?tenant=other").await.len(), 1);
    // Nobody who may not, not what is of another tenant, nothing unread, and nothing for a dry run.
    let path = |one: &Value| format!("{PATH}/{}", one["id"].as_str().unwrap());
    let at = path(of("session"));
    for (token, path, tag, status) in [
        (&rig.ana, at.clone(), Some("\"r1\""), 403),
        (
            &rig.operator,
            format!("{at}?tenant=other"),
            Some("\"r1\""),
            404,
        ),
        (
            &rig.operator,
            format!("{PATH}/nothing"),
            Some("\"r1\""),
            404,
        ),
        (&rig.operator, at.clone(), None, 428),
        (&rig.operator, at.clone(), Some("\"r2\""), 412),
        (
            &rig.operator,
            format!("{at}?dry_run=true"),
            Some("\"r1\""),
            200,
        ),
    ] {
        let (found, said) = rig.ask(token, Method::DELETE, &path, tag).await;
        assert_eq!(found, status, "{path}: {said}");
    }
    let (refused, _) = rig.ask(&rig.ana, Method::GET, PATH, None).await;
    assert_eq!((refused, rig.open("").await.len()), (403, 2));
    assert_eq!(status_of(&session).await, 200);
    let (ended, _) = rig
        .ask(&rig.operator, Method::DELETE, &at, Some("\"r1\""))
        .await;
    assert_eq!((ended, status_of(&session).await), (200, 404));
    assert!(ends(pushed).await);
    let at = path(of("stream"));
    let (ended, _) = rig
        .ask(&rig.operator, Method::DELETE, &at, Some("\"r1\""))
        .await;
    assert_eq!(ended, 200);
    assert!(ends(stream).await);
    until("nothing is open", async || rig.open("").await.is_empty()).await;
    assert_eq!(status_of(&other).await, 200, "another tenant's goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_one_caller_is_ended() {
    let rig = rig().await;
    let mine = [rig.session(&rig.ana).await, rig.session(&rig.ana).await];
    let stream = rig.listens(&rig.ana).await;
    let others = rig.session(&rig.operator).await;
    let open = rig.open("").await;
    let of = open.iter().find(|one| one["kind"] == "stream").unwrap();
    let subject = of["subject"].as_str().unwrap();
    let path = format!("{PATH}?subject={subject}");
    for (query, tag, status) in [
        ("", None, 428),
        ("", Some("\"r1\""), 412),
        ("&dry_run=true", Some("*"), 200),
    ] {
        let path = format!("{path}{query}");
        let (found, _) = rig.ask(&rig.operator, Method::DELETE, &path, tag).await;
        assert_eq!(found, status, "{path}");
    }
    let (unnamed, _) = rig
        .ask(&rig.operator, Method::DELETE, PATH, Some("*"))
        .await;
    assert_eq!(unnamed, 400, "never of everybody");
    let listed = rig.command(&["list", "--subject", subject]).await;
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert_eq!(
        listed.out.matches("2025-11-25").count(),
        2,
        "{}",
        listed.out
    );
    let wrong = rig.command(&["end", "nothing"]).await;
    assert_eq!(wrong.code, 1, "{}", wrong.out);
    let ended = rig.command(&["end", "--subject", subject]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("3 sessions are ended"), "{}", ended.out);
    for session in &mine {
        assert_eq!(status_of(session).await, 404);
    }
    assert!(ends(stream).await);
    assert_eq!(status_of(&others).await, 200);
    // The credential is good: another session can be opened, and ended by its identifier.
    let again = rig.session(&rig.ana).await;
    let open = rig.command(&["list", "--subject", subject, "--json"]).await;
    let open: Vec<Value> = serde_json::from_str(&open.out).unwrap();
    let ended = rig.command(&["end", open[0]["id"].as_str().unwrap()]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(status_of(&again).await, 404);
}
