//! The tables of a PostgreSQL database, and who may do what with them.
//!
//! Their owner makes them (`storage.postgres.migrate`), directly and one runner at a time: a session
//! holds a lock, which a PgBouncer in transaction mode would leave behind. The gateway's user may
//! read and change rows, and nothing else; what it may is said again after each run, so that a
//! table more or another user needs no step of its own. A step that changes rows sets
//! `mcp_ultra.scope` first: row-level security holds for the owner too.

use std::{collections::BTreeSet, time::Duration};

use mcp_ultra_config::PostgresSettings;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::{Plan, Tables, migrator, tables};
use crate::sql::{
    error::OpenError,
    postgres::connect::{self, At},
};

const ALL: &[Tables] = tables!("postgres":
    1 "0001_api_keys" "API keys",
    2 "0002_idempotency" "idempotency keys",
    3 "0003_grants" "grants",
    4 "0004_tool_pins" "pins of tools",
    5 "0005_tools_gone" "tools that are gone",
    6 "0006_blocks" "blocked callers",
    7 "0007_registry" "servers, policies and flags that are changed at run time",
    8 "0008_grants_claimed" "who is refreshing a grant",
);

/// The tables whose rows the gateway reads and changes.
pub(in crate::sql) const TABLES: [&str; 10] = [
    "api_keys",
    "api_key_secrets",
    "blocks",
    "grants",
    "idempotency_keys",
    "registry_changes",
    "registry_entries",
    "registry_revision",
    "tool_approvals",
    "tool_pins",
];
/// Those that it reads.
const READ: &str = "_sqlx_migrations, schema_compatibility";

/// One runner at a time; the number is of this program alone.
const LOCK: &str = "SELECT pg_advisory_lock(7234011846325109)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(7234011846325109)";
/// How long a runner waits for another one.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a step waits for transactions that use a table: whoever comes after it waits too.
const STEP_PATIENCE: Duration = Duration::from_secs(10);

const IS_THERE: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS is_there";
const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success";
const NEEDS: &str = "SELECT needs FROM schema_compatibility";
const HAS_ROLE: &str = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS has_role";

/// What [`run`] would do. It changes nothing.
///
/// # Errors
/// When the server can't be reached as the owner of the tables, or is too old.
pub async fn plan(settings: &PostgresSettings) -> Result<Plan, OpenError> {
    connect::check_files(&settings.tls)?;
    let at = At::owner(settings);
    let mut connection = at.within(owner(settings)).await?;
    let applied = at.within(applied(&mut connection)).await?;
    connection.close().await.ok();
    Ok(Plan::of(ALL, &applied))
}

/// Brings the tables to this version, and opens them to the gateway's user. Returns what was to be
/// done.
///
/// # Errors
/// When the server can't be reached as the owner of the tables, is too old or has no role for the
/// gateway, when another runner does not come to an end, or a step fails: it is undone then, and
/// those before it are not.
pub async fn run(settings: &PostgresSettings) -> Result<Plan, OpenError> {
    connect::check_files(&settings.tls)?;
    let at = At::owner(settings);
    let mut connection = at.within(owner(settings)).await?;
    at.within(connect::check_version(&mut connection, &at))
        .await?;
    let role = &settings.user;
    let row = sqlx::query(HAS_ROLE).bind(role).fetch_one(&mut connection);
    let has_role = row.await.and_then(|row| row.try_get("has_role"));
    if !has_role.map_err(at.failed())? {
        return Err(OpenError::NoRole {
            at: at.to_string(),
            role: role.clone(),
        });
    }
    wait_at_most(&mut connection, PATIENCE)
        .await
        .map_err(at.failed())?;
    let locked = sqlx::query(LOCK).execute(&mut connection).await;
    locked.map_err(at.failed())?;
    let plan = migrate(&mut connection, &at, role).await;
    // The end of the session would do as well.
    sqlx::query(UNLOCK).execute(&mut connection).await.ok();
    connection.close().await.ok();
    plan
}

async fn migrate(connection: &mut PgConnection, at: &At, role: &str) -> Result<Plan, OpenError> {
    let before = applied(connection).await.map_err(at.failed())?;
    wait_at_most(connection, STEP_PATIENCE)
        .await
        .map_err(at.failed())?;
    let mut migrator = migrator(ALL);
    // What a newer version has added is no business of this one.
    migrator.set_ignore_missing(true).set_locking(false);
    let ran = migrator.run(&mut *connection).await;
    ran.map_err(|source| OpenError::Migration {
        at: at.to_string(),
        source,
    })?;
    open_to(connection, role).await.map_err(at.failed())?;
    Ok(Plan::of(ALL, &before))
}

/// The gateway's user may read and change rows.
async fn open_to(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    // A name can't be a parameter here; in quotes it is nothing but a name.
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let tables = TABLES.join(", ");
    let grants = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}; GRANT SELECT ON {READ} TO {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(grants))
        .execute(connection)
        .await?;
    Ok(())
}

async fn wait_at_most(connection: &mut PgConnection, time: Duration) -> Result<(), sqlx::Error> {
    let millis = time.as_millis().to_string();
    let set = sqlx::query("SELECT set_config('lock_timeout', $1, false)").bind(millis);
    set.execute(connection).await?;
    Ok(())
}

async fn owner(settings: &PostgresSettings) -> Result<PgConnection, sqlx::Error> {
    connect::owner_options(settings).connect().await
}

async fn applied(connection: &mut PgConnection) -> Result<BTreeSet<i64>, sqlx::Error> {
    let is_there = sqlx::query(IS_THERE).persistent(false);
    let is_there: bool = is_there
        .fetch_one(&mut *connection)
        .await?
        .try_get("is_there")?;
    let mut applied = BTreeSet::new();
    if is_there {
        let rows = sqlx::query(APPLIED).persistent(false);
        for row in rows.fetch_all(connection).await? {
            applied.insert(row.try_get("version")?);
        }
    }
    Ok(applied)
}

/// Whether the tables serve this version: the numbers that they lack, and the one that must be
/// known, where it is not.
pub(in crate::sql) struct Fit {
    pub missing: Vec<i64>,
    pub needs: Option<i64>,
}

impl Fit {
    /// As the gateway's user finds them, in a transaction.
    pub(in crate::sql) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let applied = applied(&mut *connection).await?;
        let plan = Plan::of(ALL, &applied);
        let missing: Vec<i64> = plan.pending().map(|step| step.number).collect();
        if !missing.is_empty() {
            return Ok(Self {
                missing,
                needs: None,
            });
        }
        let row = sqlx::query(NEEDS).persistent(false).fetch_one(connection);
        let needs: i64 = row.await?.try_get("needs")?;
        let is_known = ALL.iter().any(|one| one.number >= needs);
        Ok(Self {
            missing,
            needs: Some(needs).filter(|_| !is_known),
        })
    }
}
