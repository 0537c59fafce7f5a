//! Answers of servers that are given again without asking them: where they are kept, under which
//! keys, and when they are outdated. What may be kept, and for how long, is
//! [`mcp_ultra_domain::cache`]; when it is asked for is [`crate::stages::cache`].
//!
//! - `key`: what two requests have to have in common; `asked`: what one of them asks for
//! - `entry`: an answer that is kept
//! - `memory`: where it is kept in this process
//! - `marks`: what is outdated; `wrote`: by a call that may change something; `untold`: what the other
//!   gateways have yet to be told of that
//! - `flights`: of several that ask for the same, one asks the server
//! - `experience`: whether that is worth it
//! - `shared`: what gateways keep for each other, the second level; `lists` are there too
//! - `keep`: what goes with a call whose answer may be kept
//! - `rules`: what the operator says

mod asked;
mod entry;
mod experience;
mod flights;
mod keep;
mod key;
mod lists;
mod marks;
mod memory;
mod rules;
mod shared;
mod untold;
mod wrote;

use std::{sync::Arc, time::Duration};

use mcp_ultra_config::CacheSection;
use mcp_ultra_domain::cache::{Outdated, Tag};

pub(crate) use self::{
    asked::Asked,
    entry::Entry,
    experience::Worth,
    flights::{Flight, Joined, Landed},
    keep::Keep,
    key::{Key, Keys, Parts},
    rules::Rules,
    shared::{Found, Place, Shared},
    untold::{Others, Told},
    wrote::Wrote,
};
use self::{
    experience::Experience,
    flights::Flights,
    marks::Marks,
    memory::{Memory, Of},
};

/// All that is kept by this process.
pub(crate) struct Cache {
    memory: Memory,
    marks: Marks,
    experience: Experience,
    pub(crate) flights: Flights,
    /// What other gateways keep too, where there are any.
    pub(crate) shared: Option<Arc<Shared>>,
    /// Who has to be told of what is outdated, where there is anybody.
    pub(crate) others: Option<Arc<Others>>,
}

impl Cache {
    /// `heard`: whether other gateways hear what is announced.
    pub(crate) fn new(section: &CacheSection, shared: Option<Shared>, heard: bool) -> Self {
        let of_shared = shared.as_ref().map(|shared| shared.others.clone());
        Self {
            others: of_shared.or_else(|| heard.then(Arc::default)),
            memory: Memory::new(section),
            marks: Marks::default(),
            experience: Experience::default(),
            flights: Flights::default(),
            shared: shared.map(Arc::new),
        }
    }

    /// Takes over how much may be kept.
    pub(crate) fn resize(&self, section: &CacheSection) {
        self.memory.resize(section);
    }

    /// The moment that answers which that server is asked for now are of.
    pub(crate) fn moment(&self, server: &Arc<str>) -> u64 {
        self.marks.moment(server)
    }

    /// What is kept for a request, for its caller or for everyone, unless it is outdated. It may be
    /// too old at `now` to be given, but where the server fails.
    pub(crate) fn find(&self, asked: &Asked, now: Duration) -> Option<Arc<Entry>> {
        let of = |key: &Key| {
            let entry = self.memory.get(asked.tenant(), key)?;
            self.holds(asked, &entry, now).then_some(entry)
        };
        let own = of(&asked.keys.own);
        if own.as_ref().is_some_and(|entry| entry.is_fresh(now)) {
            return own;
        }
        asked.keys.common.as_ref().and_then(of).or(own)
    }

    /// Whether an answer has not been outdated since it was asked for.
    pub(crate) fn holds(&self, asked: &Asked, entry: &Entry, now: Duration) -> bool {
        if !entry.is_of_use(now) {
            return false;
        }
        let tags = || asked.tags_of(entry.is_public);
        self.marks.are_before(&asked.server, tags, entry.moment)
    }

    /// Keeps an answer, unless it has been outdated meanwhile; whether it is kept.
    pub(crate) fn keep(&self, asked: &Asked, entry: &Arc<Entry>, now: Duration) -> bool {
        if !self.holds(asked, entry, now) {
            return false;
        }
        let key = match &asked.keys.common {
            Some(common) if entry.is_public => common,
            _ => &asked.keys.own,
        };
        let of = Of {
            server: asked.server.clone(),
            tags: asked.tags_of(entry.is_public),
        };
        self.memory.put(asked.tenant(), *key, entry.clone(), of);
        true
    }

    /// What is worth doing before a server is asked.
    pub(crate) fn worth(&self, asked: &Asked) -> Worth {
        self.experience.worth(&asked.keys.own)
    }

    /// Marks answers of a server as outdated, those too that are on their way.
    pub(crate) fn outdate(&self, server: &str, what: Outdated) {
        self.marks.mark(server, what);
    }

    /// Marks everything as outdated.
    pub(crate) fn outdate_all(&self) {
        self.marks.mark_all();
    }

    /// Lets go what a tenant has of a server with one of these tags; how many answers those were. They
    /// have been outdated before.
    pub(crate) fn forget(&self, tenant: &str, server: &str, tags: &[Tag]) -> usize {
        self.memory.forget(tenant, |of| of.is_one(server, tags))
    }

    /// How many those would be.
    pub(crate) fn count(&self, tenant: &str, server: &str, tags: &[Tag]) -> usize {
        self.memory.count(tenant, |of| of.is_one(server, tags))
    }

    /// Forgets what is of no use any more.
    pub(crate) fn sweep(&self, now: Duration) {
        let holds =
            |of: &Of, entry: &Entry| self.marks.are_before(&of.server, || of.tags, entry.moment);
        self.memory.sweep(now, holds);
    }

    /// How many answers are kept, and in how many bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.memory.size()
    }

    /// How many answers were let go, by why.
    pub(crate) fn evicted(&self) -> [(&'static str, u64); 3] {
        self.memory.evicted()
    }
}

/// The tags of answers to a request.
pub(crate) type Tags = [Option<Tag>; 5];
