//! A raw MCP client over HTTP: it sends the bytes that it is given, so that hostile input can be sent,
//! and shows what came back, event by event.
//!
//! The way in is [`Client`]; [`modern::Caller`] and [`legacy::Session`] speak well-formed MCP of the
//! two eras on top of it, and [`wire`] sends what is not even HTTP.

mod answer;
mod client;
pub mod headers;
pub mod legacy;
pub mod modern;
pub mod sse;
pub mod wire;

use std::time::Duration;

pub use self::{
    answer::{Answer, Events, Reply},
    client::Client,
};

/// How long a client waits for the next part of an answer unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What can go wrong between this client and a server.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// The URL, a header or a method is not one.
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    /// No connection, or it broke before the head of the answer.
    #[error("no answer from {url}: {source}")]
    Connection {
        /// Where to.
        url: String,
        /// What hyper said.
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke in the middle of a body.
    #[error("the body broke off: {0}")]
    Body(#[from] hyper::Error),
    /// A socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] std::io::Error),
    /// Nothing came in time.
    #[error("nothing came within {0:?}")]
    TooLate(Duration),
    /// A body is not what it should be.
    #[error("{problem}; status {status}, body: {body}")]
    Unexpected {
        /// What is wrong.
        problem: String,
        /// The HTTP status.
        status: http::StatusCode,
        /// The body, or what of it had come.
        body: String,
    },
}
