use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;

/// How many answers the one in memory keeps.
const MOST: usize = 10_000;

/// Where replicas keep answers for each other. It sees sealed bytes and names that say nothing, and may
/// lose all of them at any moment.
///
/// What belongs together, the answers of one server, is a group. What makes answers outdated is a
/// generation of a tag in it: a text that is another one once the tag was [outdated](Self::outdate), and
/// also once the store has lost it. An answer is of use only while the generations are those of when it
/// was asked for, which its reader looks after.
#[async_trait]
pub trait CacheStore: Send + Sync {
    /// What is kept in `group` under each of `keys`, and the generation of each of `tags`; `None` where
    /// that is not known now.
    async fn find(&self, group: &str, keys: &[&str], tags: &[String]) -> Option<CacheFound>;

    /// Keeps a value for so long. Whether it is kept is no matter.
    async fn keep(&self, group: &str, key: &str, value: &[u8], lasts: Duration);

    /// Gives tags another generation; `false` where it is not known whether they have one.
    async fn outdate(&self, group: &str, tags: &[String]) -> bool;

    /// Takes up a key for `owner`, for so long at most, so that one of many asks for what belongs there;
    /// `false` where another one has. `true` also where that is not known: nobody waits in vain.
    async fn claim(&self, group: &str, key: &str, owner: &str, lasts: Duration) -> bool;

    /// Gives up what `owner` has taken up. What another has taken up since then stays theirs.
    async fn release(&self, group: &str, key: &str, owner: &str);
}

/// What a [`CacheStore`] has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheFound {
    /// The values, in the order of the keys.
    pub values: Vec<Option<Vec<u8>>>,
    /// The generations, in the order of the tags.
    pub generations: Vec<String>,
}

/// Keeps them in this process: for tests of several gateways in one.
#[derive(Debug, Default)]
pub struct MemoryCacheStore {
    kept: Mutex<HashMap<Name, (Instant, Vec<u8>)>>,
    generations: Mutex<HashMap<Name, u64>>,
    claims: Mutex<HashMap<Name, (Instant, String)>>,
    next: AtomicU64,
}

/// A group and a key or tag in it.
type Name = (String, String);

impl MemoryCacheStore {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

fn of(group: &str, key: &str) -> Name {
    (group.to_owned(), key.to_owned())
}

#[async_trait]
impl CacheStore for MemoryCacheStore {
    async fn find(&self, group: &str, keys: &[&str], tags: &[String]) -> Option<CacheFound> {
        let now = Instant::now();
        let kept = self.kept.lock();
        let value = |key: &&str| {
            let (until, value) = kept.get(&of(group, key))?;
            (*until > now).then(|| value.clone())
        };
        let values = keys.iter().map(value).collect();
        let mut generations = self.generations.lock();
        let generation = |tag: &String| {
            let generation = generations.entry(of(group, tag));
            generation.or_insert_with(|| self.next()).to_string()
        };
        Some(CacheFound {
            values,
            generations: tags.iter().map(generation).collect(),
        })
    }

    async fn keep(&self, group: &str, key: &str, value: &[u8], lasts: Duration) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < MOST {
            kept.insert(of(group, key), (now + lasts, value.to_vec()));
        }
    }

    async fn outdate(&self, group: &str, tags: &[String]) -> bool {
        let mut generations = self.generations.lock();
        for tag in tags {
            generations.insert(of(group, tag), self.next());
        }
        true
    }

    async fn claim(&self, group: &str, key: &str, owner: &str, lasts: Duration) -> bool {
        let now = Instant::now();
        let mut claims = self.claims.lock();
        claims.retain(|_, (until, _)| *until > now);
        let claim = claims.entry(of(group, key));
        let (_, by) = claim.or_insert_with(|| (now + lasts, owner.to_owned()));
        by == owner
    }

    async fn release(&self, group: &str, key: &str, owner: &str) {
        let mut claims = self.claims.lock();
        let key = of(group, key);
        if claims.get(&key).is_some_and(|(_, by)| by == owner) {
            claims.remove(&key);
        }
    }
}
