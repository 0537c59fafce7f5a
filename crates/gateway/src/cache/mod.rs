//! Answers of servers that are given again without asking them: where they are kept, under which
//! keys, and when they are outdated. What may be kept, and for how long, is
//! [`mcp_ultra_domain::cache`]; when it is asked for is [`crate::stages::cache`].
//!
//! - `key`: what two requests have to have in common
//! - `entry`: an answer that is kept
//! - `memory`: where it is kept in this process
//! - `marks`: what is outdated
//! - `flights`: of several that ask for the same, one asks the server
//! - `experience`: whether that is worth it
//! - `shared`: what gateways keep for each other, the second level; `lists` are there too
//! - `keep`: what goes with a call whose answer may be kept
//! - `rules`: what the operator says

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

use std::{sync::Arc, time::Duration};

use mcp_ultra_config::CacheSection;
use mcp_ultra_domain::cache::{Outdated, Tag};

pub(crate) use self::{
    entry::Entry,
    experience::Worth,
    flights::{Flight, Joined, Landed},
    keep::{Asked, Keep},
    key::{Key, Keys, Parts},
    rules::Rules,
    shared::{AGAIN, Found, Place, Shared},
};
use self::{experience::Experience, flights::Flights, marks::Marks, memory::Memory};

/// All that is kept by this process.
pub(crate) struct Cache {
    memory: Memory,
    marks: Marks,
    experience: Experience,
    pub(crate) flights: Flights,
    /// What other gateways keep too, where there are any.
    pub(crate) shared: Option<Arc<Shared>>,
}

impl Cache {
    pub(crate) fn new(section: &CacheSection, shared: Option<Shared>) -> Self {
        Self {
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

    /// The moment that answers which are asked for now are of.
    pub(crate) fn moment(&self) -> u64 {
        self.marks.moment()
    }

    /// What is kept for a request, for its caller or for everyone, unless it is outdated. It may be
    /// too old at `now` to be given, but where the server fails.
    pub(crate) fn find(&self, asked: &Asked, now: Duration) -> Option<Arc<Entry>> {
        let of = |key: &Key| {
            let entry = self.memory.get(&asked.tenant, key)?;
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
        entry.is_of_use(now)
            && self
                .marks
                .are_before(&asked.server, &asked.tags, entry.moment)
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
        self.memory.put(&asked.tenant, *key, entry.clone());
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

    /// Forgets what is of no use any more.
    pub(crate) fn sweep(&self, now: Duration) {
        self.memory.sweep(now);
    }

    /// How many answers are kept, and in how many bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.memory.size()
    }

    /// How many answers were let go, by why.
    pub(crate) fn evicted(&self) -> [(&'static str, u64); 2] {
        self.memory.evicted()
    }
}

/// The tags of answers to a request.
pub(crate) type Tags = [Option<Tag>; 3];
