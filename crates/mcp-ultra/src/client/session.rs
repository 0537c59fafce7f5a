//! The conversation with one server, in the era that it speaks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_ultra_protocol::{
    ByteString, Era, Id, Message, Outcome, Request, Response, Version, WireError, error, headers,
    json::{self, Object},
    meta,
    param_headers::ParamHeader,
};

use super::{ClientError, Notice, Reply, RpcError, Tool, Transport, connect, notice, transport};

/// What this client says it can do. It answers an elicitation by declining it (legacy) or by
/// reporting what is asked for (modern), which is more than a server's "not supported" tells.
pub(super) const CAPABILITIES: &str = r#"{"elicitation":{"form":{},"url":{}}}"#;

/// How often a stream that ended early is taken up again (legacy), and how long is waited before,
/// where the server does not say.
const RESUMES: usize = 5;
const RESUME_AFTER: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Who the server is.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The revision that is spoken with it.
    pub(crate) version: Version,
    /// Its name, as it says.
    pub(crate) name: Option<String>,
    /// Its version, as it says.
    pub(crate) release: Option<String>,
    /// The keys of its capabilities.
    pub(crate) capabilities: Vec<String>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Tools.
    Tools,
    /// Resources.
    Resources,
    /// Prompts.
    Prompts,
}

impl Listing {
    /// The request.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Resources => "resources/list",
            Self::Prompts => "prompts/list",
        }
    }

    /// The key of the elements in the result, and of the capability that a server must have.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Prompts => "prompts",
        }
    }
}

impl Server {
    pub(super) fn read(result: &Object<'_>, info: Option<&str>, version: Version) -> Self {
        let info = info.and_then(|info| Object::parse(info).ok());
        let text = |key| {
            let found = info.as_ref().and_then(|info| info.get_str(key));
            found.map(std::borrow::Cow::into_owned)
        };
        let capabilities = result.get_object("capabilities").ok().flatten();
        Self {
            version,
            name: text("name"),
            release: text("version"),
            capabilities: capabilities
                .iter()
                .flat_map(Object::members)
                .map(|member| member.key.to_string())
                .collect(),
        }
    }

    /// Whether the server declares `capability`.
    pub(crate) fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|key| key == capability)
    }
}

/// A conversation.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Transport,
    server: Server,
    session: Option<HeaderValue>,
    next_id: AtomicU64,
}

impl Client {
    /// Finds out what the server speaks, and opens a session where its era has them.
    pub(crate) async fn connect(transport: Transport) -> Result<Self, ClientError> {
        let connect::Handshake { server, session } =
            Box::pin(connect::handshake(&transport)).await?;
        Ok(Self {
            transport,
            server,
            session,
            next_id: AtomicU64::new(1),
        })
    }

    /// Who the server is.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Ends the session, where there is one. That it can't be ended hurts nobody here.
    pub(crate) async fn close(self) {
        if self.session.is_some() {
            let _ = self.transport.delete(self.legacy_headers()).await;
        }
    }

