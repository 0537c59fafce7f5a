//! `mcp-ultra migrate`: brings the tables of the configured database to this version.
//!
//! A gateway does that by itself only for an SQLite file. The tables of a PostgreSQL server are
//! changed before the gateways are, by whoever owns them.

use std::path::{Path, PathBuf};

use mcp_ultra_backends::sql::{
    Database, OpenError,
    migrations::{self, Plan, Step},
};
use mcp_ultra_config::{Sources, StorageSection};
use serde_json::json;

use super::{
    config,
    exit::{CommandResult, Failure, print},
};
use crate::wiring::{secrets, storage::StorageError};

/// Arguments of `migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file that names the database [default: the one that `MCP_ULTRA_CONFIG` names]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The tables can't be brought to this version.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum MigrateError {
    /// No database is configured.
    #[error("the configuration names no database")]
    #[diagnostic(help("set storage.sqlite or storage.postgres, and name the file with --config"))]
    NoStore,
    /// The gateway's user owns no tables.
    #[error("the configuration does not say who owns the tables")]
    #[diagnostic(help(
        "set storage.postgres.migrate.user and .password to the user that owns the database; where the gateways connect through a PgBouncer, .host and .port to the server itself"
    ))]
    NoOwner,
    /// The database can't be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Storage(#[from] StorageError),
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::NoStore | MigrateError::NoOwner => Self::usage(error),
            error @ MigrateError::Storage(_) => Self::failed(error),
        }
    }
}

/// Runs or shows what is to be done.
pub(super) async fn run(args: Args) -> CommandResult {
    let sources =
        Sources::from_process(args.config.as_deref()).map_err(|error| config::failure(&error))?;
    let (loaded, _) = secrets::load(&sources)
        .await
        .map_err(config::load_failure)?;
    let plan = plan(&loaded.config.storage, args.dry_run).await?;
    if args.json {
        return print(&format!("{:#}", as_json(&plan, args.dry_run)));
    }
    print(&as_text(&plan, args.dry_run))
}

/// What was to be done; without `dry_run` it is.
async fn plan(storage: &StorageSection, dry_run: bool) -> Result<Plan, MigrateError> {
    if let Some(settings) = &storage.postgres {
        if settings.migrate.is_none() {
            return Err(MigrateError::NoOwner);
        }
        let plan = if dry_run {
            migrations::postgres::plan(settings).await
        } else {
            migrations::postgres::run(settings).await
        };
        return plan.map_err(|error| StorageError::of_server(error).into());
    }
    let Some(file) = &storage.sqlite else {
        return Err(MigrateError::NoStore);
    };
    let plan = of_file(Path::new(file), dry_run).await;
    plan.map_err(|error| StorageError::File(error).into())
}

async fn of_file(file: &Path, dry_run: bool) -> Result<Plan, OpenError> {
    let plan = migrations::sqlite::plan(file).await?;
    if !dry_run {
        Database::open_sqlite(file).await?.close().await;
    }
    Ok(plan)
}

/// What became of a step.
fn state(step: &Step, dry_run: bool) -> &'static str {
    match (step.applied, dry_run) {
        (true, _) => "applied before",
        (false, true) => "to be applied",
        (false, false) => "applied",
    }
}

fn as_text(plan: &Plan, dry_run: bool) -> String {
    let lines = plan.steps.iter().map(|step| {
        let state = state(step, dry_run);
        format!("{:>4}  {:<24}  {state}", step.number, step.what)
    });
    let mut lines: Vec<String> = lines.collect();
    lines.extend(plan.unknown.iter().map(|number| {
        format!(
            "{number:>4}  {:<24}  applied before",
            "(of a newer version)"
        )
    }));
    lines.join("\n")
}

fn as_json(plan: &Plan, dry_run: bool) -> serde_json::Value {
    let step = |step: &Step| json!({ "number": step.number, "what": step.what, "state": state(step, dry_run) });
    let steps: Vec<_> = plan.steps.iter().map(step).collect();
    json!({ "steps": steps, "unknown": plan.unknown })
}
