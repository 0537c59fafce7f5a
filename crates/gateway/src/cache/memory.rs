//! Where answers are kept in this process: bounded in bytes, of which no tenant gets more than its
//! share, so that what one asks for does not push out what the others have.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mcp_ultra_config::CacheSection;
use mcp_ultra_domain::cache::Tag;
use parking_lot::Mutex;

use super::{Entry, Key, Tags};

/// Workers look at the same time; each of these has a lock of its own.
const SHARDS: usize = 8;
/// What keeping an answer takes besides it.
const OVERHEAD: usize = 200;

pub(super) struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    /// How many bytes a shard may hold, and how many of them one tenant's.
    most: AtomicUsize,
    share: AtomicUsize,
    evicted: [AtomicU64; 3],
}

/// Why an answer was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evicted {
    /// There was no room.
    Room,
    /// It was too old.
    Expired,
    /// Something that it may go by has changed, or it was to be forgotten.
    Outdated,
}

#[derive(Default)]
struct Shard {
    tenants: HashMap<Arc<str>, Part>,
    bytes: usize,
}

/// What one tenant has in a shard.
#[derive(Default)]
struct Part {
    held: HashMap<Key, Held>,
    /// The keys of `held`, those that go first in front.
    order: VecDeque<Key>,
    bytes: usize,
}

/// Whose answer it is, and what it is found by when something about it changes.
#[derive(Debug, Clone)]
pub(super) struct Of {
    pub server: Arc<str>,
    pub tags: Tags,
}

impl Of {
    /// Whether it is that server's, with one of these tags.
    pub(super) fn is_one(&self, server: &str, tags: &[Tag]) -> bool {
        *self.server == *server && tags.iter().any(|tag| self.tags.contains(&Some(*tag)))
    }
}

struct Held {
    entry: Arc<Entry>,
    of: Of,
    bytes: usize,
    /// It was looked at since it last came up for going.
    used: bool,
}

impl Memory {
    pub(super) fn new(section: &CacheSection) -> Self {
        let memory = Self {
            shards: Default::default(),
            most: AtomicUsize::default(),
            share: AtomicUsize::default(),
            evicted: Default::default(),
        };
        memory.resize(section);
        memory
    }

    /// Holds so much from now on; what is too much goes when something is put there next.
    pub(super) fn resize(&self, section: &CacheSection) {
        let most = if section.enabled {
            section.memory.as_usize() / SHARDS
        } else {
            0
        };
        let share = most / 100 * usize::from(section.tenant_share);
        self.most.store(most, Ordering::Relaxed);
        self.share.store(share, Ordering::Relaxed);
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        &self.shards[key.spread() % SHARDS]
    }

    pub(super) fn get(&self, tenant: &str, key: &Key) -> Option<Arc<Entry>> {
        let mut shard = self.shard(key).lock();
        let held = shard.tenants.get_mut(tenant)?.held.get_mut(key)?;
        held.used = true;
        Some(held.entry.clone())
    }

    pub(super) fn put(&self, tenant: &Arc<str>, key: Key, entry: Arc<Entry>, of: Of) {
        let share = self.share.load(Ordering::Relaxed);
        let bytes = entry.size() + OVERHEAD;
        if bytes > share {
            return;
        }
        let mut shard = self.shard(&key).lock();
        shard.put(tenant, key, entry, of, bytes);
        let most = self.most.load(Ordering::Relaxed);
        let gone = shard.make_room(tenant, share, most);
        self.note(Evicted::Room, gone);
    }

