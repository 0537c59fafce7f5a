//! What gateways keep for each other: the second level. It is asked only where this process has nothing.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use mcp_ultra_domain::{
    cache::{Outdated, Tag},
    ports::CacheStore,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Asked, Entry, Key, asked::of_those, entry::Restored, untold::Others};
use crate::{random, vault::Vault};

/// How long one of many gateways is waited for that asks a server, and how long it may take before
/// another one does.
const PATIENCE: Duration = Duration::from_secs(5);
const CLAIM: Duration = Duration::from_secs(10);
/// How often it is looked meanwhile, at first and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// The second level.
pub(crate) struct Shared {
    store: Arc<dyn CacheStore>,
    pub(crate) vault: Vault,
    /// Who this process is.
    owner: String,
    claims: AtomicU64,
    /// What this process has kept there, as long as it lasts.
    kept: Mutex<Kept>,
    /// What the store does not know yet to be outdated. That is not taken from there meanwhile.
    pub(super) others: Arc<Others>,
}

/// What was found out before a server is asked, without which its answer is kept for nobody else.
#[derive(Debug)]
pub(crate) struct Place {
    group: String,
    names: Vec<String>,
    generations: Vec<String>,
    /// As whom this was taken up for the call, where it was.
    claimed: Option<String>,
}

/// As it is sealed, in front of the body.
#[derive(Serialize, Deserialize)]
struct Head {
    asked: u64,
    fresh: u64,
    stale: u64,
    hinted: Option<u64>,
    public: bool,
    generations: Vec<String>,
}

/// What comes of a look.
pub(crate) enum Found {
    /// This may be given.
    Kept(Arc<Entry>),
    /// It is not there: the server has to be asked, and its answer belongs here, if anywhere.
    Missing(Option<Box<Place>>),
}

impl Shared {
    /// Of this process there are `most` bytes there, about.
    pub(crate) fn new(store: Arc<dyn CacheStore>, vault: Vault, most: usize) -> Self {
        Self {
            store,
            vault,
            owner: random::identifier(),
            claims: AtomicU64::default(),
            kept: Mutex::new(Kept {
                until: VecDeque::new(),
                bytes: 0,
                most,
            }),
            others: Arc::default(),
        }
    }

