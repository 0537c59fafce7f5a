use std::{hash::Hash, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use mcp_ultra_domain::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    AccessToken, CredentialError,
    gate::{Failure, Failures},
};
use crate::recent::Recent;

/// How many tokens are kept for one upstream.
const MOST: usize = 10_000;
/// How old a token is at least that is replaced because the upstream does not accept it: where it
/// accepts none, not every call asks for another one.
const LEAST_AGE: Duration = Duration::from_secs(2);

/// Access tokens by whom they are for. One request is made for all who wait, in a task of its own,
/// so that none who goes away ends it for the others. A token that is due is replaced in the
/// background while it still serves. After a failure nobody asks for the same key for a while.
pub struct TokenCache<K> {
    slots: Mutex<Recent<K, Arc<Slot>>>,
    clock: Arc<dyn Clock>,
}

/// The token of one key.
#[derive(Default)]
struct Slot {
    held: ArcSwapOption<AccessToken>,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    /// Completes when the request under way has ended.
    running: Option<watch::Receiver<()>>,
    failed: Failures,
}

impl<K: Hash + Eq + Clone> TokenCache<K> {
    /// An empty cache.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            slots: Mutex::default(),
            clock,
        }
    }

    /// The token of `key`, or the one that `fetch` gets. That is called with what is held where
    /// another one is needed; its future runs to its end whoever waits, and has to bound its time
    /// itself. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CredentialError`] of the request, or of the one before where that has failed just now.
    pub async fn get<F>(
        &self,
        key: &K,
        fetch: impl FnOnce(Option<Arc<AccessToken>>) -> F,
    ) -> Result<Arc<AccessToken>, CredentialError>
    where
        F: Future<Output = Result<AccessToken, Failure>> + Send + 'static,
    {
        let now = self.clock.now();
        let slot = self.slot(key);
        if let Some(token) = slot.good(now) {
            if token.is_due(now) {
                // The old one still serves: nobody waits, and a failure is only logged.
                drop(self.begin(&slot, now, fetch));
            }
            return Ok(token);
        }
        let mut running = self.begin(&slot, now, fetch)?;
        // Its end closes the channel.
        drop(running.changed().await);
        let now = self.clock.now();
        let failed = || slot.turn.lock().failed.last.map(|(error, _)| error);
        slot.good(now)
            .ok_or_else(|| failed().unwrap_or(CredentialError::Unavailable))
    }

    /// An upstream has not accepted `token` (401). Says whether another one is worth a try, and
    /// forgets this one then.
    pub fn rejected(&self, key: &K, token: &Arc<AccessToken>) -> bool {
        let now = self.clock.now();
        let slot = self.slot(key);
        let held = slot.held.load_full();
        if held.is_some_and(|held| held.header() != token.header()) {
            return true;
        }
        if now < token.fetched().saturating_add(LEAST_AGE) {
            return false;
        }
        slot.held.store(None);
        true
    }

    /// The token of `key` that is kept.
    pub fn held(&self, key: &K) -> Option<Arc<AccessToken>> {
        self.slot(key).held.load_full()
    }

    /// Forgets the token of `key`: it is fetched anew when it is needed next.
    pub fn forget(&self, key: &K) {
        self.slots.lock().remove(key);
    }

    /// Forgets failures, since what they were about has changed.
    pub fn forgive(&self) {
        self.slots.lock().retain(|slot| {
            slot.turn.lock().failed = Failures::default();
            true
        });
    }

    /// Forgets tokens that have ended.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.slots.lock().retain(|slot| {
            let turn = slot.turn.lock();
            let running = turn.running.as_ref().is_some_and(is_running);
            slot.good(now).is_some() || running || turn.failed.standing(now).is_some()
        });
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.slots.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot(&self, key: &K) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key, MOST) {
            return slot;
        }
        let slot = Arc::<Slot>::default();
        slots.insert(key.clone(), slot.clone(), MOST);
        slot
    }

    /// The request under way, or a new one.
    fn begin<F>(
        &self,
        slot: &Arc<Slot>,
        now: Duration,
        fetch: impl FnOnce(Option<Arc<AccessToken>>) -> F,
    ) -> Result<watch::Receiver<()>, CredentialError>
    where
        F: Future<Output = Result<AccessToken, Failure>> + Send + 'static,
    {
        let mut turn = slot.turn.lock();
        if let Some(running) = turn.running.as_ref().filter(|running| is_running(running)) {
            return Ok(running.clone());
        }
        if let Some((error, _)) = turn.failed.standing(now) {
            return Err(error);
        }
        let (end, running) = watch::channel(());
        turn.running = Some(running.clone());
        let (fetching, slot) = (fetch(slot.held.load_full()), slot.clone());
        let clock = self.clock.clone();
        tokio::spawn(async move {
            let outcome = fetching.await;
            slot.take(outcome, clock.now());
            drop(end);
        });
        Ok(running)
    }
}

