//! The tables, version by version. A migration that was released is never changed.

use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

/// Number, what it is for, and the statements.
const ALL: [(i64, &str, &str); 6] = [
    (
        1,
        "API keys",
        include_str!("../../../migrations/sqlite/0001_api_keys.sql"),
    ),
    (
        2,
        "idempotency keys",
        include_str!("../../../migrations/sqlite/0002_idempotency.sql"),
    ),
    (
        3,
        "grants",
        include_str!("../../../migrations/sqlite/0003_grants.sql"),
    ),
    (
        4,
        "pins of tools",
        include_str!("../../../migrations/sqlite/0004_tool_pins.sql"),
    ),
    (
        5,
        "tools that are gone",
        include_str!("../../../migrations/sqlite/0005_tools_gone.sql"),
    ),
    (
        6,
        "blocked callers",
        include_str!("../../../migrations/sqlite/0006_blocks.sql"),
    ),
];

pub(super) async fn run(pool: &SqlitePool) -> Result<(), MigrateError> {
    let migration = |(version, what, sql): (i64, &'static str, &'static str)| {
        let kind = MigrationType::Simple;
        Migration::new(version, what.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(ALL.map(migration).into())
        .run(pool)
        .await
}
