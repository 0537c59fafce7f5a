//! Definitions of tools that somebody has to agree to: shown with what differs, approved, and
//! forgotten once they are gone.
//!
//! The way in is [`Pins`]; [`PinView`] is how a tool is shown, by the admin API and by the command
//! line that works on the store itself.

mod segment;
mod view;

use std::sync::Arc;

use mcp_ultra_domain::{
    Clock,
    pinning::{Fingerprint, Pin},
    ports::{PinStore, PinStoreError},
};

pub use segment::{segment, tool_of};
pub use view::{ChangeView, FindingView, PinView};

/// The most that is asked of a store at once.
const PAGE: u32 = 200;

/// Why tools can't be shown, approved or forgotten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// A lock file decides.
    #[error(
        "pinning.lock_file decides which definitions are agreed to; write a new one with `mcp-ultra tools lock`"
    )]
    Locked,
    /// What is forgotten is seen for the first time when it comes back, which would be at once.
    #[error(
        "the server offers the tool: it would be seen for the first time, and agreed to, at once; it can be forgotten when it is gone"
    )]
    Offered,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] PinStoreError),
}

/// Shows, approves and forgets definitions of tools.
#[derive(Clone)]
pub struct Pins {
    store: Arc<dyn PinStore>,
    clock: Arc<dyn Clock>,
    locked: Arc<dyn Fn() -> bool + Send + Sync>,
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pins").finish_non_exhaustive()
    }
}

impl Pins {
    /// Pins in a store. `locked` says whether a lock file decides at the moment; `changed` is
    /// called after an approval.
    pub fn new(
        store: Arc<dyn PinStore>,
        clock: Arc<dyn Clock>,
        locked: Arc<dyn Fn() -> bool + Send + Sync>,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            store,
            clock,
            locked,
            changed,
        }
    }

    /// A page of all tools, or of those that wait for approval.
    pub async fn list(
        &self,
        after: Option<(&str, &str)>,
        waiting: bool,
        limit: u32,
    ) -> Result<Vec<Pin>, PinError> {
        Ok(self.store.list(after, waiting, limit).await?)
    }

    /// All of them.
    pub async fn all(&self, waiting: bool) -> Result<Vec<Pin>, PinError> {
        let mut all: Vec<Pin> = Vec::new();
        loop {
            let after = all.last().map(|pin| (&*pin.server, &*pin.tool));
            let page = self.list(after, waiting, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// A tool.
    pub async fn get(&self, server: &str, tool: &str) -> Result<Pin, PinError> {
        let found = self.store.get(server, tool).await?;
        Ok(found.ok_or(PinStoreError::NotFound)?)
    }

    /// Whether anything can be approved here.
    ///
    /// # Errors
    /// [`PinError::Locked`]
    pub fn check(&self) -> Result<(), PinError> {
        if (self.locked)() {
            return Err(PinError::Locked);
        }
        Ok(())
    }

    /// Approves the definition that waits, if it is the one that is meant; one that is approved
    /// already stays so.
    pub async fn approve(
        &self,
        server: &str,
        tool: &str,
        meant: Fingerprint,
        by: &str,
    ) -> Result<Pin, PinError> {
        self.check()?;
        let now = self.clock.now();
        let pin = self.store.approve(server, tool, meant, by, now).await?;
        (self.changed)();
        Ok(pin)
    }

    /// Whether a tool can be forgotten.
    ///
    /// # Errors
    /// [`PinError::Offered`]
    pub fn check_gone(pin: &Pin) -> Result<(), PinError> {
        if pin.is_offered() {
            return Err(PinError::Offered);
        }
        Ok(())
    }

    /// Forgets a tool that is gone and is as it was read: where it comes back it is seen for the
    /// first time. What a lock file says of it stays.
    pub async fn forget(&self, seen: &Pin) -> Result<(), PinError> {
        Self::check_gone(seen)?;
        Ok(self.store.forget(&seen.server, &seen.head()).await?)
    }
}
