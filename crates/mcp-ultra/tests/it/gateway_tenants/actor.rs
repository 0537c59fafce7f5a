//! A principal of a tenant: what it can do, and what it sees of the answer.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::{Answer, Client, Events, legacy::Session, modern::Caller},
};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::world::Tenant;

/// What a principal does. What is called foreign is the other tenant's; where that has none, it is
/// something that nobody has, and the answer must be the same. So it must be with what is of the
/// namesake: the same subject of the same tenant under the other issuer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    List(&'static str),
    NextPage,
    ForeignCursor,
    Echo { shared: bool },
    ForeignTool,
    LegacyEcho,
    LogMessages,
    ForeignSession,
    MoreSessions,
    Ask,
    ForeignState,
    StartTask,
    ForeignTask,
    ChangeResource,
    ChangeTools,
    CreateKey,
    ListKeys,
    CallByKey,
    ForeignKey,
    ForeignTenant,
    NamesakeCursor,
    NamesakeSession,
    NamesakeState,
    NamesakeTask,
    Discover,
}

impl Step {
    /// What is done with what is the namesake's.
    pub(super) fn with_the_namesake(self) -> Option<Self> {
        Some(match self {
            Self::NamesakeCursor => Self::ForeignCursor,
            Self::NamesakeSession => Self::ForeignSession,
            Self::NamesakeState => Self::ForeignState,
            Self::NamesakeTask => Self::ForeignTask,
            _ => return None,
        })
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let lists = [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ];
    prop_oneof![
        2 => select(lists.to_vec()).prop_map(List),
        3 => any::<bool>().prop_map(|shared| Echo { shared }),
        16 => select(vec![
            NextPage, ForeignCursor, ForeignTool, LegacyEcho, LogMessages, ForeignSession,
            MoreSessions, Ask, ForeignState, StartTask, ForeignTask, ChangeResource, ChangeTools,
            CreateKey, ListKeys, CallByKey, ForeignKey, ForeignTenant, Discover,
            NamesakeCursor, NamesakeSession, NamesakeState, NamesakeTask,
        ]),
    ]
}

/// What a tenant has been given, for the other one to try.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces {
    cursor: Option<String>,
    session: Option<String>,
    state: Option<String>,
    task: Option<String>,
    key: Option<(String, String)>,
    server: Option<String>,
    tenant: Option<String>,
}

/// What came of a step.
pub(super) struct Seen {
    /// All of it.
    pub received: String,
    /// Without what is random or a time.
    pub answer: String,
}

pub(super) struct Actor {
    caller: Caller,
    session: Session,
    client: Client,
    admin: String,
    headers: HeaderMap,
    canary: String,
    tenant: String,
    count: AtomicU64,
}

/// Members whose values are random, or a time, or come of a race.
const MASKED: [&str; 17] = [
    "nextCursor",
    "requestState",
    "taskId",
    "status",
    "createdAt",
    "lastUpdatedAt",
    "statusMessage",
    "id",
    "token",
    "created",
    "expires",
    "last_used",
    "prefix",
    "next",
    "tenant",
    "pollIntervalMs",
    "retryAfter",
];
/// Headers that are, and those that change with the time.
const MASKED_HEADERS: [&str; 8] = [
    "date",
    "mcp-session-id",
    "content-length",
    "location",
    "ratelimit",
    "retry-after",
    "x-request-id",
    "etag",
];

impl Actor {
    pub(super) async fn new(
        gateway: &Gateway,
        admin: &str,
        headers: HeaderMap,
        tenant: &Tenant,
    ) -> Self {
        let mut caller = gateway.caller();
        caller.extra_headers = headers.clone();
        caller.capabilities = json!({
            "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} },
        });
        let session = Session::open(gateway.client(), "2025-11-25", json!({}), headers.clone())
            .await
            .unwrap();
        let level = session.call("logging/setLevel", json!({ "level": "error" }));
        assert!(level.await.unwrap().message.get("result").is_some());
        Self {
            caller,
            session,
            client: gateway.client(),
            admin: admin.to_owned(),
            headers,
            canary: tenant.canary.clone(),
            tenant: tenant.name(),
            count: AtomicU64::new(0),
        }
    }

    /// Its credential.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A stream of each era. What is watched is of the tenant's own server; the list of tools of all.
    pub(super) async fn streams(&self) -> Vec<Events> {
        let uri = format!("{}+test://watched-resource", self.canary);
        let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": [uri] });
        let modern = self.caller.listen(wanted).await.unwrap();
        let pushed = self.session.stream(None).await.unwrap().events();
        let subscribed = self
            .session
            .call("resources/subscribe", json!({ "uri": uri }));
        assert!(subscribed.await.unwrap().message.get("result").is_some());
        vec![modern, pushed]
    }

