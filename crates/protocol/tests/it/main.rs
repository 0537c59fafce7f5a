//! Messages as the revisions of the protocol have them, and as hostile senders have them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

mod errors;
mod examples;
mod hostile;
mod schema;
mod survival;