    /// All elements of a list, page by page, each as its text.
    pub(crate) async fn list(
        &self,
        listing: Listing,
        notices: &mut dyn FnMut(Notice),
    ) -> Result<Vec<ByteString>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let params = cursor.as_ref().map_or_else(
                || "{}".to_owned(),
                |c| format!("{{\"cursor\":{}}}", json::quote(c)),
            );
            let page = self
                .request(listing.method(), &params, &[], notices)
                .await?;
            let broken = |reason: &str| ClientError::NotMcp {
                target: self.transport.target().to_string(),
                reason: format!("{}: {reason}", listing.method()),
            };
            let object = Object::parse(&page).map_err(|error| broken(&error.to_string()))?;
            let elements = object
                .get(listing.key())
                .and_then(json::elements)
                .ok_or_else(|| broken(&format!("the result has no list \"{}\"", listing.key())))?;
            items.extend(elements.into_iter().map(|raw| page.slice_ref(raw)));
            let next = object.get_str("nextCursor").map(String::from);
            if next.is_none() {
                return Ok(items);
            }
            if next == cursor {
                return Err(broken("the same cursor came twice: the list has no end"));
            }
            cursor = next;
        }
    }

    /// All tools. Those that a client over HTTP must not offer are left out, with a notice
    /// (2026-07-28, Streamable HTTP, Custom Headers from Tool Parameters).
    pub(crate) async fn tools(
        &self,
        notices: &mut dyn FnMut(Notice),
    ) -> Result<Vec<Tool>, ClientError> {
        let items = self.list(Listing::Tools, notices).await?;
        let mut tools = Vec::with_capacity(items.len());
        for text in items {
            match Tool::read(&text, self.server.version.era()) {
                Ok(tool) => tools.push(tool),
                Err((tool, reason)) => notices(Notice::Dropped { tool, reason }),
            }
        }
        Ok(tools)
    }

    /// Calls a tool. `tool` is its definition as far as it is known; `arguments` the text of an
    /// object. Where the server says that a header is missing, the definition is read anew once.
    pub(crate) async fn call(
        &self,
        name: &str,
        arguments: &str,
        tool: Option<&Tool>,
        notices: &mut dyn FnMut(Notice),
    ) -> Result<ByteString, ClientError> {
        let method = "tools/call";
        let params = format!(
            "{{\"name\":{},\"arguments\":{arguments}}}",
            json::quote(name)
        );
        let mirrored = tool.map_or(&[][..], |tool| &tool.mirrored);
        match self.request(method, &params, mirrored, notices).await {
            Err(ClientError::Rpc { error, .. }) if error.code == error::HEADER_MISMATCH => {
                let tools = self.tools(notices).await?;
                let fresh = tools.iter().find(|tool| tool.name == name);
                let mirrored = fresh.map_or(&[][..], |tool| &tool.mirrored);
                self.request(method, &params, mirrored, notices).await
            }
            other => other,
        }
    }

    /// Sends a request and waits for its result. `params` is the text of an object.
    async fn request(
        &self,
        method: &str,
        params: &str,
        mirrored: &[ParamHeader],
        notices: &mut dyn FnMut(Notice),
    ) -> Result<ByteString, ClientError> {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let version = self.server.version.as_str();
        let (params, headers) = match self.server.version.era() {
            Era::Modern => {
                let params = with_modern_meta(params, version, Some(number));
                let headers = transport::modern_headers(version, method, Some(&params), mirrored);
                (params, headers)
            }
            Era::Legacy => {
                let progress = format!("{{\"{}\":{number}}}", meta::PROGRESS_TOKEN);
                (
                    with_member(params, "_meta", &progress),
                    self.legacy_headers(),
                )
            }
        };
        let request = Request::new(Id::from(number), method, Some(&params));
        let reply = Box::pin(self.transport.post(headers, request.text.clone())).await?;
        Box::pin(self.outcome(reply, &request, notices)).await
    }

    fn legacy_headers(&self) -> HeaderMap {
        let mut map = transport::version_header(self.server.version.as_str());
        if let Some(session) = &self.session {
            map.insert(headers::SESSION_ID, session.clone());
        }
        map
    }

    /// Reads the answer to `request`, and deals with what comes before it.
    async fn outcome(
        &self,
        mut reply: Reply,
        request: &Request,
        notices: &mut dyn FnMut(Notice),
    ) -> Result<ByteString, ClientError> {
        let mut resumes = 0;
        loop {
            match reply.next().await? {
                Some(Message::Response(response))
                    if response.id.as_ref().is_none_or(|id| *id == request.id) =>
                {
                    return finished(&request.method, response);
                }
                Some(Message::Response(_)) => {}
                Some(Message::Notification(notification)) => {
                    if let Some(notice) = notice::read(&notification) {
                        notices(notice);
                    }
                }
                Some(Message::Request(asked)) => {
                    if let Some(notice) = self.decline(&asked).await? {
                        notices(notice);
                    }
                }
                None if !reply.status.is_success() => return Err(reply.status_error().await),
                None => {
                    resumes += 1;
                    reply = self.resume(reply, resumes).await?;
                }
            }
        }
    }

    /// Takes up a stream that ended before the answer (2025-11-25, Transports, Resumability).
    async fn resume(&self, reply: Reply, times: usize) -> Result<Reply, ClientError> {
        let event = reply.last_event_id.as_ref();
        let event = event.and_then(|id| HeaderValue::from_str(id).ok());
        let Some(event) = event.filter(|_| {
            self.server.version.era() == Era::Legacy && reply.is_stream() && times <= RESUMES
        }) else {
            return Err(reply.not_mcp("the answer ended before the result came"));
        };
        tokio::time::sleep(reply.retry.unwrap_or(RESUME_AFTER)).await;
        let mut map = self.legacy_headers();
        map.insert(LAST_EVENT_ID, event);
        let mut next = self.transport.get_stream(map).await?;
        next.last_event_id = reply.last_event_id;
        next.retry = reply.retry;
        Ok(next)
    }

    /// Answers a request of a legacy server: nobody is here to be asked.
    async fn decline(&self, asked: &Request) -> Result<Option<Notice>, ClientError> {
        if self.server.version.era() == Era::Modern {
            // Must not come (2026-07-28, Streamable HTTP, Receiving Messages), and has no answer.
            return Ok(None);
        }
        let answer = match &*asked.method {
            "ping" => Response::result(&asked.id, "{}"),
            "elicitation/create" => Response::result(&asked.id, r#"{"action":"decline"}"#),
            other => Response::error(Some(&asked.id), &WireError::method_not_found(other)),
        };
        // What the server makes of it comes on the stream.
        self.transport
            .post(self.legacy_headers(), answer.text)
            .await?;
        let wanted = notice::describe(&asked.method, asked.params.as_deref());
        Ok((&*asked.method != "ping").then_some(Notice::Declined { wanted }))
    }
}

