//! JSON-RPC messages as MCP has them (JSON-RPC 2.0; 2026-07-28, Base Protocol, Messages).
//!
//! `read` takes a message apart into slices of its text, `write` makes messages and changed
//! copies of them, and `glimpse` says what is known of one that is not all there.

mod glimpse;
mod read;
mod write;

use bytestring::ByteString;

pub use self::{glimpse::Glimpse, read::MAX_BATCH};
use crate::{
    Id, WireError,
    json::{Object, ObjectError, Outline, TooDeep},
};

/// What an HTTP body or a line holds.
#[derive(Debug, Clone)]
pub enum Body {
    /// One message.
    Single(Message),
    /// A JSON-RPC batch: 2025-03-26 only. Each element stands for itself, valid or not.
    Batch(Vec<Result<Message, EnvelopeError>>),
}

/// One JSON-RPC message. All parts are slices of the received text.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers a request.
    Response(Response),
}

/// A JSON-RPC request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The whole message.
    pub text: ByteString,
    /// The request id.
    pub id: Id,
    /// The method, unescaped.
    pub method: ByteString,
    /// The text of `params`, an object, where present.
    pub params: Option<ByteString>,
    /// What is known of `params`, where they are as they came.
    pub outline: Outline,
}

impl Request {
    /// `params`, read one level deep; empty where the request has none.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn read_params(&self) -> Result<Object<'_>, ObjectError> {
        match &self.params {
            Some(params) => self.outline.params(&self.text, params),
            None => Object::parse("{}"),
        }
    }
}

/// A JSON-RPC notification.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The whole message.
    pub text: ByteString,
    /// The method, unescaped.
    pub method: ByteString,
    /// The text of `params`, an object, where present.
    pub params: Option<ByteString>,
}

impl Notification {
    /// The request that it cancels, under the id of the one who sends it; `None` where it is not
    /// `notifications/cancelled`.
    pub fn cancels(&self) -> Option<Id> {
        if self.method != "notifications/cancelled" {
            return None;
        }
        let params = Object::parse(self.params.as_ref()?).ok()?;
        Id::from_raw(params.get("requestId")?.to_owned().into())
    }
}

/// A JSON-RPC response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The whole message.
    pub text: ByteString,
    /// The id of the request that is answered. `None` only with an error about a request whose
    /// id could not be read.
    pub id: Option<Id>,
    /// What came out.
    pub outcome: Outcome,
    /// See [`Response::has_more`].
    more: bool,
}

/// The outcome that a response carries.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The text of `result`, an object.
    Result(ByteString),
    /// The text of `error`, an object.
    Error(ByteString),
}

/// Why a text is not an MCP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not UTF-8, or not JSON.
    #[error("the message is not valid JSON: {0}")]
    Malformed(String),
    /// JSON, but nested too deep to be read safely.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    /// JSON, but not a JSON-RPC message as MCP has it.
    #[error("the message is not a valid JSON-RPC message: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
        /// The id, where it could be read all the same.
        id: Option<Id>,
    },
}

impl EnvelopeError {
    /// The id to answer with, where it could be read.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Invalid { id, .. } => id.as_ref(),
            _ => None,
        }
    }

    /// The error as the sender gets it: `-32700` for what is not JSON, `-32600` for the rest.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::Malformed(_) => WireError::parse(self.to_string()),
            _ => WireError::invalid_request(self.to_string()),
        }
    }
}