    /// Looks for an answer of `moment` that is fresh at `now`. Where another gateway asks the server
    /// for it just now, that is waited for, if at all for no longer than `patience`.
    pub(crate) async fn find(
        &self,
        asked: &Asked,
        moment: u64,
        now: impl Fn() -> Duration,
        patience: Option<Duration>,
    ) -> Found {
        let begun = tokio::time::Instant::now();
        let mut pause = LOOK.0;
        loop {
            let Some((mut place, entry)) = self.look(asked, moment).await else {
                return Found::Missing(None);
            };
            if let Some(entry) = entry.filter(|entry| entry.is_fresh(now())) {
                return Found::Kept(Arc::new(entry));
            }
            let Some(patience) = patience else {
                return Found::Missing(Some(Box::new(place)));
            };
            let number = self.claims.fetch_add(1, Ordering::Relaxed);
            let owner = format!("{}-{number}", self.owner);
            let claim = self
                .store
                .claim(&place.group, &place.names[0], &owner, CLAIM);
            place.claimed = claim.await.then_some(owner);
            if place.claimed.is_some() || begun.elapsed() >= PATIENCE.min(patience) {
                return Found::Missing(Some(Box::new(place)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// `None` where nothing is known now.
    async fn look(&self, asked: &Asked, moment: u64) -> Option<(Place, Option<Entry>)> {
        if self.others.have_yet_to_know(&asked.server, asked.tags()) {
            return None;
        }
        let group = self.group(&asked.server);
        let keys = [Some(&asked.keys.own), asked.keys.common.as_ref()];
        let names: Vec<String> = keys
            .into_iter()
            .flatten()
            .map(|key| self.key(asked, key))
            .collect();
        let tags: Vec<String> = asked
            .tags()
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        let refs: Vec<&str> = names.iter().map(|name| &**name).collect();
        let found = self.store.find(&group, &refs, &tags).await?;
        let entries = names.iter().zip(found.values).filter_map(|(name, value)| {
            let opened = self.vault.open(asked.tenant(), name, &value?)?;
            let (entry, generations) = read(&opened, moment)?;
            let now = of_those(asked.tags(), &found.generations, entry.is_public);
            (generations == now).then_some(entry)
        });
        let entry = entries.max_by_key(|entry| entry.fresh_until);
        let place = Place {
            group,
            names,
            generations: found.generations,
            claimed: None,
        };
        Some((place, entry))
    }

    /// Keeps an answer for the others.
    pub(crate) async fn keep(&self, asked: &Asked, place: &Place, entry: &Entry, now: Duration) {
        let common = place.names.get(1).filter(|_| entry.is_public);
        let Some(name) = common.or(place.names.first()) else {
            return;
        };
        let lasts = entry.stale_until.saturating_sub(now);
        let generations = of_those(asked.tags(), &place.generations, entry.is_public);
        let content = written(entry, generations);
        let sealed = content.and_then(|content| self.vault.seal(asked.tenant(), name, &content));
        if let Some(sealed) = sealed
            && !lasts.is_zero()
            && self
                .kept
                .lock()
                .has_room(sealed.len(), entry.stale_until, now)
        {
            self.store.keep(&place.group, name, &sealed, lasts).await;
        }
    }

    /// Lets others ask the server.
    pub(crate) async fn release(&self, place: &Place) {
        if let Some(owner) = &place.claimed {
            let key = &place.names[0];
            self.store.release(&place.group, key, owner).await;
        }
    }

    /// Tells the store what is outdated of a server; whether it knows.
    pub(crate) async fn outdate(&self, server: &str, what: &[Outdated]) -> bool {
        let tags: BTreeSet<Tag> = what.iter().flat_map(|what| what.tags()).collect();
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        self.store.outdate(&self.group(server), &tags).await
    }

    pub(super) fn store(&self) -> &dyn CacheStore {
        &*self.store
    }

    pub(super) fn group(&self, server: &str) -> String {
        self.vault.name(&[b"server", server.as_bytes()])
    }

    fn key(&self, asked: &Asked, key: &Key) -> String {
        let (server, headers) = (&asked.fingerprint, &asked.headers);
        self.vault.name(&[b"answer", server, headers, key.digest()])
    }
}

/// What was kept in the store, in its order.
struct Kept {
    until: VecDeque<(Duration, usize)>,
    bytes: usize,
    most: usize,
}

impl Kept {
    /// Whether there is room for so many bytes, which are counted then. Others would have to go for
    /// them otherwise, and those of the store may not be answers.
    fn has_room(&mut self, bytes: usize, until: Duration, now: Duration) -> bool {
        while let Some((ends, freed)) = self.until.front()
            && *ends <= now
        {
            self.bytes -= freed;
            self.until.pop_front();
        }
        if self.bytes + bytes > self.most {
            return false;
        }
        self.bytes += bytes;
        self.until.push_back((until, bytes));
        true
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn written(entry: &Entry, generations: Vec<String>) -> Option<Vec<u8>> {
    let parts = entry.parts();
    let head = Head {
        asked: millis(entry.asked),
        fresh: millis(entry.fresh_until),
        stale: millis(entry.stale_until),
        hinted: parts.1.map(millis),
        public: entry.is_public,
        generations,
    };
    let mut bytes = serde_json::to_vec(&head).ok()?;
    bytes.push(b'\n');
    bytes.extend_from_slice(parts.0.as_bytes());
    Some(bytes)
}

fn read(bytes: &[u8], moment: u64) -> Option<(Entry, Vec<String>)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let body = std::str::from_utf8(&bytes[end + 1..]).ok()?;
    let at = Duration::from_millis;
    let entry = Entry::restored(Restored {
        body,
        hinted: head.hinted.map(at),
        is_public: head.public,
        asked: at(head.asked),
        fresh_until: at(head.fresh),
        stale_until: at(head.stale),
        moment,
    });
    Some((entry, head.generations))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_elsewhere_is_bounded() {
        let at = Duration::from_secs;
        let mut kept = Kept {
            until: VecDeque::new(),
            bytes: 0,
            most: 100,
        };
        assert!(kept.has_room(60, at(10), at(0)));
        assert!(kept.has_room(40, at(20), at(0)));
        assert!(!kept.has_room(1, at(20), at(9)));
        assert!(kept.has_room(60, at(20), at(10)), "the first is over");
        assert!(!kept.has_room(1, at(20), at(19)));
        assert!(kept.has_room(100, at(30), at(20)));
    }
}
