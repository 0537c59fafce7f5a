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
use parking_lot::Mutex;

use super::{Entry, Key};

/// Workers look at the same time; each of these has a lock of its own.
const SHARDS: usize = 8;
/// What keeping an answer takes besides it.
const OVERHEAD: usize = 160;

pub(super) struct Memory {
    shards: [Mutex<Shard>; SHARDS],
    /// How many bytes a shard may hold, and how many of them one tenant's.
    most: AtomicUsize,
    share: AtomicUsize,
    evicted: [AtomicU64; 2],
}

/// Why an answer was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evicted {
    /// There was no room.
    Room,
    /// It was too old.
    Expired,
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

struct Held {
    entry: Arc<Entry>,
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

    pub(super) fn put(&self, tenant: &Arc<str>, key: Key, entry: Arc<Entry>) {
        let share = self.share.load(Ordering::Relaxed);
        let bytes = entry.size() + OVERHEAD;
        if bytes > share {
            return;
        }
        let mut shard = self.shard(&key).lock();
        shard.put(tenant, key, entry, bytes);
        let most = self.most.load(Ordering::Relaxed);
        let gone = shard.make_room(tenant, share, most);
        self.count(Evicted::Room, gone);
    }

    /// Lets go what is of no use at `now`.
    pub(super) fn sweep(&self, now: Duration) {
        for shard in &self.shards {
            let gone = shard.lock().sweep(now);
            self.count(Evicted::Expired, gone);
        }
    }

    fn count(&self, why: Evicted, count: usize) {
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

    pub(super) fn evicted(&self) -> [(&'static str, u64); 2] {
        let of = |why: Evicted| self.evicted[why as usize].load(Ordering::Relaxed);
        [
            ("room", of(Evicted::Room)),
            ("expired", of(Evicted::Expired)),
        ]
    }
}

impl Shard {
    fn put(&mut self, tenant: &Arc<str>, key: Key, entry: Arc<Entry>, bytes: usize) {
        let part = self.tenants.entry(tenant.clone()).or_default();
        let held = Held {
            entry,
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

    fn sweep(&mut self, now: Duration) -> usize {
        let mut gone = 0;
        let mut freed = 0;
        for part in self.tenants.values_mut() {
            let before = (part.held.len(), part.bytes);
            part.held.retain(|_, held| held.entry.is_of_use(now));
            if part.held.len() == before.0 {
                continue;
            }
            part.order.retain(|key| part.held.contains_key(key));
            part.bytes = part.held.values().map(|held| held.bytes).sum();
            gone += before.0 - part.held.len();
            freed += before.1 - part.bytes;
        }
        self.bytes -= freed;
        self.tenants.retain(|_, part| !part.held.is_empty());
        gone
    }
}

impl Part {
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

    #[test]
    fn memory_is_bounded_and_a_tenant_has_its_share() {
        let memory = memory();
        let (quiet, loud): (Arc<str>, Arc<str>) = ("quiet".into(), "loud".into());
        for number in 0..100 {
            memory.put(&quiet, Key::of_number(number), entry(1000, 60));
        }
        for number in 1000..10_000 {
            memory.put(&loud, Key::of_number(number), entry(1000, 60));
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
        let [(_, room), _] = memory.evicted();
        assert!(room > 8000, "{room}");
    }

    #[test]
    fn what_is_used_stays() {
        let memory = memory();
        let tenant: Arc<str> = "t".into();
        let used = Key::of_number(0);
        memory.put(&tenant, used, entry(1000, 60));
        for number in 1..10_000 {
            memory.put(&tenant, Key::of_number(number), entry(1000, 60));
            assert!(memory.get("t", &used).is_some(), "{number}");
        }
    }

    #[test]
    fn what_is_too_large_or_too_old_is_not_there() {
        let memory = memory();
        let tenant: Arc<str> = "t".into();
        memory.put(&tenant, Key::of_number(1), entry(200_000, 60));
        assert_eq!(memory.size(), (0, 0));
        memory.put(&tenant, Key::of_number(2), entry(10, 60));
        memory.put(&tenant, Key::of_number(2), entry(20, 60));
        memory.put(&tenant, Key::of_number(3), entry(10, 30));
        assert_eq!(memory.size().0, 2);
        memory.sweep(Duration::from_secs(30));
        assert_eq!(memory.size().0, 1);
        memory.sweep(Duration::from_mins(1));
        assert_eq!(memory.size(), (0, 0));
        assert_eq!(memory.evicted(), [("room", 0), ("expired", 2)]);
    }
}
