//! A database of either engine: how it is opened, and how transactions begin.

use std::{path::Path, sync::Arc};

use mcp_ultra_config::PostgresSettings;
use mcp_ultra_domain::ports::Dependency;
use sqlx::SqlitePool;

use super::{
    error::{OpenError, SqlError},
    postgres::Postgres,
    row::Row,
    sqlite,
    transaction::{Access, Scope, Transaction},
    value::Value,
};

/// A relational database behind the ports of the domain. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Database(Engine);

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(SqlitePool),
    Postgres(Postgres),
}

impl Database {
    /// Opens the SQLite database in this file, makes it where there is none (for its owner alone),
    /// and brings its tables to this version.
    pub async fn open_sqlite(path: &Path) -> Result<Self, OpenError> {
        let pool = sqlite::open(path).await?;
        Ok(Self(Engine::Sqlite(pool)))
    }

    /// Connects to a PostgreSQL server as the gateway's user, and checks that its tables serve this
    /// version. It changes none of them: `mcp-ultra migrate` does.
    pub async fn connect_postgres(settings: &PostgresSettings) -> Result<Self, OpenError> {
        let postgres = Postgres::connect(settings).await?;
        Ok(Self(Engine::Postgres(postgres)))
    }

    /// Connections are made with the password of `settings` from now on, and those that are there go on for
    /// half an hour at most. Nothing else of `settings` may differ from what was connected to.
    pub fn renew(&self, settings: &PostgresSettings) {
        match &self.0 {
            Engine::Sqlite(_) => {}
            Engine::Postgres(postgres) => postgres.renew(settings),
        }
    }

    /// Finishes what is being written, and closes the connections.
    pub async fn close(&self) {
        match &self.0 {
            Engine::Sqlite(pool) => pool.close().await,
            Engine::Postgres(postgres) => postgres.close().await,
        }
    }

    /// The server that it needs; `None` where it is a file.
    pub fn dependency(&self) -> Option<Arc<dyn Dependency>> {
        match &self.0 {
            Engine::Sqlite(_) => None,
            Engine::Postgres(postgres) => Some(postgres.breaker.clone()),
        }
    }

    pub(super) async fn begin(
        &self,
        scope: Scope<'_>,
        access: Access,
    ) -> Result<Transaction, SqlError> {
        match &self.0 {
            Engine::Sqlite(pool) => {
                // Who will write takes the place of the one writer first: one that reads before it
                // writes could be refused for what another has written meanwhile.
                let begin = match access {
                    Access::Read | Access::Stale => "BEGIN",
                    Access::Write => "BEGIN IMMEDIATE",
                };
                Ok(Transaction::Sqlite(pool.begin_with(begin).await?))
            }
            Engine::Postgres(postgres) => {
                let session = postgres.begin(scope, access).await?;
                Ok(Transaction::Postgres(session))
            }
        }
    }

    /// A transaction of one statement that writes.
    pub(super) async fn execute(
        &self,
        scope: Scope<'_>,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        let mut tx = self.begin(scope, Access::Write).await?;
        let changed = tx.execute(sql, values).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// A transaction of one statement that reads.
    pub(super) async fn fetch_all(
        &self,
        scope: Scope<'_>,
        access: Access,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, SqlError> {
        let mut tx = self.begin(scope, access).await?;
        let rows = tx.fetch_all(sql, values).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The first row of a statement that reads the latest, if there is one.
    pub(super) async fn fetch_optional(
        &self,
        scope: Scope<'_>,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, SqlError> {
        let rows = self.fetch_all(scope, Access::Read, sql, values).await?;
        Ok(rows.into_iter().next())
    }
}
