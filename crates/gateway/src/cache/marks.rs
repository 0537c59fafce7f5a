//! What is outdated. Nothing is looked for where something changes: it is marked with the moment of
//! the change, and an answer that was asked for before that is of no use, also one that is still on its
//! way. There are so many marks of a server as there are kinds and buckets, and no more.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mcp_ultra_domain::cache::{Outdated, Tag};
use parking_lot::RwLock;

use super::Tags;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Counts changes.
    latest: AtomicU64,
    /// The last change of everything.
    all: AtomicU64,
    /// Those of each server that something was asked of which might be kept.
    servers: RwLock<HashMap<Arc<str>, HashMap<Tag, u64>>>,
}

impl Marks {
    /// The moment of now: all changes up to here are known to whoever asks that server next, and those
    /// from here on are marked.
    pub(super) fn moment(&self, server: &Arc<str>) -> u64 {
        if !self.knows(server) {
            self.servers.write().entry(server.clone()).or_default();
        }
        self.latest.load(Ordering::SeqCst)
    }

    /// Whether anything was asked of that server which might be kept.
    fn knows(&self, server: &str) -> bool {
        self.servers.read().contains_key(server)
    }

    /// Marks what was asked of that server before, if anything was.
    pub(super) fn mark(&self, server: &str, what: Outdated) {
        if !self.knows(server) {
            return;
        }
        let mut servers = self.servers.write();
        let moment = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(marks) = servers.get_mut(server) {
            marks.extend(what.tags().map(|tag| (tag, moment)));
        }
    }

    pub(super) fn mark_all(&self) {
        let _servers = self.servers.write();
        let moment = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        self.all.store(moment, Ordering::SeqCst);
    }

    /// Whether nothing with one of the tags has changed after `moment`.
    pub(super) fn are_before(
        &self,
        server: &str,
        tags: impl FnOnce() -> Tags,
        moment: u64,
    ) -> bool {
        if self.latest.load(Ordering::SeqCst) <= moment {
            return true;
        }
        let servers = self.servers.read();
        if self.all.load(Ordering::SeqCst) > moment {
            return false;
        }
        let marks = servers.get(server).filter(|marks| !marks.is_empty());
        let Some(marks) = marks else { return true };
        let tags = tags();
        let mut tags = tags.iter().flatten();
        tags.all(|tag| marks.get(tag).is_none_or(|mark| *mark <= moment))
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::cache::Kind;

    use super::*;

    #[test]
    fn what_was_asked_for_before_a_change_is_outdated() {
        let marks = Marks::default();
        let (a, b) = ("a".into(), "b".into());
        let tags = || {
            [
                Some(Tag::Kind(Kind::Resource)),
                Some(Tag::Resource(7)),
                Some(Tag::Tenant(3)),
                Some(Tag::Subject(1)),
                None,
            ]
        };
        let holds = |moment| marks.are_before("a", tags, moment);
        let before = marks.moment(&a);
        marks.moment(&b);
        assert!(holds(before));
        for other in [
            Outdated::Tagged(Tag::Kind(Kind::Tool)),
            Outdated::Tagged(Tag::Resource(8)),
            Outdated::Tagged(Tag::Subject(2)),
            Outdated::Written {
                subject: 2,
                tenant: 1,
            },
        ] {
            marks.mark("a", other);
        }
        marks.mark("b", Outdated::All);
        assert!(holds(before));
        for what in [
            Outdated::Tagged(Tag::Kind(Kind::Resource)),
            Outdated::Tagged(Tag::Resource(7)),
            Outdated::Tagged(Tag::Subject(1)),
            Outdated::Tagged(Tag::Tenant(3)),
            Outdated::Written {
                subject: 1,
                tenant: 2,
            },
            Outdated::All,
        ] {
            let before = marks.moment(&a);
            marks.mark("a", what);
            assert!(!holds(before), "{what}");
            assert!(holds(marks.moment(&a)), "{what}");
        }
        let before = marks.moment(&a);
        marks.mark_all();
        assert!(!holds(before) && holds(marks.moment(&a)));
        assert!(!marks.are_before("never seen", tags, before));
    }

    #[test]
    fn of_a_server_that_was_never_asked_nothing_is_remembered() {
        let marks = Marks::default();
        marks.mark("a", Outdated::All);
        assert!(!marks.knows("a"));
        assert_eq!(marks.moment(&"a".into()), 0);
        assert!(marks.knows("a"));
    }
}
