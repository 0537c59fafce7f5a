//! Which message gets which answer, in both eras.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Args, Eras, body::Reply, catalog::Pages};
use crate::{
    message::{LEGACY_VERSION, MODERN_VERSION, SESSION_HEADER, VERSION_HEADER},
    payload::{Form, Size, resource_uri, text, tool_name},
};

/// Up to here an answer is copied into one piece: cheaper than a second one on its way out.
const ONE_PIECE: usize = 16 << 10;

/// Every answer, prepared.
pub(crate) struct Answers {
    era: Eras,
    sessions: bool,
    calls: Vec<Call>,
    /// The resources, by size.
    reads: [Bytes; Size::ALL.len()],
    resources: Bytes,
    pages: Pages,
    discover: Bytes,
    initialize: Bytes,
}

/// The prepared result of one tool.
struct Call {
    name: &'static str,
    form: Form,
    modern: Bytes,
    legacy: Bytes,
}

/// What routing needs of a message; the rest is skipped, not built.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow)]
    notifications: Option<&'a RawValue>,
}

impl Answers {
    /// Prepares all answers.
    pub(crate) fn new(args: &Args) -> Self {
        let calls = Form::ALL
            .into_iter()
            .flat_map(|form| Size::ALL.into_iter().map(move |size| Call::new(size, form)))
            .collect();
        let server = json!({ "name": "mcp-ultra-bench", "version": env!("CARGO_PKG_VERSION") });
        let capabilities = json!({ "tools": { "listChanged": true }, "resources": {} });
        let versions = match args.era {
            Eras::Dual => vec![MODERN_VERSION, LEGACY_VERSION],
            _ => vec![MODERN_VERSION],
        };
        let discover = json!({
            "resultType": "complete",
            "supportedVersions": versions,
            "capabilities": capabilities,
            "_meta": { "io.modelcontextprotocol/serverInfo": server },
            "ttlMs": 3_600_000,
            "cacheScope": "public"
        });
        let initialize = json!({
            "protocolVersion": LEGACY_VERSION,
            "capabilities": capabilities,
            "serverInfo": server
        });
        Self {
            era: args.era,
            sessions: args.sessions,
            calls,
            reads: Size::ALL.map(resource),
            resources: listed_resources(),
            pages: Pages::new(args.tools, args.page_size as usize),
            discover: Bytes::from(discover.to_string()),
            initialize: Bytes::from(initialize.to_string()),
        }
    }

    /// The answer to one message.
    pub(crate) fn to_message(&self, headers: &HeaderMap, body: &[u8]) -> Response<Reply> {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else {
            return failure(
                StatusCode::BAD_REQUEST,
                None,
                -32700,
                "not a JSON-RPC message",
            );
        };
        let (Some(id), Some(method)) = (message.id, message.method.as_deref()) else {
            return bare(StatusCode::ACCEPTED);
        };
        let version = headers.get(VERSION_HEADER);
        let modern = version.is_some_and(|version| version == MODERN_VERSION);
        if modern && self.era == Eras::Legacy || !modern && self.era == Eras::Modern {
            let requested = version
                .and_then(|version| version.to_str().ok())
                .unwrap_or_default();
            return unsupported(id, self.era, requested);
        }
        let params = message.params.as_ref();
        match (modern, method) {
            (_, "tools/call") => self.call(headers, modern, id, params),
            (_, "tools/list") => {
                let cursor = params.and_then(|params| params.cursor.as_deref());
                match self.pages.page(modern, cursor) {
                    Some(page) => success(id, Form::Json, &page),
                    None => failure(StatusCode::OK, Some(id), -32602, "unknown cursor"),
                }
            }
            (true, "resources/read") => {
                let uri = params.and_then(|params| params.uri.as_deref());
                let sizes = Size::ALL.into_iter().zip(&self.reads);
                match sizes
                    .into_iter()
                    .find(|(size, _)| uri == Some(resource_uri(*size)))
                {
                    Some((_, resource)) => success(id, Form::Json, resource),
                    None => failure(StatusCode::OK, Some(id), -32602, "unknown resource"),
                }
            }
            (true, "resources/list") => success(id, Form::Json, &self.resources),
            (true, "server/discover") => success(id, Form::Json, &self.discover),
            (true, "subscriptions/listen") => listen(id, params),
            (false, "initialize") => {
                let mut response = success(id, Form::Json, &self.initialize);
                if self.sessions {
                    let session = HeaderValue::from_static("bench-session");
                    response.headers_mut().insert(SESSION_HEADER, session);
                }
                response
            }
            (false, "ping") => success(id, Form::Json, &Bytes::from_static(b"{}")),
            (true, _) => failure(StatusCode::NOT_FOUND, Some(id), -32601, "method not found"),
            (false, _) => failure(StatusCode::OK, Some(id), -32601, "method not found"),
        }
    }

