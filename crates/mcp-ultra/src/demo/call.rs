//! One request on its way through the content: who sent it, and how to tell them something
//! before the answer.

use std::sync::Arc;

use mcp_ultra_protocol::{
    ByteString, Notification, Request, WireError,
    json::{self, Object},
    meta::{self, RequestMeta},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{era::Caller, server::Server};

/// Where messages to the client go: the line to stdout, or the stream of this request.
pub(super) type Outlet = mpsc::Sender<ByteString>;

/// How the request came, as far as a tool must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// The process serves one client.
    Stdio,
    /// The process serves many.
    Http,
}

/// A request and its surroundings.
#[derive(Debug)]
pub(super) struct Call {
    /// What all calls share.
    pub(super) server: Arc<Server>,
    /// Who sent it.
    pub(super) caller: Caller,
    /// How it came.
    pub(super) transport: Transport,
    /// Where messages before the answer go.
    pub(super) outlet: Outlet,
    /// The request itself.
    pub(super) request: Request,
    /// The JSON text of the progress token, where the client wants to hear of progress.
    progress_token: Option<String>,
}

impl Call {
    pub(super) fn new(
        server: Arc<Server>,
        caller: Caller,
        transport: Transport,
        outlet: Outlet,
        request: Request,
    ) -> Self {
        let progress_token = RequestMeta::of_params(request.params.as_deref())
            .ok()
            .and_then(|meta| meta.progress_token)
            .filter(|token| is_token(token))
            .map(str::to_owned);
        Self {
            server,
            caller,
            transport,
            outlet,
            request,
            progress_token,
        }
    }

    /// Reads `params` as `T`; absent is an empty object.
    pub(super) fn params<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        let text = self.request.params.as_deref().unwrap_or("{}");
        // serde_json would take the last of two equal keys.
        Object::parse(text)
            .map_err(|error| WireError::invalid_request(format!("params: {error}")))?;
        serde_json::from_str(text)
            .map_err(|error| WireError::invalid_params(format!("params: {error}")))
    }

    /// Tells how far the work is, where the client wants to know.
    pub(super) async fn progress(&self, progress: u64, total: u64, message: &str) {
        let Some(token) = &self.progress_token else {
            return;
        };
        let params = format!(
            "{{\"progressToken\":{token},\"progress\":{progress},\"total\":{total},\"message\":{}}}",
            json::quote(message)
        );
        self.send(Notification::new("notifications/progress", Some(&params)).text)
            .await;
    }

    /// Sends a log message, where the client wants those of this level. It never names a person.
    pub(super) async fn log(&self, level: &'static str, data: Value) {
        let least = match &self.caller {
            Caller::Modern(caller) => caller.log_rank,
            Caller::Legacy(session) => Some(session.log_rank()),
        };
        if least.is_none_or(|least| meta::log_rank(level) < Some(least)) {
            return;
        }
        let params = json!({"level": level, "logger": "demo", "data": data}).to_string();
        self.send(Notification::new("notifications/message", Some(&params)).text)
            .await;
    }

    /// Sends a message that belongs to this request.
    pub(super) async fn send(&self, message: ByteString) {
        // An error means that the client has gone; the transport ends the call then.
        let _ = self.outlet.send(message).await;
    }
}

/// A progress token is a string or an integer.
fn is_token(raw: &str) -> bool {
    mcp_ultra_protocol::Id::from_raw(raw.to_owned().into()).is_some()
}
