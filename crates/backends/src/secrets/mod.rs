//! Where secrets come from: a mounted folder, the environment, a server with the Vault API.
//!
//! - `folder`, `environment`, `vault`: the three sources
//! - `store`: what was read last, kept while a source fails
//!
//! The way in is [`SecretStore`]. A value is a `SecretString` from its source to the
//! configuration that it becomes a part of; errors name the secret and the source, never a value
//! or what a server answered.

mod environment;
mod folder;
mod store;
mod vault;

use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_config::SecretName;
use secrecy::SecretString;

pub use store::{OpenError, Refreshed, SecretRow, SecretStore, Trouble};

/// The largest secret that is read.
const LARGEST: usize = 64 * 1024;

/// A secret as its source has it now.
struct Found {
    value: SecretString,
    /// What the source calls this value of it.
    version: Option<String>,
    /// When it was given this value, since the Unix epoch, where the source knows.
    changed: Option<Duration>,
}

/// Why a source could not say what a secret is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum SourceError {
    #[error("it can't be reached ({0})")]
    Unreachable(String),
    #[error(
        "its certificate is not trusted: name its authority in secrets.vault.ca_file, and the host of its certificate in secrets.vault.address"
    )]
    NotTrusted,
    #[error("it is sealed")]
    Sealed,
    #[error("it refused the login ({0})")]
    Login(String),
    #[error("it does not allow this login to read the secret")]
    Forbidden,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is not what the API describes")]
    Answer,
    #[error("the file can't be read: {0}")]
    File(String),
    #[error("the value is empty, not text, or larger than 64KiB")]
    Value,
}

/// Somewhere secrets are.
#[async_trait]
trait Source: Send + Sync {
    /// A word for it in status, logs and errors.
    fn name(&self) -> &'static str;

    /// The secret, or `None` where there is none of this name.
    async fn read(&self, name: &SecretName) -> Result<Option<Found>, SourceError>;
}
