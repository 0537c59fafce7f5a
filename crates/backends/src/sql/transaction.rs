//! A transaction of either engine. Every statement runs in one.

use sqlx::Sqlite;

use super::{
    error::SqlError,
    postgres::Session,
    row::Row,
    value::{Value, for_postgres, for_sqlite},
};

/// Whose rows are seen and changed. PostgreSQL keeps to it by itself (row-level security); the
/// statements name the tenant all the same, and in SQLite they alone do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Those of one tenant.
    Tenant(&'a str),
    /// What is above tenants: looking up whom a credential belongs to, what ends by time, and
    /// tables that know no tenant.
    All,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads that see one moment, the latest.
    Read,
    /// The same of a moment that may be a little past: a replica may answer.
    Stale,
    /// Reads and writes.
    Write,
}

/// Who decides about the same things waits, until the end of the transaction.
///
/// SQLite has one writer, who is alone as it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock<'a> {
    /// About one thing in a table.
    Item(&'static str, &'a str),
    /// About anything in a table.
    Table(&'static str),
}

/// A transaction. One that is dropped before `commit` has changed nothing.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(Session),
}

impl Transaction {
    /// Runs a statement. Returns how many rows it has changed.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, SqlError> {
        match self {
            Self::Sqlite(tx) => {
                let query = sqlx::query_with(sql, for_sqlite(values)?);
                Ok(query.execute(&mut **tx).await?.rows_affected())
            }
            Self::Postgres(session) => session.execute(sql, for_postgres(values)?).await,
        }
    }

    /// All rows.
    pub(super) async fn fetch_all(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, SqlError> {
        match self {
            Self::Sqlite(tx) => {
                let query = sqlx::query_with(sql, for_sqlite(values)?);
                let rows = query.fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(session) => {
                let rows = session.fetch_all(sql, for_postgres(values)?).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The first row, if there is one.
    pub(super) async fn fetch_optional(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, SqlError> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    /// The first row, which is there.
    pub(super) async fn fetch_one(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Row, SqlError> {
        let row = self.fetch_optional(sql, values).await?;
        row.ok_or_else(|| SqlError::Failed("a row that must be there is missing".to_owned()))
    }

    /// Waits until nobody else decides about this. Comes before the reads that a decision is made
    /// by.
    pub(super) async fn lock(&mut self, lock: Lock<'_>) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(session) => session.lock(lock).await,
        }
    }

    /// Keeps what was written.
    pub(super) async fn commit(self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(tx) => Ok(tx.commit().await?),
            Self::Postgres(session) => session.end("COMMIT").await,
        }
    }

    /// Leaves everything as it was.
    pub(super) async fn rollback(self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(tx) => Ok(tx.rollback().await?),
            Self::Postgres(session) => session.end("ROLLBACK").await,
        }
    }
}
