//! Reads that may be a little behind, from a replica while there is one.

use std::time::Duration;

use mcp_ultra_config::{PostgresServer, PostgresSettings};
use parking_lot::Mutex;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::Instant;

use super::{IDLE, LIFETIME, Session, connect};
use crate::sql::{
    error::SqlError,
    transaction::{Access, Scope},
};

/// How long one waits for it: the server itself answers too.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is left alone once it has failed.
const REST: Duration = Duration::from_secs(10);

/// A replica, which may be away.
#[derive(Debug)]
pub(super) struct Replica {
    pool: PgPool,
    host: String,
    asked_again: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(settings: &PostgresSettings, server: &PostgresServer) -> Self {
        let options = connect::options(settings, &server.host, server.port);
        let patience = settings.pool.acquire_timeout.get().min(PATIENCE);
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool.max.get())
            .acquire_timeout(patience)
            .max_lifetime(LIFETIME)
            .idle_timeout(IDLE)
            .connect_lazy_with(options);
        Self {
            pool,
            host: server.host.clone(),
            asked_again: Mutex::new(None),
        }
    }

    pub(super) fn renew(&self, settings: &PostgresSettings, server: &PostgresServer) {
        let options = connect::options(settings, &server.host, server.port);
        self.pool.set_connect_options(options);
    }

    /// A transaction that reads; `None` while the replica is away.
    pub(super) async fn begin(
        &self,
        scope: Scope<'_>,
        statement_timeout: Duration,
    ) -> Option<Session> {
        let now = Instant::now();
        if self.asked_again.lock().is_some_and(|then| now < then) {
            return None;
        }
        let begun = async {
            let connection = self.pool.acquire().await?;
            Session::begin(connection, scope, Access::Stale, statement_timeout).await
        };
        // It answers at once, or is asked later.
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        let error = match begun {
            Ok(Ok(session)) => {
                *self.asked_again.lock() = None;
                return Some(session);
            }
            Ok(Err(error)) => error,
            Err(_) => SqlError::Silent(PATIENCE),
        };
        tracing::warn!(replica = %self.host, %error, "a replica of the database is away; its server is asked instead");
        *self.asked_again.lock() = Some(Instant::now() + REST);
        None
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