    fn call(
        &self,
        headers: &HeaderMap,
        modern: bool,
        id: &RawValue,
        params: Option<&Params<'_>>,
    ) -> Response<Reply> {
        if !modern && self.sessions && !headers.contains_key(SESSION_HEADER) {
            return failure(StatusCode::BAD_REQUEST, Some(id), -32600, "no session id");
        }
        let name = params.and_then(|params| params.name.as_deref());
        match self.calls.iter().find(|call| Some(call.name) == name) {
            Some(call) => success(
                id,
                call.form,
                if modern { &call.modern } else { &call.legacy },
            ),
            None => failure(StatusCode::OK, Some(id), -32602, "unknown tool"),
        }
    }
}

impl Call {
    fn new(size: Size, form: Form) -> Self {
        let content = json!([{ "type": "text", "text": text(size) }]);
        let modern =
            json!({ "resultType": "complete", "content": content, "isError": false }).to_string();
        let legacy = json!({ "content": content, "isError": false }).to_string();
        Self {
            name: tool_name(size, form),
            form,
            modern: modern.into(),
            legacy: legacy.into(),
        }
    }
}

/// What reading the resource of this size brings: good for an hour, for everyone.
fn resource(size: Size) -> Bytes {
    let contents = json!([{
        "uri": resource_uri(size), "mimeType": "text/plain", "text": text(size)
    }]);
    let result = json!({
        "resultType": "complete", "contents": contents, "ttlMs": 3_600_000, "cacheScope": "public"
    });
    Bytes::from(result.to_string())
}

/// The list of all resources.
fn listed_resources() -> Bytes {
    let resources =
        Size::ALL.map(|size| json!({ "uri": resource_uri(size), "name": size.label() }));
    let result = json!({
        "resultType": "complete", "resources": resources, "ttlMs": 3_600_000, "cacheScope": "public"
    });
    Bytes::from(result.to_string())
}

/// A response without a body.
pub(crate) fn bare(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::sized([const { Bytes::new() }; 3]));
    *response.status_mut() = status;
    response
}

fn success(id: &RawValue, form: Form, result: &Bytes) -> Response<Reply> {
    let (before, after) = match form {
        Form::Json => ("", "}"),
        Form::Sse => ("event: message\ndata: ", "}\n\n"),
    };
    let one_piece = result.len() <= ONE_PIECE;
    let copied = if one_piece {
        result.len() + after.len()
    } else {
        0
    };
    let mut own = BytesMut::with_capacity(before.len() + id.get().len() + copied + 64);
    own.put_slice(before.as_bytes());
    own.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    own.put_slice(id.get().as_bytes());
    own.put_slice(b",\"result\":");
    let parts = if one_piece {
        own.put_slice(result);
        own.put_slice(after.as_bytes());
        [own.freeze(), Bytes::new(), Bytes::new()]
    } else {
        [
            own.freeze(),
            result.clone(),
            Bytes::from_static(after.as_bytes()),
        ]
    };
    match form {
        Form::Json => typed(Reply::sized(parts), "application/json"),
        Form::Sse => events(Reply::events(parts)),
    }
}

fn listen(id: &RawValue, params: Option<&Params<'_>>) -> Response<Reply> {
    let filter = params
        .and_then(|params| params.notifications)
        .map_or("{}", RawValue::get);
    events(Reply::held(Bytes::from(format!(
        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\
         \"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":\
         {{\"io.modelcontextprotocol/subscriptionId\":{}}},\"notifications\":{filter}}}}}\n\n",
        id.get()
    ))))
}

fn unsupported(id: &RawValue, era: Eras, requested: &str) -> Response<Reply> {
    let supported = if era == Eras::Legacy {
        LEGACY_VERSION
    } else {
        MODERN_VERSION
    };
    let error = json!({
        "jsonrpc": "2.0", "id": id,
        "error": {
            "code": -32022, "message": "unsupported protocol version",
            "data": { "supported": [supported], "requested": requested }
        }
    });
    refusal(StatusCode::BAD_REQUEST, &error)
}

fn failure(status: StatusCode, id: Option<&RawValue>, code: i32, message: &str) -> Response<Reply> {
    let mut error = json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message } });
    if let Some(id) = id {
        error["id"] = json!(id);
    }
    refusal(status, &error)
}

fn refusal(status: StatusCode, error: &serde_json::Value) -> Response<Reply> {
    let body = [Bytes::from(error.to_string()), Bytes::new(), Bytes::new()];
    let mut response = typed(Reply::sized(body), "application/json");
    *response.status_mut() = status;
    response
}

fn typed(body: Reply, content_type: &'static str) -> Response<Reply> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Servers should ask proxies not to collect the events of a stream (streamable HTTP, "Receiving
/// Messages"), so nginx passes these unbuffered.
fn events(body: Reply) -> Response<Reply> {
    let mut response = typed(body, "text/event-stream");
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
