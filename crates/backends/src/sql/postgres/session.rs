//! One transaction on one connection, as PgBouncer in transaction mode allows it: no statement
//! outside, no name for a prepared one, no setting and no lock that outlives it.

use std::time::Duration;

use sqlx::{
    PgConnection, Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
};
use tokio::time::timeout;

use crate::sql::{
    error::SqlError,
    text,
    transaction::{Access, Lock, Scope},
};

// Reads see one moment, however many statements they take.
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
// Timeouts go with each transaction: PgBouncer refuses them when a connection starts, and hands what
// a session has set to others.
const SET_UP: &str = "SELECT set_config('mcp_ultra.scope', $1, true), \
    set_config('statement_timeout', $2, true), set_config('lock_timeout', $2, true), \
    set_config('idle_in_transaction_session_timeout', $2, true)";
// Who decides about all of a table waits for those who decide about something in it.
const LOCK_ITEM: &str = "SELECT pg_advisory_xact_lock_shared(1296257109, hashtext($1)), \
    pg_advisory_xact_lock(1296257110, hashtext($1 || '/' || $2))";
const LOCK_TABLE: &str = "SELECT pg_advisory_xact_lock(1296257109, hashtext($1))";

/// How much longer than the server may take is waited for its answer.
const GRACE: Duration = Duration::from_secs(1);

/// A transaction. A connection goes back to the pool only after one that has ended: what was
/// dropped, cancelled or not answered half-way is closed, and the server undoes it.
pub(in crate::sql) struct Session {
    held: Held,
    patience: Duration,
}

struct Held(Option<PoolConnection<Postgres>>);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl Session {
    pub(super) async fn begin(
        connection: PoolConnection<Postgres>,
        scope: Scope<'_>,
        access: Access,
        statement_timeout: Duration,
    ) -> Result<Self, SqlError> {
        let mut session = Self {
            held: Held(Some(connection)),
            patience: statement_timeout + GRACE,
        };
        let begin = match access {
            Access::Read | Access::Stale => BEGIN_READ,
            Access::Write => BEGIN_WRITE,
        };
        session
            .run(async |connection| sqlx::raw_sql(begin).execute(connection).await)
            .await?;
        let scope = match scope {
            Scope::All => "all".to_owned(),
            Scope::Tenant(tenant) => format!("tenant:{}", text::without_nul(tenant)),
        };
        let millis = statement_timeout.as_millis().to_string();
        session
            .run(async |connection| {
                let set_up = sqlx::query(SET_UP).bind(scope).bind(millis);
                set_up.persistent(false).execute(connection).await
            })
            .await?;
        Ok(session)
    }

    pub(in crate::sql) async fn execute(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<u64, SqlError> {
        let done = self
            .run(async |connection| {
                let query = sqlx::query_with(sql, arguments).persistent(false);
                query.execute(connection).await
            })
            .await?;
        Ok(done.rows_affected())
    }

    pub(in crate::sql) async fn fetch_all(
        &mut self,
        sql: &'static str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, SqlError> {
        self.run(async |connection| {
            let query = sqlx::query_with(sql, arguments).persistent(false);
            query.fetch_all(connection).await
        })
        .await
    }

    pub(in crate::sql) async fn lock(&mut self, lock: Lock<'_>) -> Result<(), SqlError> {
        self.run(async |connection| {
            let lock = match lock {
                Lock::Item(table, item) => sqlx::query(LOCK_ITEM)
                    .bind(table)
                    .bind(text::without_nul(item)),
                Lock::Table(table) => sqlx::query(LOCK_TABLE).bind(table),
            };
            lock.persistent(false).execute(connection).await
        })
        .await?;
        Ok(())
    }

    /// `COMMIT` or `ROLLBACK`.
    pub(in crate::sql) async fn end(mut self, how: &'static str) -> Result<(), SqlError> {
        self.run(async |connection| sqlx::raw_sql(how).execute(connection).await)
            .await?;
        self.give_back();
        Ok(())
    }

    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, SqlError> {
        let connection = self.held.0.as_mut().ok_or(SqlError::Over)?;
        let done = timeout(self.patience, work(connection)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            // The server is well, and has undone the transaction but for its end.
            Ok(Err(error @ sqlx::Error::Database(_))) => {
                let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut **connection);
                if matches!(timeout(self.patience, rollback).await, Ok(Ok(_))) {
                    self.give_back();
                }
                Err(error.into())
            }
            Ok(Err(error)) => {
                self.held = Held(None);
                Err(error.into())
            }
            Err(_) => {
                self.held = Held(None);
                Err(SqlError::Silent(self.patience))
            }
        }
    }

    /// To the pool.
    fn give_back(&mut self) {
        drop(self.held.0.take());
    }
}
