//! Integration tests of the gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute and would forbid it to what they call"
)]

mod stdio;
mod stdio_end;
