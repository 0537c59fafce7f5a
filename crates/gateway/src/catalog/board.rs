use std::{collections::BTreeSet, sync::Arc};

use mcp_ultra_domain::catalog::{Catalog, Kind, Offer, Source, State};
use parking_lot::Mutex;

use crate::{access::Rules, snapshot::Snapshot, upstream::Upstream};

/// What is known of every upstream: where snapshots are made.
pub(crate) struct Board {
    entries: Mutex<Entries>,
}

struct Entries {
    page_size: usize,
    upstreams: Vec<Arc<Upstream>>,
    sources: Vec<Source>,
    rules: Rules,
    /// Whether every upstream has been asked once. From then on the first owner of a name keeps
    /// it; until then the order of the configuration decides, so that all replicas agree.
    settled: bool,
}

/// Why an upstream could not be read.
pub(crate) struct Unread {
    pub reason: String,
    /// What helps, where that is known. Names no host and holds no secret.
    pub remedy: Option<&'static str>,
    /// Whether what it offered before is offered no more.
    pub withdraws: bool,
}

/// A new snapshot, and the lists that differ from those of the one before.
pub(crate) struct Published {
    pub snapshot: Arc<Snapshot>,
    pub changed: BTreeSet<usize>,
}

impl Board {
    pub(crate) fn new(page_size: usize) -> Self {
        let entries = Entries {
            page_size,
            upstreams: Vec::new(),
            sources: Vec::new(),
            rules: Rules::default(),
            settled: false,
        };
        Self {
            entries: Mutex::new(entries),
        }
    }

    /// Sets the upstreams and the rules. Upstreams that are the same as before keep what is known of them.
    pub(crate) fn set(
        &self,
        upstreams: Vec<Arc<Upstream>>,
        page_size: usize,
        rules: Rules,
        before: &Snapshot,
    ) -> Published {
        let mut entries = self.entries.lock();
        let sources = upstreams
            .iter()
            .map(|upstream| {
                let same = entries
                    .upstreams
                    .iter()
                    .zip(&entries.sources)
                    .find(|(old, _)| Arc::ptr_eq(old, upstream))
                    .map(|(_, source)| source.clone());
                same.unwrap_or_else(|| Source {
                    name: upstream.name().clone(),
                    state: State::Pending,
                    offer: None,
                })
            })
            .collect();
        entries.sources = sources;
        entries.upstreams = upstreams;
        entries.page_size = page_size;
        entries.rules = rules;
        entries.publish(before)
    }

    /// Notes what an upstream offers, or why it does not; `None` where it is gone from the
    /// configuration.
    pub(crate) fn report(
        &self,
        upstream: &Arc<Upstream>,
        found: Result<Offer, Unread>,
        before: &Snapshot,
    ) -> Option<Published> {
        let mut entries = self.entries.lock();
        let at = entries
            .upstreams
            .iter()
            .position(|known| Arc::ptr_eq(known, upstream))?;
        let source = &mut entries.sources[at];
        match found {
            Ok(offer) => {
                source.offer = Some(Arc::new(offer));
                source.state = State::Ready;
            }
            Err(Unread {
                reason,
                remedy,
                withdraws,
            }) => {
                if withdraws {
                    source.offer = None;
                }
                source.state = State::Unavailable { reason, remedy };
            }
        }
        Some(entries.publish(before))
    }

    /// Notes that another part of what an upstream has is offered; how it is doing stays as it is.
    pub(crate) fn offer(
        &self,
        upstream: &Arc<Upstream>,
        offer: Offer,
        before: &Snapshot,
    ) -> Option<Published> {
        let mut entries = self.entries.lock();
        let at = entries
            .upstreams
            .iter()
            .position(|known| Arc::ptr_eq(known, upstream))?;
        entries.sources[at].offer = Some(Arc::new(offer));
        Some(entries.publish(before))
    }

    /// Whether something is offered of every upstream, or it is known that nothing is.
    pub(crate) fn is_offered(&self) -> bool {
        let entries = self.entries.lock();
        let mut sources = entries.sources.iter();
        sources.all(|source| source.offer.is_some() || source.state != State::Pending)
    }

    /// Whether every upstream has been asked once.
    pub(crate) fn is_settled(&self) -> bool {
        self.entries.lock().settled
    }
}

impl Entries {
    fn publish(&mut self, before: &Snapshot) -> Published {
        let keep = self.settled.then_some(&before.catalog);
        let catalog = Catalog::merge(self.sources.clone(), keep, self.page_size);
        self.settled |= self
            .sources
            .iter()
            .all(|source| source.state != State::Pending);
        for hidden in catalog.hidden() {
            if !before.catalog.hidden().contains(hidden) {
                tracing::warn!(
                    name = %hidden.public, upstream = %hidden.upstream, owner = %hidden.owner,
                    "a name is hidden: another upstream has it; give one of them a prefix"
                );
            }
        }
        let changed = Kind::ALL
            .into_iter()
            .filter(|kind| catalog.differs(&before.catalog, *kind))
            .map(|kind| kind as usize)
            .collect();
        let snapshot = Arc::new(Snapshot::new(
            self.upstreams.clone(),
            catalog,
            self.rules.clone(),
        ));
        Published { snapshot, changed }
    }
}
