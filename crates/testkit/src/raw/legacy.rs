//! Sessions of 2025-11-25 and earlier: `initialize`, calls with server-to-client requests, the GET
//! stream, DELETE.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{Answer, Client, RawError, Reply, headers, modern::no_reply};

/// How often a call whose stream was closed is looked for again before it counts as lost.
const RECONNECTIONS: usize = 5;
/// How long to wait before that where the server does not say.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// An open session.
pub struct Session {
    client: Client,
    version: String,
    /// The id that it was given.
    pub id: Option<HeaderValue>,
    /// The result of `initialize`.
    pub initialized: Value,
    /// Sent with every request on top of what MCP wants, for example `authorization`.
    pub extra_headers: HeaderMap,
    next_id: AtomicU64,
}

impl Session {
    /// Initializes a session of `version` and confirms it.
    pub async fn open(
        client: Client,
        version: &str,
        capabilities: Value,
        extra_headers: HeaderMap,
    ) -> Result<Self, RawError> {
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "testkit", "version": env!("CARGO_PKG_VERSION") },
        });
        let message = request(&json!(0), "initialize", &params);
        let mut headers = headers::post();
        headers.extend(extra_headers.clone());
        let answer = client.post(headers, message.to_string()).await?;
        let session_id = answer.headers.get("mcp-session-id").cloned();
        let reply = super::modern::read_reply(answer, &json!(0)).await?;
        let initialized = reply.result().clone();
        let Some(version) = initialized["protocolVersion"].as_str() else {
            return Err(RawError::Unexpected {
                problem: "initialize was refused".to_owned(),
                status: reply.status,
                body: reply.message.to_string(),
            });
        };
        let version = version.to_owned();
        let next_id = AtomicU64::new(1);
        let session = Self {
            client,
            version,
            id: session_id,
            initialized,
            extra_headers,
            next_id,
        };
        session
            .notify("notifications/initialized", json!({}))
            .await?;
        Ok(session)
    }

    /// The session id that the server gave, if any.
    pub fn id(&self) -> Option<&str> {
        self.id.as_ref()?.to_str().ok()
    }

    /// The revision that was negotiated.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The headers of a POST in this session.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = headers::post();
        if let Some(id) = &self.id {
            headers.insert("mcp-session-id", id.clone());
        }
        if let Ok(version) = HeaderValue::try_from(&self.version) {
            headers.insert("mcp-protocol-version", version);
        }
        headers.extend(self.extra_headers.clone());
        headers
    }

    /// Posts any message as it is; the body of the answer is still to be read.
    pub async fn post(&self, message: &Value) -> Result<Answer, RawError> {
        self.client.post(self.headers(), message.to_string()).await
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str, params: Value) -> Result<StatusCode, RawError> {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        let answer = self.post(&message).await?;
        let status = answer.status;
        answer.bytes().await?;
        Ok(status)
    }

    /// Sends a request under a new id; the id, and the answer whose body is still to be read.
    pub async fn send(&self, method: &str, params: Value) -> Result<(Value, Answer), RawError> {
        let id = json!(self.next_id.fetch_add(1, Ordering::Relaxed));
        let answer = self.post(&request(&id, method, &params)).await?;
        Ok((id, answer))
    }

    /// Makes a request and waits for its reply; a request from the server is an error.
    pub async fn call(&self, method: &str, params: Value) -> Result<Reply, RawError> {
        self.call_answering(method, params, |_| None).await
    }

    /// Makes a request and waits for its reply. What the server asks on the way goes to `answer`,
    /// whose value becomes the result that is posted back (`None`: the error "method not found").
    /// A stream that the server closes is taken up again with `Last-Event-ID` (SEP-1699).
    pub async fn call_answering(
        &self,
        method: &str,
        params: Value,
        mut answer: impl FnMut(&Value) -> Option<Value>,
    ) -> Result<Reply, RawError> {
        let (id, response) = self.send(method, params).await?;
        let (status, head) = (response.status, response.headers.clone());
        let mut before = Vec::new();
        let reply = |message, before| Reply {
            status,
            headers: head,
            before,
            message,
        };
        if !response.is_event_stream() {
            return Ok(reply(response.json().await?, before));
        }
        let mut events = response.events();
        for _ in 0..=RECONNECTIONS {
            let mut last_id = None;
            let mut wait = DEFAULT_RETRY;
            while let Some(event) = events.next().await? {
                last_id = event.id.or(last_id);
                wait = event.retry.map_or(wait, Duration::from_millis);
                let Ok(message) = serde_json::from_str::<Value>(&event.data) else {
                    continue;
                };
                if message.get("method").is_none() && message["id"] == id {
                    return Ok(reply(message, before));
                }
                if message.get("method").is_some() && message.get("id").is_some() {
                    self.respond(&message, answer(&message)).await?;
                }
                before.push(message);
            }
            let Some(last_id) = last_id else { break };
            tokio::time::sleep(wait).await;
            events = self.stream(Some(&last_id)).await?.events();
        }
        Err(no_reply(status, &id, &before))
    }

    /// Answers a request of the server.
    pub async fn respond(
        &self,
        asked: &Value,
        result: Option<Value>,
    ) -> Result<StatusCode, RawError> {
        let mut message = json!({ "jsonrpc": "2.0", "id": asked["id"] });
        match result {
            Some(result) => message["result"] = result,
            None => message["error"] = json!({ "code": -32601, "message": "Method not found" }),
        }
        let answer = self.post(&message).await?;
        let status = answer.status;
        answer.bytes().await?;
        Ok(status)
    }

    /// Opens the GET stream, or takes up a stream after the event of this id.
    pub async fn stream(&self, last_event_id: Option<&str>) -> Result<Answer, RawError> {
        let mut headers = self.headers();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        if let Some(id) = last_event_id {
            let id = HeaderValue::try_from(id).map_err(http::Error::from)?;
            headers.insert("last-event-id", id);
        }
        self.client.get(headers).await
    }

    /// Answers what the server asks on a GET stream, until the stream ends. To be run beside a
    /// call: servers may ask there too.
    pub async fn answer_on_stream(
        &self,
        stream: Answer,
        mut answer: impl FnMut(&Value) -> Option<Value>,
    ) -> Result<(), RawError> {
        if !stream.is_event_stream() {
            // 405: this server has no such stream.
            return Ok(());
        }
        let mut events = stream.events();
        loop {
            match events.message().await {
                Ok(Some(message)) => {
                    if message.get("method").is_some() && message.get("id").is_some() {
                        self.respond(&message, answer(&message)).await?;
                    }
                }
                Ok(None) => return Ok(()),
                // Nothing to ask for a while is no fault.
                Err(RawError::TooLate(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the session.
    pub async fn close(&self) -> Result<StatusCode, RawError> {
        Ok(self.client.delete(self.headers()).await?.status)
    }
}

fn request(id: &Value, method: &str, params: &Value) -> Value {
    let params = if params.is_object() {
        params.clone()
    } else {
        Value::Object(Map::new())
    };
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}
