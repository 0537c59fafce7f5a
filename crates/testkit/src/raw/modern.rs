//! Requests of 2026-07-28: stateless, with `_meta` and `Mcp-*` headers.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{Answer, Client, Events, RawError, Reply, headers};

/// The revision that these requests name.
pub const VERSION: &str = "2026-07-28";

/// A client that makes well-formed modern requests.
pub struct Caller {
    client: Client,
    /// What it declares in `_meta`.
    pub capabilities: Value,
    /// What it says it is in `_meta`.
    pub client_info: Value,
    /// Sent with every request on top of what MCP wants, for example `authorization`.
    pub extra_headers: HeaderMap,
    next_id: AtomicU64,
}

/// A request before it is sent: change `headers` or `message` to make it wrong.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// All headers.
    pub headers: HeaderMap,
    /// The JSON-RPC message.
    pub message: Value,
}

impl Caller {
    /// A caller with form elicitation, sampling and roots.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            capabilities: json!({ "elicitation": {}, "sampling": {}, "roots": {} }),
            client_info: json!({ "name": "testkit", "version": env!("CARGO_PKG_VERSION") }),
            extra_headers: HeaderMap::new(),
            next_id: AtomicU64::new(1),
        }
    }

    /// A request under a new id, with all that 2026-07-28 wants in body and headers. What `params`
    /// already has under `_meta` stays, so that a test can say something else there.
    pub fn prepare(&self, method: &str, params: Value) -> Prepared {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut params = if params.is_object() {
            params
        } else {
            Value::Object(Map::new())
        };
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": self.client_info,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        });
        if let (Some(own), Some(meta)) = (params["_meta"].as_object(), meta.as_object_mut()) {
            meta.extend(own.clone());
        }
        let mut headers = headers::post();
        headers.insert("mcp-protocol-version", text(meta_version(&meta)));
        headers.insert("mcp-method", text(&headers::encode(method)));
        if let Some(name) = headers::name(method, &params) {
            headers.insert("mcp-name", text(&headers::encode(name)));
        }
        params["_meta"] = meta;
        headers.extend(self.extra_headers.clone());
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Prepared { headers, message }
    }

    /// Sends a prepared request; the body of the answer is still to be read.
    pub async fn send(&self, request: Prepared) -> Result<Answer, RawError> {
        self.client
            .post(request.headers, request.message.to_string())
            .await
    }

    /// Sends a prepared request and reads up to its reply, as JSON or from a stream.
    pub async fn reply(&self, request: Prepared) -> Result<Reply, RawError> {
        let id = request.message["id"].clone();
        read_reply(self.send(request).await?, &id).await
    }

    /// Makes a request and waits for its reply.
    pub async fn call(&self, method: &str, params: Value) -> Result<Reply, RawError> {
        self.reply(self.prepare(method, params)).await
    }

    /// Calls a tool. Where the tool mirrors parameters into headers, give its input schema.
    pub async fn call_tool(
        &self,
        name: &str,
        arguments: Value,
        input_schema: Option<&Value>,
    ) -> Result<Reply, RawError> {
        let mirrored = input_schema.map(|schema| headers::params(schema, &arguments));
        let params = json!({ "name": name, "arguments": arguments });
        let mut request = self.prepare("tools/call", params);
        for (name, value) in mirrored.unwrap_or_default() {
            let name = HeaderName::try_from(name).map_err(http::Error::from)?;
            request.headers.insert(name, text(&value));
        }
        self.reply(request).await
    }

    /// Opens `subscriptions/listen` with this filter; the first message is the acknowledgement.
    pub async fn listen(&self, notifications: Value) -> Result<Events, RawError> {
        let params = json!({ "notifications": notifications });
        let answer = self
            .send(self.prepare("subscriptions/listen", params))
            .await?;
        Ok(answer.events())
    }
}

fn meta_version(meta: &Value) -> &str {
    meta["io.modelcontextprotocol/protocolVersion"]
        .as_str()
        .unwrap_or(VERSION)
}

/// Encoded values and versions are always printable ASCII.
fn text(value: &str) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Reads an answer up to the reply to `id`.
pub(super) async fn read_reply(answer: Answer, id: &Value) -> Result<Reply, RawError> {
    let (status, headers) = (answer.status, answer.headers.clone());
    if !answer.is_event_stream() {
        let message = answer.json().await?;
        return Ok(Reply {
            status,
            headers,
            before: Vec::new(),
            message,
        });
    }
    let mut events = answer.events();
    let mut before = Vec::new();
    while let Some(message) = events.message().await? {
        if message.get("method").is_none() && message["id"] == *id {
            return Ok(Reply {
                status,
                headers,
                before,
                message,
            });
        }
        before.push(message);
    }
    Err(no_reply(status, id, &before))
}

pub(super) fn no_reply(status: http::StatusCode, id: &Value, before: &[Value]) -> RawError {
    RawError::Unexpected {
        problem: format!("the stream ended without a reply to {id}"),
        status,
        body: Value::from(before.to_vec()).to_string(),
    }
}
