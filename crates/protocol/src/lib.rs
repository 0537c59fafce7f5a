//! MCP on the wire: envelope, eras, headers, errors, names, sealed tokens. No I/O.
//!
//! A message is read once: [`Message::parse`] checks UTF-8, nesting and the envelope, and keeps
//! `params` and `result` as text ([`bytestring::ByteString`] slices of the received buffer). A
//! stage that needs a part of it reads that part with [`json::Object`], and changes it with
//! [`json::Edit`], which leaves every byte that it was not told to change as it came: unknown
//! fields, key order, the spelling of numbers.
//!
//! What does not live here: sockets, tasks, time, and any decision about who may call what.

pub mod capabilities;
pub mod error;
pub mod headers;
mod id;
pub mod json;
mod message;
pub mod meta;
mod method;
pub mod names;
pub mod param_headers;
pub mod seal;
pub mod sse;
pub mod uri;
mod version;

pub use bytestring::ByteString;
pub use error::WireError;
pub use id::Id;
pub use message::{
    Body, EnvelopeError, Glimpse, MAX_BATCH, Message, Notification, Outcome, Request, Response,
};
pub use method::Method;
pub use version::{Era, Version};
