//! The registry of a running gateway: [`Follow`] looks for changes, of others and of its own, and
//! [`Link`] is what the admin API changes it by. What is made of a change is in `reload`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{Config, RegistrySection, Sources};
use mcp_ultra_control::registry::{Fault, FileEntry, Running};
use mcp_ultra_domain::{
    Announcement,
    policy::Policies,
    ports::{Announcements, Heard, RegistryStore, RegistryStoreError},
    registry::{Kind, Registry},
};
use mcp_ultra_gateway::RegistryState;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};

use super::{ServeError, candidate::with_servers, messaging, storage};

/// How many changes may wait for being checked.
const WAITING: usize = 16;
/// How long whoever has changed something waits until this gateway has taken it over.
const PATIENCE: Duration = Duration::from_secs(5);

/// The policies that would be in force, or everything that is wrong.
pub(super) type Checked = Result<Option<Arc<Policies>>, Vec<Fault>>;

/// A registry that is to be checked, and where the answer goes.
pub(super) struct Ask {
    pub(super) candidate: Registry,
    pub(super) answer: oneshot::Sender<Checked>,
}

/// What there is to do.
pub(super) enum Event {
    /// Look whether it has changed.
    Look,
    /// Check one.
    Asked(Ask),
}

/// What others may know.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The newest revision that was looked at, whatever came of it.
    seen: u64,
    of_file: Vec<FileEntry>,
}

/// The registry, as the task of the configuration sees it.
pub(super) struct Follow {
    store: Arc<dyn RegistryStore>,
    latest: Arc<Registry>,
    asks: mpsc::Receiver<Ask>,
    heard: Arc<Notify>,
    poll: Duration,
    next_poll: Instant,
    known: watch::Sender<Known>,
    state: RegistryState,
    shadowed: Vec<(Kind, String)>,
}

/// The same, as the admin API sees it.
pub(super) struct Link {
    store: Arc<dyn RegistryStore>,
    asks: mpsc::Sender<Ask>,
    heard: Arc<Notify>,
    known: watch::Receiver<Known>,
    announcements: Arc<dyn Announcements>,
}

/// What the registry has now, where this configuration has one; for the commands that work without a
/// gateway.
///
/// # Errors
/// [`ServeError`]: the database that it names can't be used, or the registry not be read.
pub(crate) async fn of_store(config: &Config) -> Result<Registry, ServeError> {
    if !config.registry.enabled {
        return Ok(Registry::default());
    }
    let Some(store) = storage::open(&config.storage).await? else {
        return Ok(Registry::default());
    };
    let registry = RegistryStore::read(&store).await;
    store.close().await;
    Ok(registry?)
}

/// `sources`, which make this configuration, with the servers that its registry has now.
///
/// # Errors
/// As [`of_store`].
pub(crate) async fn with_servers_of_store(
    sources: &Sources,
    config: &Config,
) -> Result<Sources, ServeError> {
    Ok(with_servers(sources, &of_store(config).await?))
}

/// Reads the registry, where the configuration has one.
pub(super) async fn open(
    section: &RegistrySection,
    storage: Option<&Database>,
    announcements: Arc<dyn Announcements>,
) -> Result<Option<(Arc<Link>, Follow)>, RegistryStoreError> {
    let Some(storage) = storage.filter(|_| section.enabled) else {
        return Ok(None);
    };
    let store: Arc<dyn RegistryStore> = Arc::new(storage.clone());
    let heard = Arc::new(Notify::new());
    let told = heard.clone();
    // Before it is read: what is changed in between is looked for once more.
    announcements.hear(Arc::new(move |what| {
        if matches!(
            what,
            Heard::Missed | Heard::Announced(Announcement::RegistryChanged)
        ) {
            told.notify_one();
        }
    }));
    let latest = Arc::new(store.read().await?);
    let (ask, asks) = mpsc::channel(WAITING);
    let (known, watched) = watch::channel(Known {
        seen: latest.revision,
        of_file: Vec::new(),
    });
    let poll = section.poll.get();
    let follow = Follow {
        store: store.clone(),
        latest,
        asks,
        heard: heard.clone(),
        poll,
        next_poll: Instant::now() + jittered(poll),
        known,
        state: RegistryState {
            readable: true,
            ..RegistryState::default()
        },
        shadowed: Vec::new(),
    };
    let link = Link {
        store,
        asks: ask,
        heard,
        known: watched,
        announcements,
    };
    Ok(Some((Arc::new(link), follow)))
}

