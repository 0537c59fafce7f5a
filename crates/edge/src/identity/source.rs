use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Uri;
use mcp_ultra_domain::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Algorithm, KeyTimes, Refused,
    keys::{self, Key, KeySetError, millis},
};
use crate::issuer::{
    discovery::{self, DiscoveryError},
    fetch::{FetchError, Fetcher},
};

/// How many keys are tried for a token that names none.
const MOST_TRIED: usize = 4;

/// The keys of one issuer: asked for when needed, by one task while others wait, kept for a
/// bounded time, and asked for again at most every [`KeyTimes::retry`], whoever wants it.
pub(super) struct KeySource {
    issuer: String,
    given: Option<Uri>,
    found: Mutex<Option<Uri>>,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    times: KeyTimes,
    held: ArcSwap<Vec<Arc<Key>>>,
    /// When they are to be asked for again, in milliseconds since the Unix epoch.
    due: AtomicU64,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    last: Option<Duration>,
    /// Completes when the attempt under way has ended.
    running: Option<watch::Receiver<()>>,
}

#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    #[error("its keys: {0}")]
    Fetch(#[from] FetchError),
    #[error("its key set: {0}")]
    KeySet(#[from] KeySetError),
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
}

impl KeySource {
    pub(super) fn new(
        issuer: &str,
        jwks_uri: Option<&str>,
        fetcher: Fetcher,
        times: KeyTimes,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.to_owned(),
            given: jwks_uri.and_then(|uri| uri.parse().ok()),
            found: Mutex::default(),
            fetcher,
            clock,
            times,
            held: ArcSwap::default(),
            due: AtomicU64::new(0),
            turn: Mutex::default(),
        })
    }

    /// The keys that a token may be signed by, which is one where it names its key. Asks the
    /// issuer where there is none.
    pub(super) async fn candidates(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<Key>>, Refused> {
        if let Ok(keys) = self.look(id, algorithm) {
            self.touch(self.clock.now());
            return Ok(keys);
        }
        if let Some(mut attempt) = self.refresh() {
            // Its end closes the channel.
            drop(attempt.changed().await);
        }
        self.look(id, algorithm)
    }

    /// What has become of the [candidates](Self::candidates) of which none has signed a token: those
    /// that were not `tried`. Asks the issuer, which may have replaced a key by one of the same id, or
    /// of none.
    pub(super) async fn replaced(
        self: &Arc<Self>,
        tried: &[Arc<Key>],
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Vec<Arc<Key>> {
        if let Some(mut attempt) = self.refresh() {
            drop(attempt.changed().await);
        }
        let mut keys = self.look(id, algorithm).unwrap_or_default();
        keys.retain(|key| !tried.iter().any(|tried| Arc::ptr_eq(tried, key)));
        keys
    }

    /// When the issuer may be asked again, and the keys may be others.
    pub(super) fn again(&self) -> Duration {
        let last = self.turn.lock().last.unwrap_or_default();
        last.saturating_add(self.times.retry)
    }

    /// Asks for the keys again in the background, where it is time.
    pub(super) fn touch(self: &Arc<Self>, now: Duration) {
        if millis(now) >= self.due.load(Ordering::Relaxed) {
            let next = now.saturating_add(self.times.retry);
            self.due.store(millis(next), Ordering::Relaxed);
            drop(self.refresh());
        }
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<Arc<Key>>, Refused> {
        let now = self.clock.now();
        let held = self.held.load();
        let mut good = held.iter().filter(|key| key.is_good(now)).peekable();
        if good.peek().is_none() {
            return Err(Refused::Unavailable);
        }
        let (mut named, mut fitting) = (false, Vec::new());
        for key in good.filter(|key| id.is_none() || key.id() == id) {
            named = true;
            if key.fits(algorithm) && fitting.len() < MOST_TRIED {
                fitting.push(key.clone());
            }
        }
        match (named, fitting.is_empty()) {
            (_, false) => Ok(fitting),
            (true, true) => Err(Refused::Algorithm),
            (false, true) => Err(Refused::UnknownKey),
        }
    }

    /// The attempt under way, or a new one; `None` where the last was a moment ago. It has a task
    /// of its own: a client that goes away does not end it for the others.
    fn refresh(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut turn = self.turn.lock();
        if let Some(running) = &turn.running
            && running.has_changed().is_ok()
        {
            return Some(running.clone());
        }
        let now = self.clock.now();
        let soon = |last: Duration| now < last.saturating_add(self.times.retry);
        if turn.last.is_some_and(soon) {
            return None;
        }
        turn.last = Some(now);
        let (end, running) = watch::channel(());
        turn.running = Some(running.clone());
        let source = self.clone();
        tokio::spawn(async move {
            source.attempt().await;
            drop(end);
        });
        Some(running)
    }

    async fn attempt(&self) {
        let patience = self.times.timeout;
        let fetched = tokio::time::timeout(patience, self.fetch()).await;
        match fetched.unwrap_or(Err(SourceError::Timeout(patience))) {
            Ok(new) => self.take_over(new),
            Err(error) => {
                // It may have moved.
                *self.found.lock() = None;
                tracing::warn!(
                    issuer = self.issuer,
                    %error,
                    "the keys of an issuer can't be read; those that are known serve until their maximum age"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Arc<Key>>, SourceError> {
        if let Some(given) = &self.given {
            return Ok(keys::read(&self.fetcher.get(given).await?)?);
        }
        let known = self.found.lock().clone();
        let uri = match known {
            Some(uri) => uri,
            None => discovery::jwks_uri(&self.fetcher, &self.issuer).await?,
        };
        let origin = self.issuer.parse().map_err(|_| DiscoveryError::Url)?;
        let bytes = self.fetcher.get_found(&uri, &origin).await?;
        let keys = keys::read(&bytes)?;
        *self.found.lock() = Some(uri);
        Ok(keys)
    }

    fn take_over(&self, new: Vec<Arc<Key>>) {
        let now = self.clock.now();
        let old = self.held.load_full();
        // A key that stays is the same one: the tokens that it has verified stay known.
        let keys: Vec<_> = new
            .into_iter()
            .map(|key| {
                let known = old.iter().find(|known| known.is_same(&key));
                known.cloned().unwrap_or(key)
            })
            .collect();
        for key in &keys {
            key.is_good_until(now.saturating_add(self.times.max_age));
        }
        let gone = old
            .iter()
            .filter(|key| !keys.iter().any(|kept| Arc::ptr_eq(kept, key)));
        let mut withdrawn = 0;
        for key in gone {
            key.withdraw();
            withdrawn += 1;
        }
        let count = keys.len();
        self.held.store(Arc::new(keys));
        let next = now.saturating_add(self.times.refresh);
        self.due.store(millis(next), Ordering::Relaxed);
        tracing::debug!(issuer = self.issuer, keys = count, withdrawn, "keys read");
    }
}
