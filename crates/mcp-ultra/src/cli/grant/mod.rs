//! `mcp-ultra grant`: what people have allowed the gateway to do at servers in their name, through
//! the admin API of a running gateway (`--admin`), or on the machine where it is kept.
//!
//! Without `--admin` a grant is only removed from the store of the configuration: nobody tells the
//! authorization server. Gateways that share a NATS (`messaging`) end at once what they do by it; others go
//! on with the access token that they have until that ends.

mod link;
mod list;
mod revoke;

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use mcp_ultra_control::grants::{GrantError, GrantView, Grants, Revoked, Withdraw};
use mcp_ultra_domain::{Announcement, DEFAULT_TENANT, Grant, holder};
use mcp_ultra_edge::identity::NoRandomness;
use serde::Deserialize;

use super::{
    admin::{self, AdminApi, StoreArgs},
    exit::{CommandResult, Failure},
    store::{Changes, Store},
};
use crate::wiring::storage::StorageError;

const PATH: &str = "/api/v1/grants";
/// The grants of a page where all are looked at.
const PAGE: u32 = 200;

/// The commands under `grant`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the grants of a tenant, or of one person in it
    List(list::Args),
    /// Make a link by which one person, and nobody else, connects a server
    Link(link::Args),
    /// Withdraw a grant: its person is asked again when they use the server next
    Revoke(revoke::Args),
}

/// Which grants.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    place: StoreArgs,
    /// Whose grants [default: `default` in a store, the caller's tenant through the admin API]
    #[arg(long)]
    tenant: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Grants can't be reached.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum GrantsError {
    /// No store is configured.
    #[error("the configuration names no place where grants are kept")]
    #[diagnostic(help("set storage.sqlite or storage.postgres, and name the file with --config"))]
    NoStore,
    /// The store can't be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Open(#[from] StorageError),
    /// A request could not be given a name of its own.
    #[error(transparent)]
    #[diagnostic(help("the system's source of randomness failed; try again"))]
    Randomness(#[from] NoRandomness),
    /// No grant of that name, or the store failed.
    #[error(transparent)]
    #[diagnostic(help("`mcp-ultra grant list` lists them, with their identifiers"))]
    Grant(#[from] GrantError),
}

impl From<GrantsError> for Failure {
    fn from(error: GrantsError) -> Self {
        match error {
            GrantsError::NoStore => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        GrantsError::from(error).into()
    }
}

/// Runs one of them.
pub(crate) async fn run(command: Command) -> CommandResult {
    match command {
        Command::List(args) => list::run(args).await,
        Command::Link(args) => link::run(args).await,
        Command::Revoke(args) => revoke::run(args).await,
    }
}

/// Where grants are listed and withdrawn.
enum Desk {
    Store(Kept),
    Remote(AdminApi),
}

/// The grants of a tenant in the store of a configuration.
struct Kept {
    grants: Grants,
    store: Store,
    tenant: String,
}

/// No authorization server is told from here; gateways are.
struct Untold(Changes);

#[async_trait]
impl Withdraw for Untold {
    async fn withdraw(&self, grant: &Grant) -> Revoked {
        self.0.add(Announcement::GrantWithdrawn {
            server: grant.server.clone(),
            holder: holder(&grant.principal),
        });
        Revoked::NotAsked
    }
}

/// A grant that is gone, and what became of its tokens.
#[derive(Deserialize)]
struct Withdrawn {
    #[serde(flatten)]
    grant: GrantView,
    revoked: String,
}

impl Common {
    async fn open(&self) -> Result<Desk, Failure> {
        if let Some(api) = self.place.remote(self.tenant.as_deref())? {
            return Ok(Desk::Remote(api));
        }
        let (config, _) = self.place.load().await?;
        let opened = Store::open(&config).await.map_err(GrantsError::Open)?;
        let store = opened.ok_or(GrantsError::NoStore)?;
        let told = Arc::new(Untold(store.changes.clone()));
        let tenant = self.tenant.clone();
        Ok(Desk::Store(Kept {
            grants: Grants::new(Arc::new(store.database.clone()), told),
            store,
            tenant: tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        }))
    }
}

impl Desk {
    fn tenant(&self) -> &str {
        match self {
            Self::Store(kept) => &kept.tenant,
            Self::Remote(api) => api.tenant(),
        }
    }

    /// All grants of the tenant, or of one subject in it.
    async fn all(&self, subject: Option<&str>) -> Result<Vec<GrantView>, Failure> {
        match self {
            Self::Store(kept) => kept.all(subject).await,
            Self::Remote(api) => {
                let path = match subject {
                    Some(subject) => admin::with(PATH, "subject", subject),
                    None => PATH.to_owned(),
                };
                api.all(&path).await
            }
        }
    }

    async fn withdraw(&self, id: &str) -> Result<Withdrawn, Failure> {
        match self {
            Self::Store(kept) => {
                let grant = kept.grants.get(&kept.tenant, id).await?;
                let revoked = kept.grants.withdraw(&grant).await?;
                Ok(Withdrawn {
                    grant: GrantView::from(&grant),
                    revoked: revoked.as_str().to_owned(),
                })
            }
            Self::Remote(api) => {
                let path = format!("{PATH}/{}", admin::encoded(id));
                let tag = api.tag(&path).await?;
                let headers = [("if-match", &*tag)];
                admin::read(api.send(Method::DELETE, &path, &headers, None).await?).await
            }
        }
    }

    /// Whether gateways that run know already what was changed.
    async fn close(self) -> bool {
        match self {
            Self::Store(kept) => kept.store.close().await,
            Self::Remote(_) => true,
        }
    }
}

impl Kept {
    async fn all(&self, subject: Option<&str>) -> Result<Vec<GrantView>, Failure> {
        let mut all: Vec<GrantView> = Vec::new();
        loop {
            let after = all.last().map(|grant| grant.id.clone());
            let page = self
                .grants
                .list(&self.tenant, subject, after.as_deref(), PAGE)
                .await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.iter().map(GrantView::from));
        }
    }
}