fn is_running(running: &watch::Receiver<()>) -> bool {
    running.has_changed().is_ok()
}

impl Slot {
    fn good(&self, now: Duration) -> Option<Arc<AccessToken>> {
        let held = self.held.load();
        held.as_ref().filter(|token| token.is_good(now)).cloned()
    }

    fn take(&self, outcome: Result<AccessToken, Failure>, now: Duration) {
        let mut turn = self.turn.lock();
        let Failure { error, until } = match outcome {
            Ok(token) => {
                self.held.store(Some(Arc::new(token)));
                turn.failed = Failures::default();
                return;
            }
            Err(failure) => failure,
        };
        match until {
            Some(until) => turn.failed.tell(error, until),
            // It can be granted at any moment, and nobody but the store is asked. What was granted
            // before is no more.
            None if error == CredentialError::NotGranted => {
                self.held.store(None);
                turn.failed.tell(error, now);
            }
            None => turn.failed.count(error, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use mcp_ultra_domain::ManualClock;

    use super::*;
    use crate::credentials::{TokenAnswer, gate::Gate};

    struct Rig {
        clock: Arc<ManualClock>,
        gate: Arc<Gate>,
        cache: TokenCache<&'static str>,
        asked: Arc<AtomicUsize>,
    }

    fn rig() -> Rig {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(1_000)));
        Rig {
            cache: TokenCache::new(clock.clone()),
            clock,
            gate: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// How a request goes.
    #[derive(Clone, Copy)]
    struct Way {
        lifetime: u64,
        takes: u64,
        fails: Option<CredentialError>,
    }

    const FINE: Way = Way {
        lifetime: 100,
        takes: 0,
        fails: None,
    };
    const DOWN: Way = Way {
        fails: Some(CredentialError::Unavailable),
        ..FINE
    };

    impl Rig {
        fn pass(&self, seconds: u64) {
            self.clock.advance(Duration::from_secs(seconds));
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        async fn get(&self, key: &'static str, way: Way) -> Result<String, CredentialError> {
            let token = self.token(key, way).await?;
            Ok(token.header().to_str().unwrap().to_owned())
        }

        async fn token(
            &self,
            key: &'static str,
            way: Way,
        ) -> Result<Arc<AccessToken>, CredentialError> {
            let (asked, clock) = (self.asked.clone(), self.clock.clone());
            let gate = self.gate.clone();
            let fetch = |_| async move {
                gate.pass(clock.now())?;
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::time::sleep(Duration::from_millis(way.takes)).await;
                gate.take(way.fails, clock.now());
                if let Some(error) = way.fails {
                    return Err(error.into());
                }
                let answer = TokenAnswer {
                    access_token: format!("{key}{number}").into(),
                    expires_in: Some(Duration::from_secs(way.lifetime)),
                    refresh_token: None,
                    issued_token_type: None,
                    scope: None,
                    id_token: None,
                };
                Ok(AccessToken::new(&answer, clock.now(), None).unwrap())
            };
            self.cache.get(&key, fetch).await
        }

        async fn settle(&self) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_have_one_request() {
        let rig = rig();
        let slow = Way { takes: 50, ..FINE };
        let all = join_all((0..100).map(|_| rig.get("a", slow))).await;
        assert!(all.iter().all(|one| one.as_deref() == Ok("Bearer a1")));
        assert_eq!(rig.get("b", FINE).await.unwrap(), "Bearer b2");
        assert_eq!(rig.get("a", FINE).await.unwrap(), "Bearer a1");
        assert_eq!(rig.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_outlives_who_began_it() {
        let rig = rig();
        let slow = Way { takes: 50, ..FINE };
        let began = tokio::time::timeout(Duration::from_millis(10), rig.get("a", slow)).await;
        assert!(began.is_err());
        assert_eq!(rig.get("a", slow).await.unwrap(), "Bearer a1");
        assert_eq!(rig.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_while_it_still_serves() {
        let rig = rig();
        rig.get("a", FINE).await.unwrap();
        rig.pass(71);
        let slow = Way { takes: 50, ..FINE };
        for _ in 0..5 {
            assert_eq!(rig.get("a", slow).await.unwrap(), "Bearer a1", "at once");
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(rig.get("a", FINE).await.unwrap(), "Bearer a2");
        assert_eq!(rig.asked(), 2);
        rig.pass(91);
        assert_eq!(
            rig.get("a", FINE).await.unwrap(),
            "Bearer a3",
            "it had ended"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_replacement_that_fails_hurts_nobody_while_the_token_serves() {
        let rig = rig();
        rig.get("a", FINE).await.unwrap();
        rig.pass(75);
        for _ in 0..50 {
            assert_eq!(rig.get("a", DOWN).await.unwrap(), "Bearer a1");
            rig.settle().await;
        }
        assert_eq!(rig.asked(), 2, "and it is not asked for with every call");
        rig.pass(20);
        assert_eq!(rig.get("a", DOWN).await, Err(CredentialError::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn an_authorization_server_that_is_down_is_left_alone() {
        let rig = rig();
        for _ in 0..50 {
            let failed = rig.get("a", DOWN).await;
            assert_eq!(failed, Err(CredentialError::Unavailable));
        }
        assert_eq!(rig.asked(), 1);
        assert!(rig.get("b", FINE).await.is_err(), "whoever asks");
        // 1, 2, 4, 8, 16, 30, 30 ... seconds.
        for _ in 0..300 {
            rig.pass(1);
            assert!(rig.get("a", DOWN).await.is_err());
            assert!(rig.get("b", DOWN).await.is_err());
        }
        assert!((10..=30).contains(&rig.asked()), "{}", rig.asked());
        rig.pass(31);
        assert!(rig.get("a", FINE).await.is_ok());
        rig.pass(31);
        assert!(rig.get("b", FINE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_of_one_key_and_is_forgiven() {
        let rig = rig();
        let refused = Way {
            fails: Some(CredentialError::CallerRefused),
            ..FINE
        };
        for _ in 0..5 {
            let failed = rig.get("a", refused).await;
            assert_eq!(failed, Err(CredentialError::CallerRefused));
        }
        assert!(rig.get("b", FINE).await.is_ok());
        assert_eq!(rig.asked(), 2);
        rig.cache.forgive();
        assert!(rig.get("a", FINE).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_not_accepted_is_replaced_but_not_with_every_call() {
        let rig = rig();
        let first = rig.token("a", FINE).await.unwrap();
        assert!(!rig.cache.rejected(&"a", &first), "it is new");
        rig.pass(3);
        assert!(rig.cache.rejected(&"a", &first));
        let second = rig.token("a", FINE).await.unwrap();
        assert!(rig.cache.rejected(&"a", &first), "there is another one");
        assert_eq!(rig.get("a", FINE).await.unwrap(), "Bearer a2");
        assert!(!rig.cache.rejected(&"a", &second));
        assert_eq!(rig.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_is_forgotten() {
        let rig = rig();
        rig.get("a", FINE).await.unwrap();
        rig.cache.sweep();
        assert_eq!(rig.cache.len(), 1);
        rig.pass(100);
        rig.cache.sweep();
        assert!(rig.cache.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tokens_is_bounded() {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(1_000)));
        let cache = TokenCache::new(clock);
        for number in 0..MOST * 3 {
            let failed = |_| async { Err(CredentialError::CallerRefused.into()) };
            assert!(cache.get(&number, failed).await.is_err());
        }
        assert!(cache.len() <= MOST, "{}", cache.len());
    }
}