    pub(super) async fn act(&self, step: &Step, own: &mut Traces, foreign: &Traces) -> Seen {
        let other = |trace: &Option<String>| trace.clone().unwrap_or_else(|| "AAAA".to_owned());
        own.session = self.session.id().map(str::to_owned);
        own.server = Some(self.canary.clone());
        own.tenant = Some(self.tenant.clone());
        match step {
            Step::List(method) => {
                let seen = self.modern(method, json!({})).await;
                own.cursor = text_of(&seen.received, "nextCursor").or(own.cursor.take());
                seen
            }
            Step::NextPage => {
                let cursor = own.cursor.clone().unwrap_or_default();
                // Whose list it is of is in it.
                status(self.page(&cursor).await)
            }
            Step::ForeignCursor => self.page(&other(&foreign.cursor)).await,
            Step::Echo { shared } => {
                let server = if *shared { "both" } else { &self.canary };
                self.tool(
                    &format!("{server}_test_echo"),
                    json!({ "text": self.canary }),
                )
                .await
            }
            Step::ForeignTool => {
                let server = foreign.server.as_deref().unwrap_or("nobody");
                let seen = self.tool(&format!("{server}_test_echo"), json!({})).await;
                named_by_me(&seen, server)
            }
            Step::LegacyEcho => {
                let params = json!({ "name": "both_test_simple_text", "arguments": {} });
                self.legacy("tools/call", params).await
            }
            Step::LogMessages => {
                let name = format!("{}_test_tool_with_logging", self.canary);
                let params = json!({ "name": name, "arguments": {} });
                self.legacy("tools/call", params).await
            }
            Step::ForeignSession => self.in_session(&other(&foreign.session)).await,
            Step::MoreSessions => self.more_sessions().await,
            Step::Ask => {
                let name = "both_test_input_required_result_request_state";
                let seen = self.tool(name, json!({})).await;
                own.state = text_of(&seen.received, "requestState").or(own.state.take());
                seen
            }
            Step::ForeignState => {
                let params = json!({
                    "name": "both_test_input_required_result_request_state", "arguments": {},
                    "requestState": other(&foreign.state),
                    "inputResponses": { "confirm": { "action": "accept", "content": { "ok": true } } },
                });
                self.modern("tools/call", params).await
            }
            Step::StartTask => {
                let arguments = json!({ "seconds": 0.05, "label": self.canary });
                let seen = self.tool("both_slow_compute", arguments).await;
                own.task = text_of(&seen.received, "taskId").or(own.task.take());
                seen
            }
            Step::ForeignTask => {
                let params = json!({ "taskId": other(&foreign.task) });
                self.modern("tasks/get", params).await
            }
            Step::ChangeResource => {
                let name = format!("{}_test_trigger_resource_update", self.canary);
                self.tool(&name, json!({})).await
            }
            Step::ChangeTools => {
                let name = format!("{}_test_trigger_tool_change", self.canary);
                self.tool(&name, json!({})).await
            }
            Step::Discover => self.modern("server/discover", json!({})).await,
            _ => self.administer(step, own, foreign).await,
        }
    }

    async fn administer(&self, step: &Step, own: &mut Traces, foreign: &Traces) -> Seen {
        match step {
            Step::CreateKey => {
                let count = self.count.fetch_add(1, Ordering::Relaxed);
                let subject = self.session.id().map_or(0, str::len);
                let body = json!({ "name": format!("{}-{count}-{subject}", self.canary) });
                let seen = self.admin(Method::POST, "", Some(body)).await;
                let (id, token) = (
                    text_of(&seen.received, "id"),
                    text_of(&seen.received, "token"),
                );
                own.key = id.zip(token).or(own.key.take());
                // Whether the name is taken depends on both principals alone.
                status(seen)
            }
            Step::ListKeys => self.admin(Method::GET, "", None).await,
            Step::CallByKey => {
                let token = own
                    .key
                    .clone()
                    .map_or("mcpu_none".to_owned(), |(_, token)| token);
                let mut caller = Caller::new(self.client.clone());
                let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
                caller.extra_headers.insert("authorization", value);
                let request = caller.prepare("tools/list", json!({}));
                self.seen(caller.send(request).await.unwrap()).await
            }
            Step::ForeignKey => {
                let id = foreign.key.clone().map_or("AAAA".to_owned(), |(id, _)| id);
                self.admin(Method::GET, &format!("/{id}"), None).await
            }
            _ => {
                let tenant = foreign.tenant.as_deref().unwrap_or("nobody");
                let mut encoded = String::new();
                for byte in tenant.bytes() {
                    write!(encoded, "%{byte:02X}").unwrap();
                }
                self.admin(Method::GET, &format!("?tenant={encoded}"), None)
                    .await
            }
        }
    }