/// Between nine and eleven tenths, so that gateways don't all ask at once.
fn jittered(poll: Duration) -> Duration {
    let thousandth = u32::try_from(900 + messaging::number() % 201).unwrap_or(1_000);
    poll.saturating_mul(thousandth) / 1_000
}

impl Follow {
    /// What was read last.
    pub(super) fn latest(&self) -> &Arc<Registry> {
        &self.latest
    }

    /// How it is doing.
    pub(super) fn state(&self) -> RegistryState {
        self.state
    }

    /// Waits for something to do. Dropping it loses nothing.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            // Those who wait come first; and who looks is not kept from it by them for long, since
            // few may wait.
            Some(ask) = self.asks.recv() => Event::Asked(ask),
            () = self.heard.notified() => Event::Look,
            () = tokio::time::sleep_until(self.next_poll) => Event::Look,
        }
    }

    /// Looks whether it has changed, and reads it then.
    pub(super) async fn look(&mut self) -> bool {
        let read = async {
            if self.store.revision().await? == self.latest.revision {
                return Ok(None);
            }
            self.store.read().await.map(Some)
        };
        let read: Result<_, RegistryStoreError> = read.await;
        self.next_poll = Instant::now() + jittered(self.poll);
        match read {
            Ok(read) => {
                if !self.state.readable {
                    tracing::info!("the registry can be read again");
                }
                self.state.readable = true;
                let Some(registry) = read else { return false };
                self.latest = Arc::new(registry);
                true
            }
            Err(error) => {
                if self.state.readable {
                    tracing::warn!(%error, "the registry can't be read: what was read last stays in force");
                }
                self.state.readable = false;
                false
            }
        }
    }

    /// What was read last is in force.
    pub(super) fn in_force(&mut self, of_file: &[FileEntry], shadowed: &[(Kind, String)]) {
        for (kind, name) in shadowed {
            if !self
                .shadowed
                .iter()
                .any(|known| known == &(*kind, name.clone()))
            {
                let kind = kind.as_str();
                tracing::warn!(
                    kind,
                    name,
                    "an entry of the registry is not used: a file defines one of the same name"
                );
            }
        }
        self.shadowed = shadowed.to_vec();
        let seen = self.latest.revision;
        self.state.in_force = seen;
        self.state.refused = false;
        self.state.shadowed = shadowed.len();
        self.known.send_replace(Known {
            seen,
            of_file: of_file.to_vec(),
        });
    }

    /// What was read last can't be used.
    pub(super) fn refused(&mut self) {
        let seen = self.latest.revision;
        self.state.refused = seen != self.state.in_force;
        self.known.send_modify(|known| known.seen = seen);
    }
}

impl Link {
    /// Where it is kept.
    pub(super) fn store(&self) -> Arc<dyn RegistryStore> {
        self.store.clone()
    }
}

#[async_trait]
impl Running for Link {
    fn of_file(&self, kind: Kind) -> Vec<FileEntry> {
        let known = self.known.borrow();
        let of_kind = known.of_file.iter().filter(|file| file.kind == kind);
        of_kind.cloned().collect()
    }

    async fn check(&self, candidate: Registry) -> Checked {
        let (answer, answered) = oneshot::channel();
        let stopping = |()| {
            vec![Fault {
                place: String::new(),
                line: 0,
                column: 0,
                message: "the gateway is stopping; ask another one".to_owned(),
            }]
        };
        let asked = self.asks.send(Ask { candidate, answer }).await;
        asked.map_err(|_| stopping(()))?;
        answered.await.map_err(|_| stopping(()))?
    }

    async fn changed(&self, revision: u64) {
        self.announcements.announce(Announcement::RegistryChanged);
        self.heard.notify_one();
        let mut known = self.known.clone();
        let taken_over = known.wait_for(|known| known.seen >= revision);
        // It goes on looking by itself.
        drop(tokio::time::timeout(PATIENCE, taken_over).await);
    }
}
