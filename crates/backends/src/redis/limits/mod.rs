//! What is counted against limits, for all replicas.
//!
//! What each replica holds, and what it asks, is the domain's
//! ([`LeasedLimitStore`]); here is the one task that asks for all keys together, the
//! scripts that count ([`scripts`]), and how many replicas there are ([`replicas`]).

mod replicas;
mod scripts;

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use mcp_ultra_domain::{
    Clock,
    limits::lease::{Ask, Fleet},
    ports::{Due, LeasedLimitStore, LimitsKey},
};
use tokio::{
    select,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::{replicas::Replicas, scripts::Scripts};
use super::{Redis, link::Away};

/// How long questions are collected.
const ROUND: Duration = Duration::from_millis(5);
/// How many are asked at once. The others wait for the next round, so that a gateway that comes back
/// with many keys does not come with all of them.
const AT_ONCE: usize = 1000;
/// How long an answer may take until this gateway goes by its share.
const LATE: Duration = Duration::from_millis(50);
/// How often is looked for what was held for too long, and whether Redis is back.
const LOOK: Duration = Duration::from_millis(250);
/// How long the end waits until all was told and given back.
const FAREWELL: Duration = Duration::from_secs(1);

/// Asks Redis for what a [`LeasedLimitStore`] needs, as long as there is that.
struct Asker {
    redis: Redis,
    scripts: Scripts,
    replicas: Replicas,
    clock: Arc<dyn Clock>,
    due: Arc<Notify>,
    ends: Arc<Notify>,
}

/// Limits that are shared, and who asks for them.
pub struct Limits {
    /// What is counted against them.
    pub store: Arc<LeasedLimitStore>,
    ends: Arc<Notify>,
    asking: JoinHandle<()>,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// Tells what is not counted yet, gives back what is leased and not used, and counts this gateway
    /// no more, so that the others have all of it at once. It takes a second at most; what could not be
    /// said ends by its time, of a quota with the day.
    pub async fn end(self) {
        self.ends.notify_one();
        if timeout(FAREWELL, self.asking).await.is_err() {
            tracing::debug!("Redis was not told in time what is left of limits");
        }
    }
}

/// A store of limits that all gateways with the same Redis, prefix and `secret` share. It keeps
/// `most` keys of each scope here.
///
/// Waits until it knows how many gateways there are, where Redis answers.
pub async fn start(redis: &Redis, secret: &[u8], most: usize, clock: Arc<dyn Clock>) -> Limits {
    let due = Arc::new(Notify::new());
    let ends = Arc::new(Notify::new());
    let wake = due.clone();
    let key = LimitsKey::new(secret);
    let store = LeasedLimitStore::new(key, most, move || wake.notify_one());
    let store = Arc::new(store);
    let mut asker = Asker {
        redis: redis.clone(),
        scripts: Scripts::new(&redis.prefix),
        replicas: Replicas::new(redis),
        clock,
        due,
        ends: ends.clone(),
    };
    asker.look(&store).await;
    let asking = tokio::spawn(asker.run(Arc::downgrade(&store)));
    Limits {
        store,
        ends,
        asking,
    }
}

impl Asker {
    async fn run(mut self, store: Weak<LeasedLimitStore>) {
        let mut looked = Instant::now();
        loop {
            let (due, ends) = (self.due.clone(), self.ends.clone());
            let is_over = select! {
                biased;
                () = ends.notified() => true,
                () = due.notified() => false,
                // Nothing wakes it while nothing is asked for.
                () = sleep(LOOK) => false,
            };
            let Some(store) = store.upgrade() else { return };
            if is_over {
                self.part(&store).await;
                return;
            }
            let is_time = looked.elapsed() >= LOOK;
            if is_time {
                self.look(&store).await;
                looked = Instant::now();
            }
            if !self.redis.is_reachable() {
                // Calls go on, and wake it all the time.
                sleep(LOOK).await;
                self.look(&store).await;
                continue;
            }
            sleep(ROUND).await;
            let mut asks = store.due(AT_ONCE, self.clock.now());
            if is_time {
                asks.extend(store.lapsed(self.clock.now()));
            }
            self.ask(&store, asks).await;
            if store.has_due() {
                self.due.notify_one();
            }
        }
    }

    /// Says all that is left to say.
    async fn part(&self, store: &LeasedLimitStore) {
        while self.redis.is_reachable() {
            let asks = store.parting(AT_ONCE, self.clock.now());
            if asks.is_empty() {
                // It is known to be gone in some seconds anyway.
                drop(self.replicas.leave().await);
                return;
            }
            self.ask(store, asks).await;
        }
    }

    /// Says that this gateway is there, and tells the store how many are.
    async fn look(&mut self, store: &LeasedLimitStore) {
        let replicas = self.replicas.count();
        let beaten = or_apart(store, replicas, self.replicas.beat()).await;
        set_fleet(store, self.replicas.count(), beaten.is_err());
    }

    async fn ask(&self, store: &LeasedLimitStore, asks: Vec<(Due, Ask)>) {
        if asks.is_empty() {
            return;
        }
        let groups = scripts::groups(asks);
        let asked = groups.iter().map(|group| self.ask_together(store, group));
        let are_there = or_apart(store, self.replicas.count(), join_all(asked)).await;
        let away = are_there.iter().any(Result::is_err);
        for (group, answered) in groups.into_iter().zip(are_there) {
            if answered.is_err() {
                store.put_off(group);
            }
        }
        set_fleet(store, self.replicas.count(), away);
    }

    async fn ask_together(
        &self,
        store: &LeasedLimitStore,
        group: &[(Due, Ask)],
    ) -> Result<(), Away> {
        let commands = self.scripts.commands(group);
        let answers: Vec<(u32, u64)> = self.redis.link.ask_once(&commands).await?;
        let now = self.clock.now();
        for ((due, ask), answer) in group.iter().zip(answers) {
            store.settle(*due, ask, scripts::answer(ask, answer), now);
        }
        Ok(())
    }
}

fn set_fleet(store: &LeasedLimitStore, replicas: u32, apart: bool) {
    store.set_fleet(Fleet { replicas, apart });
}

/// Waits for an answer; the store goes by its share from when that is late.
async fn or_apart<T>(
    store: &LeasedLimitStore,
    replicas: u32,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(LATE, &mut answer).await {
        return answer;
    }
    set_fleet(store, replicas, true);
    answer.await
}
