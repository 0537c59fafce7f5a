use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use mcp_ultra_domain::{ApiKey, Clock, Withdrawal, ports::KeyStore};
use parking_lot::Mutex;

use super::{
    Refused,
    key_secret::{self, Presented},
    keys::millis,
    verify::{Grounds, Verified},
};

/// A secret is looked up again where a key was changed meanwhile, so often.
const ATTEMPTS: usize = 3;
/// Keys that could not be read again are read again after so long, so that a change is known soon after
/// the store is back.
const AGAIN: Duration = Duration::from_secs(1);
/// Where no more are held, one part in so many is dropped, which is not done for each new one then.
const DROPPED: usize = 16;

/// Where API keys are, and how long what was read of them is believed.
#[derive(Clone)]
pub struct ApiKeySettings {
    /// Where they are kept.
    pub store: Arc<dyn KeyStore>,
    /// How often keys in use are read again: after this time a change that another process has
    /// made is known. When secrets were used is noted as often.
    pub recheck: Duration,
    /// How long keys serve while the store can't be read.
    pub max_age: Duration,
}

impl std::fmt::Debug for ApiKeySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeySettings").finish_non_exhaustive()
    }
}

/// The API keys that callers have shown.
pub(super) struct ApiKeys {
    settings: ApiKeySettings,
    clock: Arc<dyn Clock>,
    held: Mutex<HeldKeys>,
    /// How many are held: as many as tokens are remembered.
    most: usize,
}

/// What is believed is here, or withdrawn: nothing else is reached by a change of its key.
#[derive(Default)]
struct HeldKeys {
    /// By the part that a secret is found by.
    all: HashMap<String, Arc<Held>>,
    /// Counts what was forgotten, so that nothing is held that was read before.
    forgotten: u64,
}

/// A secret that was shown and verified.
pub(super) struct Held {
    key: String,
    revision: u64,
    /// When it ends, by what the store says.
    end: Duration,
    /// Of all principals that it has identified.
    withdrawal: Withdrawal,
    max_age: u64,
    /// Milliseconds since the Unix epoch, as the others.
    checked: AtomicU64,
    used: AtomicU64,
    noted: AtomicU64,
}

impl Held {
    /// Whether it may still be believed; notes that it was asked for.
    pub(super) fn is_good(&self, now: Duration) -> bool {
        let now = millis(now);
        self.used.store(now, Ordering::Relaxed);
        let until = self
            .checked
            .load(Ordering::Relaxed)
            .saturating_add(self.max_age);
        now < until && !self.withdrawal.is_withdrawn()
    }

    /// Whether another reading has found the same key, not changed since.
    fn is_same(&self, other: &Self) -> bool {
        (&self.key, self.revision, self.end) == (&other.key, other.revision, other.end)
    }
}

