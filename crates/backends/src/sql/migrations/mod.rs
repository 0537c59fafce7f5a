//! The tables, version by version, of both engines under the same numbers. A migration that was
//! released is never changed.
//!
//! How they go with programs of other versions: a migration adds what the program before it does
//! not mind; only a later version takes away what no program uses any more, and says so in
//! `schema_compatibility` (`docs/adr/0028-one-set-of-stores-over-two-engines.md`).

pub mod postgres;
pub mod sqlite;

use std::collections::BTreeSet;

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// A change of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number; steps are taken in this order.
    pub number: i64,
    /// What it is for.
    pub what: &'static str,
    /// Whether it has been taken.
    pub applied: bool,
}

/// What has been done to the tables of a database, and what is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps that this version knows.
    pub steps: Vec<Step>,
    /// The numbers of those that it does not: a newer version has taken them.
    pub unknown: Vec<i64>,
}

impl Plan {
    /// The steps that are to be taken.
    pub fn pending(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.applied)
    }

    fn of(tables: &[Tables], applied: &BTreeSet<i64>) -> Self {
        let step = |one: &Tables| Step {
            number: one.number,
            what: one.what,
            applied: applied.contains(&one.number),
        };
        let is_unknown = |number: &i64| tables.iter().all(|one| one.number != *number);
        Self {
            steps: tables.iter().map(step).collect(),
            unknown: applied.iter().copied().filter(is_unknown).collect(),
        }
    }
}

/// A step with its statements.
struct Tables {
    number: i64,
    what: &'static str,
    sql: &'static str,
}

/// The steps of one engine.
macro_rules! tables {
    ($engine:literal: $($number:literal $file:literal $what:literal),* $(,)?) => {
        &[$($crate::sql::migrations::Tables {
            number: $number,
            what: $what,
            sql: include_str!(concat!("../../../migrations/", $engine, "/", $file, ".sql")),
        }),*]
    };
}
use tables;

fn migrator(tables: &[Tables]) -> Migrator {
    let migration = |one: &Tables| {
        let kind = MigrationType::Simple;
        Migration::new(
            one.number,
            one.what.into(),
            kind,
            one.sql.into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations(tables.iter().map(migration).collect())
}
