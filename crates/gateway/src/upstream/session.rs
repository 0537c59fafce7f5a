use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_protocol::{Era, Id, Notification, Response, Version};

use super::{
    Exchange, Named, Outgoing, UpstreamError, calls::Calls, exchange::Source, http::HttpSession,
    sharing::Ticket, stdio::StdioSession,
};

/// How long an upstream may take to be told of a cancelled call.
const TELL_TIME: Duration = Duration::from_secs(10);

/// Why a session is ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is over, for all replicas.
    Over,
    /// This replica does not need it any more.
    Unneeded,
    /// This replica ends: others can go on in it.
    Handed,
}

/// Where notifications go that are about a session and not about a call.
pub type Sink = Arc<dyn Fn(Notification) + Send + Sync>;

/// An open session with an upstream: an HTTP session of the legacy era, or a child process of
/// either era.
#[derive(Debug, Clone)]
pub enum Session {
    /// Legacy streamable HTTP.
    Http(Arc<HttpSession>),
    /// A child process.
    Stdio(Arc<StdioSession>),
}

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The text of the capabilities that are declared.
    pub capabilities: ByteString,
    /// The text of the client's name and version.
    pub client_info: ByteString,
    /// The legacy revision that is asked for.
    pub version: Version,
    /// Whether the gateway speaks for itself: there is nobody that the upstream could ask.
    pub own: bool,
}

/// What an upstream said about itself when the session opened.
#[derive(Debug, Clone, Default)]
pub struct Welcome {
    /// The text of its capabilities.
    pub capabilities: ByteString,
    /// Its instructions.
    pub instructions: Option<String>,
}

impl Session {
    /// Sends a call.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn call(&self, call: &Outgoing<'_>) -> Result<Exchange, UpstreamError> {
        if self.is_closed() {
            return Err(UpstreamError::SessionLost);
        }
        let id = self.calls().next_id();
        let text = call.text(&id);
        let events = self.calls().begin(&id, call.role);
        // From here on a drop takes the call off the list again, and cancels it upstream.
        let mut exchange = Exchange {
            id,
            source: Source::Ready(None),
            progress_token: call.progress_token.clone(),
            session: Some(self.clone()),
            over: false,
        };
        let begun = match self {
            Self::Http(session) => {
                let subject = call.subject.clone();
                session.begin(&exchange.id, text, events, subject).await
            }
            Self::Stdio(session) => session.begin(&text, events).await,
        };
        match begun {
            Ok(source) => {
                exchange.source = source;
                Ok(exchange)
            }
            Err(error) => {
                exchange.over = error.ends_call();
                Err(error)
            }
        }
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn notify(&self, notification: Notification) -> Result<(), UpstreamError> {
        match self {
            Self::Http(session) => session.post(&notification.text).await,
            Self::Stdio(session) => session.send(&notification.text).await,
        }
    }

