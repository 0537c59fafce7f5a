//! One suite of contract tests for each port, over every store that implements it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

/// Makes a test of each contract for each store: the in-memory one that is named, and SQLite.
macro_rules! contracts {
    ($memory:ty, $($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&<$memory>::default()).await;
            })*
        }
        mod sqlite {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                let store = Sqlite::open(&folder.path().join("state.db")).await.unwrap();
                super::$name(&store).await;
                store.close().await;
            })*
        }
    };
}

mod api_keys;
mod blocks;
mod grants;
mod idempotency;
mod sqlite;
mod tool_pins;
