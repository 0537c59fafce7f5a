//! Definitions of tools that somebody has to agree to: `tools pending`, `approve`,
//! `forget` and `lock`.
//!
//! Like `mcp-ultra key` they speak to the admin API of a running gateway (`--admin`), or open the
//! store of a configuration (`storage`) themselves. Gateways that run take over what was approved in
//! their store at once where they share a NATS (`messaging`), else within two seconds.

pub(super) mod approve;
pub(super) mod forget;
pub(super) mod lock;
pub(super) mod pending;
mod show;

use std::sync::Arc;

use http::Method;
use mcp_ultra_control::pins::{PinError, PinView, Pins};
use mcp_ultra_domain::{Announcement, SystemClock, ports::PinStoreError};

use crate::{
    cli::{
        admin::{AdminApi, StoreArgs, read},
        exit::Failure,
        store::Store,
    },
    wiring::storage::StorageError,
};

const PATH: &str = "/api/v1/tools";
/// Who approved what was approved in the store itself.
const BY: &str = "mcp-ultra tools approve";

/// Which gateway's tools.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    place: StoreArgs,
}

/// Tools can't be shown or approved.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum ToolsError {
    /// No store is configured.
    #[error("the configuration names no place where it is kept which definitions were agreed to")]
    #[diagnostic(help(
        "set storage.sqlite or storage.postgres and name the file with --config, or ask a running gateway with --admin"
    ))]
    NoStore,
    /// The store can't be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Open(#[from] StorageError),
    /// A rule was broken, or the store failed.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Nothing of that name waits.
    #[error("no tool `{0}` waits for approval")]
    #[diagnostic(help("`mcp-ultra tools pending` lists those that do, as SERVER/TOOL"))]
    NotWaiting(String),
    /// Nothing of that name is known.
    #[error("no tool `{0}` has been seen")]
    #[diagnostic(help("`mcp-ultra tools pending --all` lists those that were, as SERVER/TOOL"))]
    Unknown(String),
    /// Another definition waits.
    #[error("of {tool} another definition waits, {there}")]
    #[diagnostic(help("`mcp-ultra tools pending` shows it"))]
    Other {
        /// The tool.
        tool: String,
        /// The fingerprint of what waits.
        there: String,
    },
}

impl From<ToolsError> for Failure {
    fn from(error: ToolsError) -> Self {
        match error {
            ToolsError::NoStore | ToolsError::Pin(PinError::Locked) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

/// Where it is known which definitions were agreed to.
enum Desk {
    Store(Pins, Store),
    Remote(AdminApi),
}

impl Common {
    async fn open(&self) -> Result<Desk, Failure> {
        if let Some(api) = self.place.remote(None)? {
            return Ok(Desk::Remote(api));
        }
        let (config, _) = self.place.load().await?;
        let opened = Store::open(&config).await.map_err(ToolsError::Open)?;
        let store = opened.ok_or(ToolsError::NoStore)?;
        let changes = store.changes.clone();
        let locked = config.pinning.lock_file.is_some();
        let pins = Pins::new(
            Arc::new(store.database.clone()),
            Arc::new(SystemClock),
            Arc::new(move || locked),
            Arc::new(move || changes.add(Announcement::PinsChanged)),
        );
        Ok(Desk::Store(pins, store))
    }
}

impl Desk {
    /// All tools, or those that wait.
    async fn all(&self, waiting: bool) -> Result<Vec<PinView>, Failure> {
        match self {
            Self::Store(pins, _) => {
                let all = pins.all(waiting).await.map_err(ToolsError::Pin)?;
                Ok(all.iter().map(PinView::of).collect())
            }
            Self::Remote(api) => api.all(&format!("{PATH}?waiting={waiting}")).await,
        }
    }

    /// Approves the definition that waits, as it was shown.
    async fn approve(&self, seen: &PinView) -> Result<PinView, Failure> {
        match self {
            Self::Store(pins, _) => {
                let meant = seen.fingerprint.as_deref().and_then(|one| one.parse().ok());
                let meant = meant.ok_or(PinError::Store(PinStoreError::Changed));
                let meant = meant.map_err(ToolsError::Pin)?;
                let approved = pins.approve(&seen.server, &seen.tool, meant, BY).await;
                Ok(PinView::of(&approved.map_err(ToolsError::Pin)?))
            }
            Self::Remote(api) => {
                let path = format!("{}/approve", seen.href);
                let tag = seen.tag();
                let headers = [("if-match", &*tag)];
                read(api.send(Method::POST, &path, &headers, None).await?).await
            }
        }
    }

    /// Forgets a tool that is gone, as it was shown.
    async fn forget(&self, seen: &PinView) -> Result<PinView, Failure> {
        match self {
            Self::Store(pins, _) => {
                let found = pins.get(&seen.server, &seen.tool).await;
                let found = found.map_err(ToolsError::Pin)?;
                if PinView::of(&found).tag() != seen.tag() {
                    return Err(ToolsError::Pin(PinStoreError::Changed.into()).into());
                }
                pins.forget(&found).await.map_err(ToolsError::Pin)?;
                Ok(PinView::of(&found))
            }
            Self::Remote(api) => {
                let tag = seen.tag();
                let headers = [("if-match", &*tag)];
                read(api.send(Method::DELETE, &seen.href, &headers, None).await?).await
            }
        }
    }

    async fn close(self) {
        if let Self::Store(_, store) = self {
            store.close().await;
        }
    }
}

/// The tool that somebody means: by how it is in URLs, which is one tool alone, by its name as the
/// server has it, or by how it is shown.
fn find<'p>(tools: &'p [PinView], meant: &str) -> Option<&'p PinView> {
    let by = |name: fn(&PinView) -> String| tools.iter().find(|pin| name(pin) == meant);
    by(show::in_urls)
        .or_else(|| by(|pin| format!("{}/{}", pin.server, pin.tool)))
        .or_else(|| by(show::name))
}