    /// Answers a request of the upstream.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn send_response(&self, response: Response) -> Result<(), UpstreamError> {
        match self {
            Self::Http(session) => session.post(&response.text).await,
            Self::Stdio(session) => session.send(&response.text).await,
        }
    }

    /// Tells the upstream that the call `id` is not wanted any more.
    pub async fn cancel(&self, id: &Id, reason: &str) {
        if self.finished(id) {
            self.tell_cancelled(id, reason).await;
        }
    }

    pub(super) async fn tell_cancelled(&self, id: &Id, reason: &str) {
        let params = format!(
            "{{\"requestId\":{id},\"reason\":{}}}",
            mcp_ultra_protocol::json::quote(reason)
        );
        let notification = Notification::new("notifications/cancelled", Some(&params));
        match tokio::time::timeout(TELL_TIME, self.notify(notification)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "an upstream was not told of a cancelled call");
            }
            Err(_) => tracing::debug!("an upstream took too long to be told of a cancelled call"),
        }
    }

    /// Forgets the call `id`; `true` where it was in flight.
    pub(super) fn finished(&self, id: &Id) -> bool {
        self.calls().end(id)
    }

    /// Notes the log level that the session is about to get; `false` where it has it already.
    pub fn remember_log_level(&self, level: &str) -> bool {
        self.calls().remember_log_level(level)
    }

    /// Whether a call is in flight that somebody needs.
    pub fn is_busy(&self) -> bool {
        self.calls().count() > 0
    }

    /// Whether it is the same session as `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => Arc::ptr_eq(one, other),
            (Self::Stdio(one), Self::Stdio(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        match self {
            Self::Http(session) => &session.calls,
            Self::Stdio(session) => &session.calls,
        }
    }

    /// Whether the gateway has opened it for itself.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Http(session) => session.own,
            Self::Stdio(session) => session.own,
        }
    }

    /// The era that is spoken in the session.
    pub fn era(&self) -> Era {
        match self {
            Self::Http(_) => Era::Legacy,
            Self::Stdio(session) => session.era(),
        }
    }

    /// The principal whose access tokens it is spoken to with, where it needs any.
    pub(super) fn principal(&self) -> Option<Arc<str>> {
        match self {
            Self::Http(session) => session.principal().filter(|_| session.needs_tokens()),
            Self::Stdio(_) => None,
        }
    }

    /// Whether the session can take no more calls.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Http(session) => session.is_closed(),
            Self::Stdio(session) => session.is_closed(),
        }
    }

    /// What the upstream said about itself.
    pub fn welcome(&self) -> &Welcome {
        match self {
            Self::Http(session) => &session.welcome,
            Self::Stdio(session) => &session.welcome,
        }
    }

    /// Its place among those that replicas share, where others may speak in it.
    pub(super) fn ticket(&self) -> Option<&Ticket> {
        match self {
            Self::Http(session) => session.ticket().filter(|ticket| ticket.is_known()),
            Self::Stdio(_) => None,
        }
    }

    /// Takes a notification of no call that another replica has heard.
    pub(crate) fn hear_too(&self, notification: Notification) {
        if let Self::Http(session) = self {
            (session.sink)(notification);
        }
    }

    /// Whether the call that a message is for is in flight here.
    pub(crate) fn has_call(&self, named: &Named) -> bool {
        self.calls().has(named)
    }

    /// Whether other replicas may speak in it too.
    pub fn is_shared(&self) -> bool {
        self.ticket().is_some()
    }

    /// Ends the session: `DELETE` over HTTP, unless other replicas go on in it; the end of the process
    /// over stdio.
    pub async fn close(&self, ending: Ending) {
        match self {
            Self::Http(session) => session.close(ending).await,
            Self::Stdio(session) => session.close().await,
        }
    }
}

/// Reads the result of `initialize`: the revision that was agreed on, and the rest.
pub(super) fn read_initialize(result: &str) -> Result<(Version, Welcome), UpstreamError> {
    use mcp_ultra_protocol::json::Object;
    let unreadable = |_| UpstreamError::Protocol("the result of initialize is not readable".into());
    let object = Object::parse(result).map_err(unreadable)?;
    let named = object.get_str("protocolVersion").unwrap_or_default();
    let version = Version::parse(&named)
        .filter(|version| version.era() == Era::Legacy)
        // An old server may insist on 2024-11-05, whose messages over this transport are those
        // of the next revision.
        .or_else(|| (named == "2024-11-05").then_some(Version::V2025_03_26))
        .ok_or_else(|| {
            UpstreamError::Protocol(
                "it speaks no revision of the protocol that is known here".into(),
            )
        })?;
    let welcome = Welcome {
        capabilities: object.get("capabilities").unwrap_or("{}").to_owned().into(),
        instructions: object
            .get_str("instructions")
            .map(std::borrow::Cow::into_owned),
    };
    Ok((version, welcome))
}

/// The `params` of `initialize`.
pub(super) fn initialize_params(hello: &Hello) -> String {
    format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"clientInfo\":{}}}",
        hello.version, hello.capabilities, hello.client_info
    )
}
