//! When a connection is made again, and when nobody waits for it.
//!
//! Commands share one connection. One that was lost is made again by a single task, with pauses that
//! grow and differ from replica to replica; who asks meanwhile waits for it within the time of a
//! command, and not at all once the first try has failed. A command that is not answered in time makes
//! the same task look at once whether anything is; one that is answered with errors, or by a cluster
//! not at all, is told by a breaker, which opens after a few. In both cases that task then looks when
//! Redis answers again, so that no call pays for looking.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_ultra_config::RedisSettings;
use mcp_ultra_domain::breaker::{Breaker, Forced, Pass, Rules, State, Status, Verdict};
use parking_lot::Mutex;
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisResult, ServerErrorKind};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    RedisError,
    connect::{Connection, attempt, check, connect},
    random,
};

/// When commands are no longer tried: half of those of two seconds have failed, and three at least.
/// Two, since what succeeded before counts for as long.
const RULES: Rules = Rules {
    window: Duration::from_secs(2),
    least_calls: 3,
    in_a_row: 0,
    failed: 50,
    slow_after: Duration::MAX,
    slow: 101,
    open_for: Duration::from_millis(250),
    open_at_most: PAUSE_AT_MOST,
    probes: 1,
    probe_for: Duration::ZERO,
};
/// The first pause between two tries to connect, which doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);
/// How often a connection is looked at that nobody uses.
const LOOK: Duration = Duration::from_secs(10);

const SILENT: &str = "it does not answer in time";

/// Redis does not answer; why it is thought so is in the log.
#[derive(Debug)]
pub(super) struct Away;

/// What is known of the connection.
#[derive(Clone)]
enum Known {
    /// It is being made for the first time since it was there.
    Coming,
    /// There is one, the so many-th.
    There(u64, Connection),
    /// Trying has failed, or it does not answer.
    Away,
}

pub(super) struct Link {
    /// For the next connection.
    settings: Mutex<Arc<RedisSettings>>,
    /// How long a command may take.
    patience: Duration,
    breaker: Breaker,
    since: Instant,
    known: watch::Sender<Known>,
    /// The number of the latest connection.
    latest: AtomicU64,
    /// How often Redis went away.
    times_away: AtomicU64,
    lost: Notify,
    /// A command was not answered in time.
    suspect: Notify,
}

impl Link {
    pub(super) async fn start(settings: &RedisSettings) -> Result<Arc<Self>, RedisError> {
        check(settings)?;
        let link = Arc::new(Self {
            settings: Mutex::new(Arc::new(settings.clone())),
            patience: settings.command_timeout.get(),
            breaker: Breaker::new(RULES),
            since: Instant::now(),
            known: watch::channel(Known::Coming).0,
            latest: AtomicU64::new(0),
            times_away: AtomicU64::new(0),
            lost: Notify::new(),
            suspect: Notify::new(),
        });
        link.try_once().await;
        let weak = Arc::downgrade(&link);
        tokio::spawn(async move {
            let mut pause = PAUSE;
            while let Some(link) = weak.upgrade() {
                pause = link.keep(pause).await;
            }
        });
        Ok(link)
    }

    /// Replaces what the next connection is made with.
    pub(super) fn renew(&self, settings: &RedisSettings) {
        *self.settings.lock() = Arc::new(settings.clone());
        // Perhaps it was away for want of them.
        self.suspect.notify_one();
    }

    pub(super) fn is_reachable(&self) -> bool {
        !matches!(*self.known.borrow(), Known::Away)
    }

    /// How it is for those who would ask. While Redis is away nothing of theirs is sent, also where
    /// that is for want of a connection and the breaker has not opened.
    pub(super) fn status(&self) -> (Status, Option<Duration>) {
        let (mut status, wait) = self.breaker.status_for(self.age());
        status.opened = self.times_away.load(Ordering::Relaxed);
        if !self.is_reachable() {
            status.state = State::Open;
        }
        (status, wait)
    }

    /// An operator decides whether Redis is used, or no more. Forced closed, it is not used either
    /// while there is no connection.
    pub(super) fn force(&self, forced: Option<Forced>) {
        self.breaker.force(forced);
        if forced == Some(Forced::Open) {
            self.away("an administrator has decided so");
            self.lost.notify_one();
        } else {
            self.suspect.notify_one();
        }
    }

