//! The tables in an SQLite file. Opening it takes all steps.

use std::{collections::BTreeSet, path::Path};

use sqlx::{ConnectOptions, Connection, Row, SqlitePool, migrate::MigrateError, sqlite};

use super::{Plan, Tables, migrator, tables};
use crate::sql::error::OpenError;

const ALL: &[Tables] = tables!("sqlite":
    1 "0001_api_keys" "API keys",
    2 "0002_idempotency" "idempotency keys",
    3 "0003_grants" "grants",
    4 "0004_tool_pins" "pins of tools",
    5 "0005_tools_gone" "tools that are gone",
    6 "0006_blocks" "blocked callers",
    7 "0007_registry" "servers, policies and flags that are changed at run time",
    8 "0008_grants_claimed" "who is refreshing a grant",
);

const IS_THERE: &str = "SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'";
const APPLIED: &str = "SELECT version FROM _sqlx_migrations";

pub(in crate::sql) async fn run(pool: &SqlitePool) -> Result<(), MigrateError> {
    migrator(ALL).run(pool).await
}

/// What opening the database in this file would do. It changes nothing.
///
/// # Errors
/// When the file is there and is no database, or can't be read.
pub async fn plan(path: &Path) -> Result<Plan, OpenError> {
    if !path.exists() {
        return Ok(Plan::of(ALL, &BTreeSet::new()));
    }
    let applied = applied(path).await;
    let applied = applied.map_err(|source| OpenError::Database {
        path: path.to_owned(),
        source,
    })?;
    Ok(Plan::of(ALL, &applied))
}

async fn applied(path: &Path) -> Result<BTreeSet<i64>, sqlx::Error> {
    let options = sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.read_only(true).connect().await?;
    let is_there = sqlx::query(IS_THERE)
        .fetch_optional(&mut connection)
        .await?;
    let mut applied = BTreeSet::new();
    if is_there.is_some() {
        for row in sqlx::query(APPLIED).fetch_all(&mut connection).await? {
            applied.insert(row.try_get("version")?);
        }
    }
    connection.close().await?;
    Ok(applied)
}
