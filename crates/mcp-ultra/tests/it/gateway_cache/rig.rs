//! A server that counts what it is asked, and says of each answer how long it is good.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{Reply, modern::Caller},
    scripted::{Scene, Scripted, Seen},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway_rig::{gateway, modern};

const RESOURCE: &str = "https://mcp.example.com/mcp";

/// What the server says of its answers.
pub(super) struct Answers {
    pub ttl: u64,
    pub scope: &'static str,
    /// How long it takes for an answer.
    pub late: Duration,
}

impl Answers {
    pub(super) fn new(ttl: u64, scope: &'static str) -> Self {
        Self {
            ttl,
            scope,
            late: Duration::ZERO,
        }
    }
}

pub(super) async fn server(ttl: u64, scope: &'static str) -> Scripted {
    server_of(Answers::new(ttl, scope)).await
}

/// Each answer says which of its resource, or of its tools, it is.
pub(super) async fn server_of(answers: Answers) -> Scripted {
    let read = Mutex::new(HashMap::<String, usize>::new());
    let (called, fails) = (AtomicUsize::new(0), AtomicBool::new(false));
    Scripted::start(tools(), move |seen| {
        let message = seen.message();
        let params = &message["params"];
        match &*seen.rpc() {
            "server/discover" => Some(discovered()),
            "resources/list" => Some(listed()),
            "subscriptions/listen" if params["notifications"]["taskIds"].is_array() => {
                Some(told_of_task())
            }
            "subscriptions/listen" => Some(told()),
            "resources/read" if fails.load(Ordering::SeqCst) => {
                Some(Scene::Status(StatusCode::SERVICE_UNAVAILABLE))
            }
            "resources/read" => {
                let uri = params["uri"].as_str().unwrap();
                if uri == "test://none" {
                    return Some(Scene::Error(r#"{"code":-32602,"message":"none"}"#.into()));
                }
                let mut read = read.lock().unwrap();
                let count = read.entry(uri.to_owned()).or_default();
                *count += 1;
                Some(content(&answers, uri, *count))
            }
            "tools/call" => {
                let number = called.fetch_add(1, Ordering::SeqCst) + 1;
                Some(called_with(&fails, seen, number))
            }
            _ => None,
        }
    })
    .await
    .unwrap()
}

fn tools() -> Value {
    let tool = |name: &str, reads: bool| json!({ "name": name, "inputSchema": { "type": "object" }, "annotations": { "readOnlyHint": reads } });
    json!([
        tool("reads", true),
        tool("looks", false),
        tool("sets", false),
        tool("fails", true),
        tool("asks", true),
        tool("touches", false),
        tool("breaks", false),
        tool("lists", false),
        tool("takes", false),
        tool("shows", true),
        tool("begins", false),
    ])
}

fn discovered() -> Scene {
    let result = json!({
        "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {}, "resources": {} },
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "counting", "version": "0" } },
    });
    Scene::Result(result.to_string())
}

fn listed() -> Scene {
    let resources = ["test://a", "test://b", "test://other"]
        .map(|uri| json!({ "uri": uri, "name": uri.trim_start_matches("test://") }));
    let result = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "public", "resources": resources });
    Scene::Result(result.to_string())
}

fn event(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string()
}

/// Whoever listens for a task is told that it has ended.
fn told_of_task() -> Scene {
    let agreed = json!({ "notifications": { "taskIds": ["t"] } });
    let ended = json!({ "taskId": "t", "status": "completed" });
    Scene::Events(vec![
        event("notifications/subscriptions/acknowledged", &agreed),
        event("notifications/tasks", &ended),
    ])
}

/// Whoever listens is told that a was updated, and has to begin anew.
fn told() -> Scene {
    let agreed = json!({ "notifications": { "resourceSubscriptions": ["test://a"] } });
    Scene::Events(vec![
        event("notifications/subscriptions/acknowledged", &agreed),
        event(
            "notifications/resources/updated",
            &json!({ "uri": "test://a" }),
        ),
    ])
}

fn content(answers: &Answers, uri: &str, count: usize) -> Scene {
    let result = json!({
        "resultType": "complete", "ttlMs": answers.ttl, "cacheScope": answers.scope,
        "contents": [{ "uri": uri, "mimeType": "text/plain", "text": format!("{uri} {count}") }],
    });
    Scene::Late(answers.late, result.to_string())
}

