//! A row of either engine, and what its columns may be read as.

use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use super::{error::SqlError, text};

/// A row.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// What the column holds.
    pub(super) fn get<T: Column>(&self, column: &'static str) -> Result<T, SqlError> {
        T::read(self, column)
    }
}

/// What a column may be read as.
pub(super) trait Column: Sized {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError>;
}

impl Column for Option<String> {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError> {
        match row {
            Row::Sqlite(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => {
                let kept: Option<String> = row.try_get(column)?;
                Ok(kept.map(text::with_nul))
            }
        }
    }
}

impl Column for String {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError> {
        row.get::<Option<Self>>(column)?
            .ok_or(SqlError::Column(column))
    }
}

impl Column for Option<i64> {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError> {
        match row {
            Row::Sqlite(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

impl Column for i64 {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError> {
        row.get::<Option<Self>>(column)?
            .ok_or(SqlError::Column(column))
    }
}

impl Column for Vec<u8> {
    fn read(row: &Row, column: &'static str) -> Result<Self, SqlError> {
        match row {
            Row::Sqlite(row) => Ok(row.try_get(column)?),
            Row::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}