    /// Lets go what is of no use at `now`, or does not hold any more.
    pub(super) fn sweep(&self, now: Duration, holds: impl Fn(&Of, &Entry) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let expired = shard.retain(|held| held.entry.is_of_use(now));
            let outdated = shard.retain(|held| holds(&held.of, &held.entry));
            drop(shard);
            self.note(Evicted::Expired, expired);
            self.note(Evicted::Outdated, outdated);
        }
    }

    /// Lets go what a tenant has for which `is_one` is true; how many those were.
    pub(super) fn forget(&self, tenant: &str, is_one: impl Fn(&Of) -> bool) -> usize {
        let of_shard = |shard: &Mutex<Shard>| {
            let mut shard = shard.lock();
            shard.retain_of(tenant, |held| !is_one(&held.of))
        };
        let gone = self.shards.iter().map(of_shard).sum();
        self.note(Evicted::Outdated, gone);
        gone
    }

    /// How many of a tenant there are for which `is_one` is true.
    pub(super) fn count(&self, tenant: &str, is_one: impl Fn(&Of) -> bool) -> usize {
        let of_shard = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            let held = shard.tenants.get(tenant).map(|part| part.held.values());
            held.into_iter()
                .flatten()
                .filter(|held| is_one(&held.of))
                .count()
        };
        self.shards.iter().map(of_shard).sum()
    }

    fn note(&self, why: Evicted, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.evicted[why as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock();
            let count: usize = shard.tenants.values().map(|part| part.held.len()).sum();
            size = (size.0 + count, size.1 + shard.bytes);
        }
        size
    }

    pub(super) fn evicted(&self) -> [(&'static str, u64); 3] {
        let of = |why: Evicted| self.evicted[why as usize].load(Ordering::Relaxed);
        [
            ("room", of(Evicted::Room)),
            ("expired", of(Evicted::Expired)),
            ("outdated", of(Evicted::Outdated)),
        ]
    }
}

impl Shard {
    fn put(&mut self, tenant: &Arc<str>, key: Key, entry: Arc<Entry>, of: Of, bytes: usize) {
        let part = self.tenants.entry(tenant.clone()).or_default();
        let held = Held {
            entry,
            of,
            bytes,
            used: false,
        };
        let before = part.held.insert(key, held).map(|before| before.bytes);
        if before.is_none() {
            part.order.push_back(key);
        }
        let before = before.unwrap_or_default();
        part.bytes = part.bytes - before + bytes;
        self.bytes = self.bytes - before + bytes;
    }

    /// Lets go what is too much: of this tenant, then of whichever has most. How many went.
    fn make_room(&mut self, tenant: &str, share: usize, most: usize) -> usize {
        let mut gone = 0;
        while let Some(part) = self.tenants.get_mut(tenant)
            && part.bytes > share
        {
            self.bytes -= part.let_one_go();
            gone += 1;
        }
        while self.bytes > most {
            let largest = self.tenants.values_mut().max_by_key(|part| part.bytes);
            let Some(part) = largest else { break };
            self.bytes -= part.let_one_go();
            gone += 1;
        }
        gone
    }

    /// Lets go all others. How many went.
    fn retain(&mut self, stays: impl Fn(&Held) -> bool) -> usize {
        let mut gone = (0, 0);
        for part in self.tenants.values_mut() {
            let (count, bytes) = part.retain(&stays);
            gone = (gone.0 + count, gone.1 + bytes);
        }
        self.bytes -= gone.1;
        self.tenants.retain(|_, part| !part.held.is_empty());
        gone.0
    }

    /// The same for one tenant's.
    fn retain_of(&mut self, tenant: &str, stays: impl Fn(&Held) -> bool) -> usize {
        let part = self.tenants.get_mut(tenant);
        let (count, bytes) = part.map_or((0, 0), |part| part.retain(stays));
        self.bytes -= bytes;
        count
    }
}

impl Part {
    /// Lets go all others: how many those were, and their bytes.
    fn retain(&mut self, stays: impl Fn(&Held) -> bool) -> (usize, usize) {
        let before = (self.held.len(), self.bytes);
        self.held.retain(|_, held| stays(held));
        if self.held.len() == before.0 {
            return (0, 0);
        }
        self.order.retain(|key| self.held.contains_key(key));
        self.bytes = self.held.values().map(|held| held.bytes).sum();
        (before.0 - self.held.len(), before.1 - self.bytes)
    }

