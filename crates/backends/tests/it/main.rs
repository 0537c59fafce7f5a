//! One suite of contract tests for each port, over every store that implements it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of tests are tests"
)]

/// Makes a test of each contract for each store: the in-memory one that is named, a database of
/// each engine, and PostgreSQL behind a PgBouncer in transaction mode.
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
                let path = folder.path().join("state.db");
                let store = Database::open_sqlite(&path).await.unwrap();
                super::$name(&store).await;
                store.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let site = crate::site::Site::with_tables().await;
                let store = site.store().await;
                super::$name(&store).await;
                store.close().await;
                site.remove().await;
            })*
        }
        mod pgbouncer {
            $(#[tokio::test]
            async fn $name() {
                let site = crate::site::Site::with_tables().await;
                let store = site.store_through_pgbouncer().await;
                super::$name(&store).await;
                store.close().await;
                site.remove().await;
            })*
        }
    };
}

/// Makes a test of each contract for each way that replicas reach each other: in the memory that is
/// named, over one NATS, and over three.
macro_rules! contracts_of_replicas {
    ($memory:ty, $($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&<$memory>::default()).await;
            })*
        }
        mod one_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let server = mcp_ultra_testkit::stores::Nats::start().await.unwrap();
                super::$name(&server).await;
            })*
        }
        mod three_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let servers = mcp_ultra_testkit::stores::nats::Cluster::start().await.unwrap();
                super::$name(&servers).await;
            })*
        }
    };
}

mod announcements;
mod api_keys;
mod blocks;
mod grants;
mod idempotency;
mod postgres;
mod redis;
mod registry;
mod rendezvous;
mod site;
mod sqlite;
mod tool_pins;
