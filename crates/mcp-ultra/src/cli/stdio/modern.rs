//! Modern requests: each on its own, with headers made from its body.

use mcp_ultra_protocol::{
    ByteString, Id, Message, Notification, Outcome, Request, error,
    json::{self, Object},
    param_headers::ParamHeader,
};

use super::{bridge::Bridge, relay::Watch};
use crate::client::{ClientError, Reply, RpcError, modern_headers};

/// The most pages of a list of tools that are read to find one tool.
const PAGES: usize = 1000;

impl Bridge {
    /// Sends a request, and passes on what comes until its answer.
    pub(super) async fn modern_request(&self, request: Request, version: String) {
        let endless = request.method == "subscriptions/listen";
        let (relayed, began) = match self.modern_reply(&request, &version).await {
            Ok(mut reply) => {
                let began = reply.is_stream();
                (self.modern_relay(&mut reply, &request).await, began)
            }
            Err(error) => (Err(error), false),
        };
        match relayed {
            Ok(()) => {}
            // On a line, this is how a subscription that broke off is told
            // (2026-07-28, Cancellation).
            Err(error) if endless && began => {
                eprintln!("mcp-ultra stdio: {error}");
                let params = format!("{{\"requestId\":{}}}", request.id);
                let notification = Notification::new("notifications/cancelled", Some(&params));
                self.shared.output.write(&notification.text).await;
            }
            Err(error) => self.fail(&request.id, &error).await,
        }
    }

    async fn modern_relay(&self, reply: &mut Reply, request: &Request) -> Result<(), ClientError> {
        let watch = match &*request.method {
            "tools/list" => Watch::Tools,
            _ => Watch::Nothing,
        };
        if self.relay(reply, &request.id, watch).await? {
            Ok(())
        } else {
            Err(ended(reply).await)
        }
    }

    async fn modern_reply(&self, request: &Request, version: &str) -> Result<Reply, ClientError> {
        let tool = called_tool(request);
        let Some(tool) = tool else {
            return self.modern_post(request, version, &[]).await;
        };
        let mirrored = match self.shared.schemas.of(&tool) {
            Some(mirrored) => mirrored,
            None => self.look_up(request, version, &tool).await,
        };
        let mut reply = self.modern_post(request, version, &mirrored).await?;
        if reply.status.as_u16() != 400 || !refused_headers(&mut reply).await? {
            return Ok(reply);
        }
        // The definition may have changed since it was seen (2026-07-28, Streamable HTTP, Client
        // Behavior).
        let fresh = self.look_up(request, version, &tool).await;
        self.modern_post(request, version, &fresh).await
    }

    async fn modern_post(
        &self,
        request: &Request,
        version: &str,
        mirrored: &[ParamHeader],
    ) -> Result<Reply, ClientError> {
        let params = request.params.as_deref();
        let headers = modern_headers(version, &request.method, params, mirrored);
        self.post(headers, &request.text).await
    }

    /// Lists the tools as the caller of `request` sees them, to learn what `tool` needs. Where
    /// that fails the call goes without: its own answer says more.
    async fn look_up(&self, request: &Request, version: &str, tool: &str) -> Vec<ParamHeader> {
        let mut cursor = None;
        for _ in 0..PAGES {
            cursor = match self.tools_page(request, version, cursor).await {
                Ok(Some(next)) => Some(next),
                Ok(None) | Err(_) => break,
            };
        }
        self.shared.schemas.settle(tool)
    }

    async fn tools_page(
        &self,
        request: &Request,
        version: &str,
        cursor: Option<String>,
    ) -> Result<Option<String>, ClientError> {
        let list = list_request(request, cursor.as_deref());
        let mut reply = self.modern_post(&list, version, &[]).await?;
        while let Some(message) = reply.next().await? {
            if let Message::Response(response) = message
                && response.id.as_ref() == Some(&list.id)
            {
                let Outcome::Result(result) = response.outcome else {
                    return Ok(None);
                };
                self.shared.schemas.learn(&result);
                let next = Object::parse(&result).ok().and_then(|object| {
                    object
                        .get_str("nextCursor")
                        .map(std::borrow::Cow::into_owned)
                });
                return Ok(next.filter(|next| Some(next) != cursor.as_ref()));
            }
        }
        Ok(None)
    }
}

/// The name of the tool that is called, where one is.
fn called_tool(request: &Request) -> Option<String> {
    if request.method != "tools/call" {
        return None;
    }
    let params = Object::parse(request.params.as_deref()?).ok()?;
    params.get_str("name").map(std::borrow::Cow::into_owned)
}

/// A `tools/list` with what `request` says about its sender.
fn list_request(request: &Request, cursor: Option<&str>) -> Request {
    let params = request.params.as_deref().unwrap_or("{}");
    let sender = Object::parse(params).ok().and_then(|params| {
        let meta = params.get_object("_meta").ok()??;
        // Progress and log messages would go to a request that the client knows nothing of.
        let edit = meta.edit().remove(mcp_ultra_protocol::meta::PROGRESS_TOKEN);
        Some(edit.remove(mcp_ultra_protocol::meta::LOG_LEVEL).finish())
    });
    let cursor = cursor.map_or_else(String::new, |c| format!(",\"cursor\":{}", json::quote(c)));
    let params = format!(
        "{{\"_meta\":{}{cursor}}}",
        sender.as_deref().unwrap_or("{}")
    );
    let id = Id::from_raw(ByteString::from_static("\"mcp-ultra-stdio-tools\""));
    Request::new(
        id.unwrap_or_else(|| Id::from(0)),
        "tools/list",
        Some(&params),
    )
}

/// Whether a refusal is about the headers. The reply can still be read as if nobody had.
async fn refused_headers(reply: &mut Reply) -> Result<bool, ClientError> {
    let Some(text) = reply.next_text().await? else {
        return Ok(false);
    };
    reply.put_back(text.clone());
    let Ok(Message::Response(response)) = Message::parse(text.into_bytes()) else {
        return Ok(false);
    };
    let Outcome::Error(text) = &response.outcome else {
        return Ok(false);
    };
    Ok(RpcError::parse(text).code == error::HEADER_MISMATCH)
}

/// The error for a reply that ended without an answer.
pub(super) async fn ended(reply: &mut Reply) -> ClientError {
    if reply.status.is_success() {
        reply.not_mcp("the answer ended before the result came")
    } else {
        reply.status_error().await
    }
}