    /// The number of the connection: another one may be to a server that has lost something.
    pub(super) fn number(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// What Redis answers to `commands`, which are one transaction where they are several. Waits for
    /// the time of a command at most.
    ///
    /// After a connection was lost they are sent once more: they must do the same then.
    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Away> {
        self.answered(self.twice(commands)).await
    }

    /// The same for `commands` that must not be sent twice.
    pub(super) async fn ask_once<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Away> {
        let sent = async {
            let (number, answer) = self.once(commands).await?;
            if answer.as_ref().is_err_and(is_lost) {
                self.drop_connection(number);
            }
            Some(answer)
        };
        self.answered(sent).await
    }

    async fn answered<T>(
        &self,
        sent: impl Future<Output = Option<RedisResult<T>>>,
    ) -> Result<T, Away> {
        if !self.is_reachable() {
            return Err(Away);
        }
        let pass = self.breaker.admit(self.age()).map_err(|_| Away)?;
        let begun = Instant::now();
        let answered = timeout(self.patience, sent).await;
        match answered {
            Ok(Some(Ok(answer))) => {
                self.note(pass, Verdict::Answered(begun.elapsed()), "");
                Ok(answer)
            }
            Ok(Some(Err(error))) => {
                self.note(pass, Verdict::Failed, &told(&error));
                if error.is_timeout() {
                    self.suspect.notify_one();
                }
                Err(Away)
            }
            Ok(None) => {
                self.note(pass, Verdict::Unknown, "");
                Err(Away)
            }
            Err(_) => {
                self.note(pass, Verdict::Failed, SILENT);
                self.suspect.notify_one();
                Err(Away)
            }
        }
    }

    /// `None` where there is no connection.
    async fn twice<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<RedisResult<T>> {
        let (number, answer) = self.once(commands).await?;
        match &answer {
            Err(error) if is_lost(error) => self.drop_connection(number),
            _ => return Some(answer),
        }
        Some(self.once(commands).await?.1)
    }

    async fn once<T: FromRedisValue>(&self, commands: &Pipeline) -> Option<(u64, RedisResult<T>)> {
        let mut known = self.known.subscribe();
        let known = known
            .wait_for(|known| !matches!(known, Known::Coming))
            .await;
        let Known::There(number, mut connection) = known.ok()?.clone() else {
            return None;
        };
        Some((number, commands.query_async(&mut connection).await))
    }

    fn note(&self, pass: Pass, verdict: Verdict, why: &str) {
        if self.breaker.note(pass, verdict, self.age()) == Some(State::Open) {
            self.away(why);
            self.lost.notify_one();
        }
    }

    /// Nobody waits from here on. Says so once.
    fn away(&self, why: &str) {
        let before = self.known.send_replace(Known::Away);
        if !matches!(before, Known::Away) {
            self.times_away.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                why,
                "Redis is away: what gateways share is this one's alone until it is back"
            );
        }
    }

    /// Drops a connection, unless there is another one already. One to a cluster is kept: it finds
    /// nodes again by itself, and others answer meanwhile.
    fn drop_connection(&self, of: u64) {
        let dropped = self.known.send_if_modified(|known| {
            let is_that =
                matches!(known, Known::There(number, Connection::One(_)) if *number == of);
            if is_that {
                *known = Known::Coming;
            }
            is_that
        });
        if dropped {
            self.lost.notify_one();
        }
    }

    /// Looks once whether the connection is good, when there is a reason to, or tries to make a new
    /// one and waits for `pause` where that fails. The pause after it.
    async fn keep(&self, pause: Duration) -> Duration {
        let known = self.known.borrow().clone();
        if let Known::There(number, mut connection) = known {
            tokio::select! {
                () = self.lost.notified() => return PAUSE,
                () = self.suspect.notified() => {}
                () = sleep(LOOK) => {}
            }
            match timeout(self.patience, ping(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => self.drop_connection(number),
                Err(_) => self.away(SILENT),
            }
            return PAUSE;
        }
        if self.try_once().await {
            return PAUSE;
        }
        tokio::select! {
            () = self.suspect.notified() => return PAUSE,
            () = sleep(jittered(pause)) => {}
        }
        (pause * 2).min(PAUSE_AT_MOST)
    }

    /// Makes a connection, if the breaker agrees; whether there is one.
    async fn try_once(&self) -> bool {
        let Ok(pass) = self.breaker.admit(self.age()) else {
            return false;
        };
        let begun = Instant::now();
        let settings = self.settings.lock().clone();
        let made = async {
            let mut connection = connect(&settings).await?;
            probe(&mut connection, &settings.prefix).await?;
            Ok(connection)
        };
        let why = match timeout(attempt(&settings), made).await {
            Ok(Ok(connection)) => {
                self.breaker
                    .note(pass, Verdict::Answered(begun.elapsed()), self.age());
                self.there(connection);
                return true;
            }
            Ok(Err(error)) => told(&error),
            Err(_) => "no connection can be made in time".to_owned(),
        };
        self.breaker.note(pass, Verdict::Failed, self.age());
        self.away(&why);
        false
    }

    fn there(&self, connection: Connection) {
        let number = self.latest.fetch_add(1, Ordering::AcqRel) + 1;
        let before = self.known.send_replace(Known::There(number, connection));
        if matches!(before, Known::Away) {
            tracing::info!("Redis is back");
        } else if number == 1 {
            tracing::info!("connected to Redis");
        }
    }

    fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// Whether a server takes what the stores will write: one that is full, or does not let this user
/// write, is not back. A node of a cluster says nothing of the others.
async fn probe(connection: &mut Connection, prefix: &str) -> RedisResult<()> {
    if matches!(connection, Connection::Cluster(_)) {
        return Ok(());
    }
    let mut command = redis::cmd("SET");
    let key = format!("{prefix}:probe");
    command.arg(key).arg(1).arg("PX").arg(1000);
    command.query_async(connection).await
}

/// Whether a server answers. A cluster would ask all of its nodes, and one of them is not all.
async fn ping(connection: &mut Connection) -> RedisResult<()> {
    match connection {
        Connection::One(_) => redis::cmd("PING").query_async(connection).await,
        Connection::Cluster(_) => Ok(()),
    }
}

/// Whether the connection is of no use any more: it is gone, or leads to a server that has become a
/// replica.
fn is_lost(error: &redis::RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_connection_dropped()
        || error.is_io_error() && !error.is_timeout()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// What went wrong. The general error of a server may repeat what was sent, so it is not shown.
fn told(error: &redis::RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some("ERR"), _) => "Redis answered with an error to a command".to_owned(),
        (Some(code), detail) => format!("{code} {}", detail.unwrap_or_default()),
        (None, _) => error.to_string(),
    }
}

/// Between half of `pause` and all of it, so that replicas don't come back at once.
fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let part = u32::try_from(random::number() % 1024).unwrap_or_default();
    half + half * part / 1024
}
