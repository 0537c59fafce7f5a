//! One suite of contract tests for each port, over every store that implements it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

mod api_keys;
mod sqlite;
