//! Where the gateway keeps what must outlive it.

mod postgres;
mod redis;

pub use postgres::{PostgresOwner, PostgresPool, PostgresServer, PostgresSettings, PostgresTls};
pub use redis::{RedisSentinel, RedisServer, RedisSettings, RedisTls};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::session::{SealingKey, check_keys};
use crate::validate::Findings;

/// How a place is named, for the help of what needs one.
pub(super) const NAME_ONE: &str = "set storage.sqlite to a file, such as /var/lib/mcp-ultra/state.db, or storage.postgres to a server";

/// Without it nothing is kept, and what needs a store can't be switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSection {
    /// The file of an SQLite database, for a single gateway. It is made where there is none, with
    /// its folder, and only its owner can read it.
    pub sqlite: Option<String>,
    /// A PostgreSQL server instead, for any number of gateways. Its tables are made and changed by
    /// `mcp-ultra migrate` alone.
    pub postgres: Option<PostgresSettings>,
    /// A Redis that several gateways share what may be lost in: which proofs and links were used,
    /// and what changes in sessions. While it is away each gateway goes by what it knows itself.
    pub redis: Option<RedisSettings>,
    /// The keys that the tokens of grants are encrypted with before they are kept: the first one
    /// encrypts, all of them decrypt, so that keys can be rotated. Whoever loses them asks people
    /// to connect their servers again.
    pub keys: Vec<SealingKey>,
}

impl StorageSection {
    /// Whether anything is kept for good.
    pub fn is_on(&self) -> bool {
        self.sqlite.is_some() || self.postgres.is_some()
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        if self.sqlite.as_ref().is_some_and(String::is_empty) {
            findings.report(
                "storage.sqlite",
                "the name of the file is empty",
                "name a file, such as /var/lib/mcp-ultra/state.db, or leave the key out",
            );
        }
        if self.sqlite.is_some() && self.postgres.is_some() {
            findings.report(
                "storage.postgres",
                "things are kept in one place, and storage.sqlite names another",
                "leave one of the two out",
            );
        }
        if let Some(postgres) = &self.postgres {
            postgres.check(findings);
        }
        if let Some(redis) = &self.redis {
            redis.check(findings);
        }
        check_keys("storage.keys", &self.keys, findings);
    }
}