fn called_with(fails: &AtomicBool, seen: &Seen, number: usize) -> Scene {
    let name = seen.message()["params"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let result = json!({
        "resultType": "complete", "isError": name == "fails",
        "content": [{ "type": "text", "text": format!("{name} {number}") }],
    });
    match &*name {
        "asks" => {
            let ask = json!({ "method": "elicitation/create", "params": { "mode": "form", "message": "?", "requestedSchema": { "type": "object", "properties": {} } } });
            let asked = json!({ "resultType": "input_required", "requestState": "s", "inputRequests": { "a": ask } });
            Scene::Result(asked.to_string())
        }
        "touches" => Scene::Events(vec![
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://a"}}"#.into(),
            format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{result}}}"#),
        ]),
        "lists" => Scene::Events(vec![
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#.into(),
            format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{result}}}"#),
        ]),
        "begins" => {
            let task = json!({ "resultType": "task", "taskId": "t", "status": "working" });
            Scene::Result(task.to_string())
        }
        "takes" => Scene::Late(Duration::from_millis(700), result.to_string()),
        "shows" => {
            let mut shown = result;
            shown["cacheScope"] = "public".into();
            Scene::Result(shown.to_string())
        }
        "breaks" => {
            fails.store(true, Ordering::SeqCst);
            Scene::Result(result.to_string())
        }
        _ => Scene::Result(result.to_string()),
    }
}

/// Has the server fail what is read from now on.
pub(super) async fn fail(caller: &Caller) {
    modern(
        caller,
        "tools/call",
        json!({ "name": "breaks", "arguments": {} }),
    )
    .await;
}

/// Has the server say that its tools are other ones now, on the stream of a call.
pub(super) async fn change_list(caller: &Caller) {
    let params = json!({ "name": "lists", "arguments": {} });
    caller.call("tools/call", params).await.unwrap();
}

/// `of_server` stands at the server, `general` before it.
pub(super) fn yaml(server: &Scripted, general: &str, of_server: &str) -> String {
    format!(
        "{general}servers:\n  - {{ name: fix, url: \"{}\", prefix: none, era: modern{of_server} }}\n",
        server.url()
    )
}

pub(super) async fn read(caller: &Caller, uri: &str) -> Reply {
    modern(caller, "resources/read", json!({ "uri": uri })).await
}

/// How often the server was asked for a resource.
pub(super) fn reads(server: &Scripted) -> usize {
    server.seen("resources/read").len()
}

pub(super) async fn metric(gateway: &Gateway, sample: &str) -> u64 {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(&format!("{sample} ")));
    value.unwrap_or("0").parse().unwrap()
}

/// The server behind a gateway that asks who calls.
pub(super) struct Rig {
    _provider: IdentityProvider,
    _server: Scripted,
    key: SigningKey,
    claims: Value,
    gateway: Gateway,
    folder: TempDir,
}

impl Rig {
    /// With a policy, unless that is empty. What the server says of its tools is believed.
    pub(super) async fn start(ttl: u64, scope: &'static str, policy: &str, general: &str) -> Self {
        let key = SigningKey::es256("k").unwrap();
        let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
            .await
            .unwrap();
        let server = server(ttl, scope).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.cedar"), policy).unwrap();
        let policy = if policy.is_empty() {
            String::new()
        } else {
            format!("policy: {{ files: [\"{}\"] }}\n", folder.path().display())
        };
        let general = format!(
            "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\n{policy}{general}",
            provider.issuer(),
        );
        let gateway = gateway(&yaml(&server, &general, ", trust_annotations: true")).await;
        Self {
            claims: provider.claims(RESOURCE, "", SystemClock.now().as_secs()),
            _provider: provider,
            _server: server,
            key,
            gateway,
            folder,
        }
    }

    /// Somebody with the role `r-` and their name.
    pub(super) fn caller(&self, tenant: &str, subject: &str) -> Caller {
        let mut claims = self.claims.clone();
        claims["sub"] = subject.into();
        claims["tenant"] = tenant.into();
        claims["roles"] = json!([format!("r-{subject}")]);
        let token = self.key.token(&claims).unwrap();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let mut caller = self.gateway.caller();
        caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        caller
    }

    pub(super) fn issuer(&self) -> &str {
        self.claims["iss"].as_str().unwrap()
    }

    pub(super) fn set_policy(&self, policy: &str) {
        fs::write(self.folder.path().join("p.cedar"), policy).unwrap();
    }
}
