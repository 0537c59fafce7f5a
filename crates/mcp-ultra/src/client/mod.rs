//! A small MCP client over HTTP, for the commands that speak to a running server.
//!
//! [`Client`] speaks both eras: it asks `server/discover` first and falls back to `initialize`
//! (2026-07-28, Streamable HTTP, Backward Compatibility). [`Transport`] and [`Reply`] are the
//! layer below, which the stdio bridge uses directly, because it passes text on and does not hold
//! a conversation of its own. Nothing here prints.

mod connect;
mod error;
mod notice;
mod reply;
mod session;
mod tool;
mod transport;

pub(crate) use error::{ClientError, RpcError};
pub(crate) use notice::Notice;
pub(crate) use reply::Reply;
pub(crate) use session::{Client, Listing};
pub(crate) use tool::Tool;
pub(crate) use transport::{Target, Transport, modern_headers, version_header};
