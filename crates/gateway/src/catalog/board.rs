use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use mcp_ultra_domain::catalog::{Catalog, Kind, Offer, Source, State};
use parking_lot::Mutex;

use crate::{access::Rules, snapshot::Snapshot, upstream::Upstream};

/// What is known of every upstream: where snapshots are made, and put into force. Both are done under one
/// lock: of two that are made at the same time the later one stays, which has what the other one has too.
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

/// What a new snapshot has brought.
pub(crate) struct Published {
    /// The lists that differ from those of the one before.
    pub changed: BTreeSet<usize>,
    /// Whether the rules do.
    pub other_rules: bool,
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

    /// Sets the upstreams and the rules of the `current` snapshot. Upstreams that are the same as before keep what is known of them.
    pub(crate) fn set(
        &self,
        upstreams: Vec<Arc<Upstream>>,
        page_size: usize,
        rules: Rules,
        current: &ArcSwap<Snapshot>,
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
        entries.publish(current)
    }

    /// Notes what an upstream offers, or why it does not; `None` where it is gone from the
    /// configuration.
    pub(crate) fn report(
        &self,
        upstream: &Arc<Upstream>,
        found: Result<Offer, Unread>,
        current: &ArcSwap<Snapshot>,
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
        Some(entries.publish(current))
    }

    /// Notes that another part of what an upstream has is offered; how it is doing stays as it is.
    pub(crate) fn offer(
        &self,
        upstream: &Arc<Upstream>,
        offer: Offer,
        current: &ArcSwap<Snapshot>,
    ) -> Option<Published> {
        let mut entries = self.entries.lock();
        let at = entries
            .upstreams
            .iter()
            .position(|known| Arc::ptr_eq(known, upstream))?;
        entries.sources[at].offer = Some(Arc::new(offer));
        Some(entries.publish(current))
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
    /// Makes a snapshot of all that is known now, and puts it into force.
    fn publish(&mut self, current: &ArcSwap<Snapshot>) -> Published {
        let before = current.load_full();
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
        let other_rules = snapshot.rules.revision() != before.rules.revision();
        current.store(snapshot);
        Published {
            changed,
            other_rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use mcp_ultra_domain::flags::{Flags, Source};

    use super::*;

    /// Rules that are told from others by their number.
    fn rules(number: usize) -> Rules {
        let text = format!(
            r#"{{"metadata":{{"owner":"{number}","expires":"2999-01-01"}},"flags":{{"server.a.enabled":
            {{"state":"ENABLED","variants":{{"on":true,"off":false}},"defaultVariant":"off"}}}}}}"#
        );
        let name = "flags.json".to_owned();
        let flags = Flags::read(&[Source { name, text }]).unwrap();
        Rules::new(None, Some(Arc::new(flags)))
    }

    #[test]
    fn what_is_known_is_in_force_whenever_somebody_else_may_change_it() {
        let (board, current) = (Board::new(10), ArcSwap::from_pointee(Snapshot::default()));
        let all: Vec<Rules> = (0..2).map(rules).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for rules in all.iter().cycle().take(5_000) {
                    board.set(Vec::new(), 10, rules.clone(), &current);
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                // Without waiting: whoever is woken comes too late to see anything.
                if let Some(entries) = board.entries.try_lock() {
                    let in_force = current.load();
                    assert_eq!(in_force.rules.revision(), entries.rules.revision());
                }
            }
        });
    }
}
