//! What is outdated. Nothing is looked for where something changes: it is marked with the moment of
//! the change, and an answer that was asked for before that is of no use, also one that is still on its
//! way. There are so many marks of a server as it has kinds and buckets, and no more.

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
    servers: RwLock<HashMap<Arc<str>, HashMap<Tag, u64>>>,
}

impl Marks {
    /// The moment of now: all changes up to here are known to whoever asks a server next.
    pub(super) fn moment(&self) -> u64 {
        self.latest.load(Ordering::SeqCst)
    }

    pub(super) fn mark(&self, server: &str, what: Outdated) {
        let mut servers = self.servers.write();
        let moment = self.latest.fetch_add(1, Ordering::SeqCst) + 1;
        if !servers.contains_key(server) {
            servers.insert(server.into(), HashMap::new());
        }
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
    pub(super) fn are_before(&self, server: &str, tags: &Tags, moment: u64) -> bool {
        let servers = self.servers.read();
        if self.all.load(Ordering::SeqCst) > moment {
            return false;
        }
        let Some(marks) = servers.get(server) else {
            return true;
        };
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
        let tags = [
            Some(Tag::Kind(Kind::Resource)),
            Some(Tag::Resource(7)),
            Some(Tag::Subject(1)),
        ];
        let holds = |moment| marks.are_before("a", &tags, moment);
        let before = marks.moment();
        assert!(holds(before));
        for other in [
            Outdated::Tagged(Tag::Kind(Kind::Tool)),
            Outdated::Tagged(Tag::Resource(8)),
            Outdated::Tagged(Tag::Subject(2)),
        ] {
            marks.mark("a", other);
        }
        marks.mark("b", Outdated::All);
        assert!(holds(before));
        for what in [
            Outdated::Tagged(Tag::Kind(Kind::Resource)),
            Outdated::Tagged(Tag::Resource(7)),
            Outdated::Tagged(Tag::Subject(1)),
            Outdated::All,
        ] {
            let before = marks.moment();
            marks.mark("a", what);
            assert!(!holds(before), "{what}");
            assert!(holds(marks.moment()), "{what}");
        }
        let before = marks.moment();
        marks.mark_all();
        assert!(!holds(before) && holds(marks.moment()));
        assert!(!marks.are_before("never seen", &tags, before));
    }
}