impl ApiKeys {
    pub(super) fn new(settings: ApiKeySettings, clock: Arc<dyn Clock>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            settings,
            clock,
            held: Mutex::default(),
            most,
        })
    }

    /// Looks a secret up.
    pub(super) async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        let presented = key_secret::read(token).ok_or(Refused::Malformed)?;
        for _ in 0..ATTEMPTS {
            let forgotten = self.held.lock().forgotten;
            let found = self.settings.store.find(presented.lookup).await;
            let key = found.map_err(|error| {
                tracing::warn!(%error, "an API key can't be checked");
                Refused::Unavailable
            })?;
            let key = key.ok_or(Refused::UnknownKey)?;
            let held = self.judge(&key, &presented)?;
            if let Some(held) = self.hold(presented.lookup, held, forgotten) {
                return Ok(Verified {
                    principal: key.principal(held.end, &held.withdrawal),
                    binding: None,
                    until: held.end,
                    grounds: Grounds::ApiKey(held),
                });
            }
        }
        Err(Refused::Unavailable)
    }

    fn judge(&self, key: &ApiKey, presented: &Presented<'_>) -> Result<Held, Refused> {
        let now = self.clock.now();
        let mut secrets = key.secrets.iter();
        let secret = secrets.find(|one| one.lookup == presented.lookup);
        let secret = secret.ok_or(Refused::UnknownKey)?;
        if verify_slices_are_equal(&secret.digest, &presented.digest).is_err() {
            return Err(Refused::Signature);
        }
        if key.revoked.is_some() {
            return Err(Refused::Revoked);
        }
        let end = key.ends(&secret.lookup, now).ok_or(Refused::Expired)?;
        Ok(Held {
            key: key.id.clone(),
            revision: key.revision,
            end,
            withdrawal: Withdrawal::default(),
            max_age: millis(self.settings.max_age),
            checked: AtomicU64::new(millis(now)),
            used: AtomicU64::new(millis(now)),
            noted: AtomicU64::new(secret.last_used.map_or(0, millis)),
        })
    }

    /// Ends what is known of a key, with the streams of its principal: it was changed.
    pub(super) fn forget(&self, key: &str) {
        let mut held = self.held.lock();
        held.forgotten += 1;
        held.all.retain(|_, held| {
            let other = held.key != key;
            if !other {
                held.withdrawal.withdraw();
            }
            other
        });
    }

    /// Holds what was read when so much had been forgotten, and returns what is held of the secret
    /// then: what was there, if it is the same, so that one change ends all that goes on for it.
    /// `None` if something has been forgotten since.
    fn hold(&self, lookup: &str, new: Held, forgotten: u64) -> Option<Arc<Held>> {
        let mut held = self.held.lock();
        if held.forgotten != forgotten {
            return None;
        }
        if let Some(known) = held.all.get(lookup) {
            if known.is_same(&new) && !known.withdrawal.is_withdrawn() {
                let now = new.checked.into_inner();
                known.checked.store(now, Ordering::Relaxed);
                known.used.store(now, Ordering::Relaxed);
                return Some(known.clone());
            }
            known.withdrawal.withdraw();
        } else if held.all.len() >= self.most {
            held.drop_oldest(self.most.div_ceil(DROPPED));
        }
        let new = Arc::new(new);
        held.all.insert(lookup.to_owned(), new.clone());
        Some(new)
    }

    /// Reads keys in use again and notes when they were used, for as long as there is anyone to
    /// know them for.
    pub(super) async fn keep_up(keys: Weak<Self>) {
        let mut are_known = true;
        loop {
            let Some(recheck) = keys.upgrade().map(|keys| keys.settings.recheck) else {
                return;
            };
            let pause = if are_known {
                recheck
            } else {
                recheck.min(AGAIN)
            };
            tokio::time::sleep(pause).await;
            let Some(keys) = keys.upgrade() else { return };
            keys.note_uses().await;
            are_known = keys.recheck().await;
        }
    }

    /// Tells the store when secrets were used.
    pub(super) async fn note_uses(&self) {
        let uses: Vec<_> = {
            let held = self.held.lock();
            let used = held.all.iter().filter_map(|(lookup, held)| {
                let used = held.used.load(Ordering::Relaxed);
                let noted = held.noted.swap(used, Ordering::Relaxed);
                (used > noted).then(|| (lookup.clone(), Duration::from_millis(used)))
            });
            used.collect()
        };
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.settings.store.used(&uses).await {
            tracing::warn!(%error, "the last use of API keys can't be noted");
        }
    }

    /// Reads all that are held again. `false` where the store can't be read: what was not read again
    /// is as it was.
    pub(super) async fn recheck(&self) -> bool {
        let held: Vec<_> = {
            let held = self.held.lock();
            let all = held.all.iter();
            all.map(|(lookup, held)| (lookup.clone(), held.clone()))
                .collect()
        };
        for (lookup, held) in held {
            let found = match self.settings.store.find(&lookup).await {
                Ok(found) => found,
                Err(error) => {
                    // What is held is good until its maximum age.
                    tracing::warn!(%error, "API keys can't be read again");
                    return false;
                }
            };
            let now = self.clock.now();
            let same = found.is_some_and(|key| {
                key.revision == held.revision && key.ends(&lookup, now) == Some(held.end)
            });
            if same {
                held.checked.store(millis(now), Ordering::Relaxed);
            } else {
                held.withdrawal.withdraw();
                let mut all = self.held.lock();
                all.all.retain(|_, one| !Arc::ptr_eq(one, &held));
            }
        }
        true
    }
}

impl HeldKeys {
    /// Drops so many that were not used for longest. Their streams end: nobody would end them when
    /// the key is changed. Who is behind them is looked up again.
    fn drop_oldest(&mut self, count: usize) {
        let used = |held: &Held| held.used.load(Ordering::Relaxed);
        let mut times: Vec<u64> = self.all.values().map(|held| used(held)).collect();
        times.sort_unstable();
        let Some(&last) = times.get(count.saturating_sub(1)) else {
            return;
        };
        let mut left = count;
        self.all.retain(|_, held| {
            let stays = left == 0 || used(held) > last;
            if !stays {
                held.withdrawal.withdraw();
                left -= 1;
            }
            stays
        });
    }
}
