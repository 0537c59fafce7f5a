use http::{HeaderMap, Response, header};
use hyper::body::Incoming;
use mcp_ultra_edge::{
    body::{self, ReadError},
    credentials::GrantLife,
};
use mcp_ultra_protocol::{Message, Outcome, Response as Answer};

use super::body::StreamBody;
use crate::upstream::UpstreamError;

/// What an upstream answered to one HTTP request.
#[derive(Debug)]
pub enum Reply {
    /// A JSON document that is a response.
    Answer(Box<Answer>, HeaderMap),
    /// An SSE stream.
    Stream(StreamBody, HeaderMap),
    /// Accepted without content.
    Accepted,
    /// An error status without a JSON-RPC response in the body.
    Status(u16),
}

impl Reply {
    /// Reads it. `life` is that of the grant that the request was made with.
    pub(super) async fn read(
        response: Response<Incoming>,
        max_message: usize,
        life: Option<GrantLife>,
    ) -> Result<Self, UpstreamError> {
        let (head, body) = response.into_parts();
        let content_type = head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let is = |kind: &str| {
            content_type
                .split(';')
                .next()
                .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(kind))
        };
        if head.status.is_success() && is("text/event-stream") {
            return Ok(Self::Stream(StreamBody::new(body, life), head.headers));
        }
        if head.status == http::StatusCode::ACCEPTED || head.status == http::StatusCode::NO_CONTENT
        {
            return Ok(Self::Accepted);
        }
        if !is("application/json") {
            return if head.status.is_success() {
                Err(UpstreamError::Protocol(
                    "the content type is neither application/json nor text/event-stream".into(),
                ))
            } else {
                Ok(Self::Status(head.status.as_u16()))
            };
        }
        let bytes = body::read(body, max_message)
            .await
            .map_err(|error| match error {
                ReadError::TooLarge => UpstreamError::TooLarge(max_message),
                ReadError::BrokenOff => UpstreamError::Closed,
            })?;
        match Message::parse(bytes) {
            Ok(Message::Response(answer)) => Ok(Self::Answer(Box::new(answer), head.headers)),
            // An error status speaks for itself, whatever stands in its body.
            _ if !head.status.is_success() => Ok(Self::Status(head.status.as_u16())),
            Ok(_) => Err(UpstreamError::Protocol("a response was expected".into())),
            Err(error) => Err(UpstreamError::Protocol(error.to_string().into())),
        }
    }

    /// The code of the JSON-RPC error, where the reply is one.
    pub(crate) fn error_code(&self) -> Option<i64> {
        match self {
            Self::Answer(answer, _) => error_code(answer),
            _ => None,
        }
    }
}

/// The code of an error response.
pub(crate) fn error_code(answer: &Answer) -> Option<i64> {
    let Outcome::Error(error) = &answer.outcome else {
        return None;
    };
    let error = mcp_ultra_protocol::json::Object::parse(error).ok()?;
    error.get("code")?.parse().ok()
}