    /// Lets one answer go: the first that was not looked at since it came up last. Its bytes; all there
    /// are where there is none.
    fn let_one_go(&mut self) -> usize {
        while let Some(key) = self.order.pop_front() {
            let Some(held) = self.held.get_mut(&key) else {
                continue;
            };
            if std::mem::take(&mut held.used) {
                self.order.push_back(key);
                continue;
            }
            let bytes = held.bytes;
            self.held.remove(&key);
            self.bytes -= bytes;
            return bytes;
        }
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_config::Size;
    use mcp_ultra_domain::cache::Hints;
    use mcp_ultra_protocol::{Era, json::Object};

    use super::*;
    use crate::cache::entry::Times;

    fn memory() -> Memory {
        Memory::new(&CacheSection {
            memory: Size::mib(1),
            ..CacheSection::default()
        })
    }

    fn entry(bytes: usize, lasts: u64) -> Arc<Entry> {
        let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes));
        let object = Object::parse(&text).unwrap();
        let times = Times {
            asked: Duration::ZERO,
            lasts: Duration::from_secs(lasts),
            stale: Duration::ZERO,
            moment: 0,
        };
        Arc::new(Entry::new(&object, Era::Modern, Hints::default(), times))
    }

    fn of(subject: u16) -> Of {
        let subject = Some(Tag::Subject(subject));
        Of {
            server: "s".into(),
            tags: [None, None, Some(Tag::Tenant(1)), subject, None],
        }
    }

    #[test]
    fn memory_is_bounded_and_a_tenant_has_its_share() {
        let memory = memory();
        let (quiet, loud): (Arc<str>, Arc<str>) = ("quiet".into(), "loud".into());
        for number in 0..100 {
            memory.put(&quiet, Key::of_number(number), entry(1000, 60), of(0));
        }
        for number in 1000..10_000 {
            memory.put(&loud, Key::of_number(number), entry(1000, 60), of(0));
            assert!(memory.size().1 <= 1024 * 1024);
        }
        let stays =
            (0..100).filter(|number| memory.get("quiet", &Key::of_number(*number)).is_some());
        assert_eq!(stays.count(), 100, "another tenant pushes nothing out");
        let (count, bytes) = memory.size();
        assert!((400..600).contains(&count), "{count}");
        assert!(bytes <= 1024 * 1024 * 6 / 10 + 150_000, "{bytes}");
        assert!(
            memory.get("loud", &Key::of_number(1)).is_none(),
            "of another tenant"
        );
        let [(_, room), ..] = memory.evicted();
        assert!(room > 8000, "{room}");
    }

    #[test]
    fn what_is_used_stays() {
        let memory = memory();
        let tenant: Arc<str> = "t".into();
        let used = Key::of_number(0);
        memory.put(&tenant, used, entry(1000, 60), of(0));
        for number in 1..10_000 {
            memory.put(&tenant, Key::of_number(number), entry(1000, 60), of(0));
            assert!(memory.get("t", &used).is_some(), "{number}");
        }
    }

    #[test]
    fn what_is_too_large_or_too_old_is_not_there() {
        let memory = memory();
        let tenant: Arc<str> = "t".into();
        memory.put(&tenant, Key::of_number(1), entry(200_000, 60), of(0));
        assert_eq!(memory.size(), (0, 0));
        memory.put(&tenant, Key::of_number(2), entry(10, 60), of(0));
        memory.put(&tenant, Key::of_number(2), entry(20, 60), of(0));
        memory.put(&tenant, Key::of_number(3), entry(10, 30), of(0));
        assert_eq!(memory.size().0, 2);
        memory.sweep(Duration::from_secs(30), |_, _| true);
        assert_eq!(memory.size().0, 1);
        memory.sweep(Duration::from_mins(1), |_, _| true);
        assert_eq!(memory.size(), (0, 0));
        assert_eq!(memory.evicted()[..2], [("room", 0), ("expired", 2)]);
    }

    #[test]
    fn what_is_to_be_forgotten_is_gone_and_the_rest_stays() {
        let memory = memory();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        for number in 0..40 {
            let subject = u16::try_from(number % 2).unwrap();
            memory.put(
                &one,
                Key::of_number(number << 8),
                entry(10, 60),
                of(subject),
            );
            memory.put(&other, Key::of_number(number), entry(10, 60), of(subject));
        }
        let (_, before) = memory.size();
        let is_one = |of: &Of| of.is_one("s", &[Tag::Subject(1)]);
        assert_eq!(memory.count("one", is_one), 20);
        assert_eq!(memory.count("nobody", is_one), 0);
        assert_eq!(
            memory.count("one", |of| of.is_one("t", &[Tag::Tenant(1)])),
            0
        );
        assert_eq!(memory.forget("one", is_one), 20);
        assert_eq!(memory.forget("one", is_one), 0);
        let (count, bytes) = memory.size();
        assert_eq!((count, bytes * 4), (60, before * 3));
        memory.sweep(Duration::ZERO, |of, _| !is_one(of));
        assert_eq!(memory.size().0, 40);
        let all = |of: &Of| of.is_one("s", &[Tag::Tenant(1)]);
        assert_eq!(
            (memory.forget("one", all), memory.forget("other", all)),
            (20, 20)
        );
        assert_eq!(memory.size(), (0, 0));
        assert_eq!(memory.evicted()[2], ("outdated", 80));
    }
}
