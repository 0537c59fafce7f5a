use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use mcp_ultra_domain::{ApiKey, Clock, Principal, Withdrawal, ports::KeyStore};
use parking_lot::Mutex;

use super::{
    Refused,
    key_secret::{self, Presented},
    keys::millis,
    verify::{Grounds, Verified},
};

/// A secret is looked up again where a key was changed meanwhile, so often.
const ATTEMPTS: usize = 3;

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
    /// By the part that a secret is found by. As many as tokens are remembered.
    held: Mutex<HeldKeys>,
    most: usize,
}

#[derive(Default)]
struct HeldKeys {
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
    withdrawal: Withdrawal,
    /// Milliseconds since the Unix epoch, as the others.
    checked: AtomicU64,
    max_age: AtomicU64,
    used: AtomicU64,
    noted: AtomicU64,
}

impl Held {
    /// Whether it may still be believed; notes that it was asked for.
    pub(super) fn is_good(&self, now: Duration) -> bool {
        let now = millis(now);
        self.used.store(now, Ordering::Relaxed);
        let until = self.checked.load(Ordering::Relaxed) + self.max_age.load(Ordering::Relaxed);
        now < until && !self.withdrawal.is_withdrawn()
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
            let (held, principal) = self.judge(&key, &presented)?;
            if self.hold(presented.lookup, &held, forgotten) {
                return Ok(Verified {
                    principal,
                    binding: None,
                    until: held.end,
                    grounds: Grounds::ApiKey(held),
                });
            }
        }
        Err(Refused::Unavailable)
    }

    fn judge(
        &self,
        key: &ApiKey,
        presented: &Presented<'_>,
    ) -> Result<(Arc<Held>, Principal), Refused> {
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
        let withdrawal = Withdrawal::default();
        let principal = key.principal(end, &withdrawal);
        let held = Held {
            key: key.id.clone(),
            revision: key.revision,
            end,
            withdrawal,
            checked: AtomicU64::new(millis(now)),
            max_age: AtomicU64::new(millis(self.settings.max_age)),
            used: AtomicU64::new(millis(now)),
            noted: AtomicU64::new(secret.last_used.map_or(0, millis)),
        };
        Ok((Arc::new(held), principal))
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

    /// Holds what was read when so much had been forgotten; `false` if something has been since.
    fn hold(&self, lookup: &str, new: &Arc<Held>, forgotten: u64) -> bool {
        let mut held = self.held.lock();
        if held.forgotten != forgotten {
            return false;
        }
        if held.all.len() >= self.most {
            let recheck = millis(self.settings.recheck);
            let oldest = millis(self.clock.now()).saturating_sub(recheck);
            let is_in_use = |one: &Held| one.used.load(Ordering::Relaxed) > oldest;
            held.all.retain(|_, one| {
                let stays = is_in_use(one);
                if !stays {
                    // Whoever shows it again is looked up again: nobody rechecks it now.
                    one.max_age.store(recheck, Ordering::Relaxed);
                }
                stays
            });
            if held.all.len() >= self.most {
                new.max_age.store(recheck, Ordering::Relaxed);
                return true;
            }
        }
        if let Some(before) = held.all.insert(lookup.to_owned(), new.clone())
            && before.revision != new.revision
        {
            before.withdrawal.withdraw();
        }
        true
    }

    /// Reads keys in use again and notes when they were used, for as long as there is anyone to
    /// know them for.
    pub(super) async fn keep_up(keys: Weak<Self>) {
        loop {
            let Some(pause) = keys.upgrade().map(|keys| keys.settings.recheck) else {
                return;
            };
            tokio::time::sleep(pause).await;
            let Some(keys) = keys.upgrade() else { return };
            keys.note_uses().await;
            keys.recheck().await;
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

    async fn recheck(&self) {
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
                    return;
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
    }
}