    async fn page(&self, cursor: &str) -> Seen {
        self.modern("tools/list", json!({ "cursor": cursor })).await
    }

    async fn tool(&self, name: &str, arguments: Value) -> Seen {
        self.modern(
            "tools/call",
            json!({ "name": name, "arguments": arguments }),
        )
        .await
    }

    async fn modern(&self, method: &str, params: Value) -> Seen {
        let request = self.caller.prepare(method, params);
        self.seen(self.caller.send(request).await.unwrap()).await
    }

    async fn legacy(&self, method: &str, params: Value) -> Seen {
        let (_, answer) = self.session.send(method, params).await.unwrap();
        self.seen(answer).await
    }

    /// A call in a session that somebody else has opened.
    async fn in_session(&self, id: &str) -> Seen {
        let mut headers = self.session.headers();
        headers.insert("mcp-session-id", HeaderValue::try_from(id).unwrap());
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
        let answer = self.client.post(headers, message.to_string()).await;
        self.seen(answer.unwrap()).await
    }

    async fn more_sessions(&self) -> Seen {
        let mut opened = 0;
        for _ in 0..3 {
            let (client, headers) = (self.client.clone(), self.headers.clone());
            let session = Session::open(client, "2025-11-25", json!({}), headers).await;
            opened += usize::from(session.is_ok());
        }
        Seen {
            received: String::new(),
            answer: format!("{opened} sessions"),
        }
    }

    async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Seen {
        let client = Client::new(format!("{}/api/v1/keys{path}", self.admin));
        let mut headers = self.headers.clone();
        let body = match body {
            Some(body) => {
                headers.insert("content-type", HeaderValue::from_static("application/json"));
                // The same in both tenants.
                let key = format!("k{}", self.count.load(Ordering::Relaxed));
                headers.insert("idempotency-key", key.parse().unwrap());
                body.to_string().into()
            }
            None => Bytes::new(),
        };
        self.seen(client.request(method, headers, body).await.unwrap())
            .await
    }

    async fn seen(&self, answer: Answer) -> Seen {
        let status = answer.status.as_u16();
        let mut headers: Vec<String> = Vec::new();
        let mut received = String::new();
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            writeln!(received, "{name}: {value}").unwrap();
            if !MASKED_HEADERS.contains(&name.as_str()) {
                headers.push(format!("{name}: {value}"));
            }
        }
        headers.sort();
        let body = answer.text().await.unwrap();
        received += &body;
        let lines: Vec<String> = body
            .lines()
            .map(|line| line.strip_prefix("data: ").unwrap_or(line))
            .map(masked)
            .collect();
        Seen {
            received,
            answer: format!("{status} {headers:?} {}", lines.join("\n")),
        }
    }
}

/// The status of an answer alone.
fn status(seen: Seen) -> Seen {
    let answer = seen.answer.split(' ').next().unwrap_or_default().to_owned();
    Seen { answer, ..seen }
}

/// The answer names what was asked for, whoever has it.
fn named_by_me(seen: &Seen, name: &str) -> Seen {
    Seen {
        received: seen.received.replace(name, "_"),
        answer: seen.answer.replace(name, "_"),
    }
}

/// A JSON text without what is random or a time.
fn masked(text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return text.to_owned();
    };
    mask(&mut value);
    value.to_string()
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(members) => {
            for (name, value) in members {
                let plain = value.is_string() || value.is_number();
                if let Some((said, _)) = value
                    .as_str()
                    .and_then(|text| text.split_once("; try again in"))
                {
                    *value = Value::from(said);
                }
                // When a key was used is noted some seconds later.
                if MASKED.contains(&name.as_str()) && plain || name == "last_used" {
                    *value = Value::from("_");
                } else {
                    mask(value);
                }
                // API keys are in the order of their ids, which are random.
                if let (Value::Array(items), "items") = (value, name.as_str()) {
                    items.sort_by_key(ToString::to_string);
                }
            }
        }
        _ => {}
    }
}

/// The text of a member anywhere in a text.
fn text_of(text: &str, member: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("\"{member}\":\""))?;
    rest.split('"').next().map(str::to_owned)
}