fn finished(method: &str, response: Response) -> Result<ByteString, ClientError> {
    let method = method.to_owned();
    let result = match response.outcome {
        Outcome::Result(result) => result,
        Outcome::Error(text) => {
            let error = RpcError::parse(&text);
            return Err(ClientError::Rpc { method, error });
        }
    };
    let Ok(object) = Object::parse(&result) else {
        return Ok(result);
    };
    if object.get_str("resultType").as_deref() != Some("input_required") {
        return Ok(result);
    }
    let requests = object.get_object("inputRequests").ok().flatten();
    let wanted = requests
        .iter()
        .flat_map(Object::members)
        .filter_map(|member| Object::parse(member.value).ok())
        .map(|asked| {
            let method = asked.get_str("method").unwrap_or_default();
            notice::describe(&method, asked.get("params"))
        })
        .collect();
    Err(ClientError::InputRequired { method, wanted })
}

/// The text of this client's name and version.
pub(super) fn client_info() -> String {
    format!(
        "{{\"name\":\"mcp-ultra\",\"version\":{}}}",
        json::quote(env!("CARGO_PKG_VERSION"))
    )
}

/// `params` with the `_meta` of a modern request. With a progress token, log messages are asked
/// for as well.
pub(super) fn with_modern_meta(params: &str, version: &str, progress: Option<u64>) -> String {
    let watch = progress.map_or_else(String::new, |token| {
        format!(
            ",\"{}\":{token},\"{}\":\"info\"",
            meta::PROGRESS_TOKEN,
            meta::LOG_LEVEL
        )
    });
    let value = format!(
        "{{\"{}\":{},\"{}\":{},\"{}\":{CAPABILITIES}{watch}}}",
        meta::PROTOCOL_VERSION,
        json::quote(version),
        meta::CLIENT_INFO,
        client_info(),
        meta::CLIENT_CAPABILITIES,
    );
    with_member(params, "_meta", &value)
}

fn with_member(params: &str, key: &str, value: &str) -> String {
    match Object::parse(params) {
        Ok(object) => object.edit().set(key, value).finish(),
        // Only texts that were made here, or read as objects before, come this way.
        Err(_) => params.to_owned(),
    }
}
