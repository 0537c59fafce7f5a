//! Which sessions other processes have changed: a stream in Redis that all read.

use std::time::Duration;

use mcp_ultra_domain::ports::LiveSessions;
use parking_lot::Mutex;
use redis::Pipeline;
use tokio::time::Instant;

use super::{Redis, link::Away, random};

/// How many changes the stream keeps, about. Whoever reads less often than so many are made looks at
/// all sessions within [`ALL`].
const KEPT: usize = 10_000;
/// How many are read at once.
const PAGE: usize = 1000;
/// How often all sessions may have changed, for what the stream has lost: Redis may lose something
/// when a replica of it takes over.
const ALL: Duration = Duration::from_mins(1);

/// An entry of the stream: its id, and its fields and values in turn.
type Entry = (String, Vec<String>);

/// The stream of changed sessions.
#[derive(Debug)]
pub(super) struct News {
    redis: Redis,
    key: String,
    /// Whose changes are not news here.
    process: String,
    seen: Mutex<Seen>,
}

/// What has been read.
#[derive(Debug, Clone)]
struct Seen {
    /// The id of the latest entry.
    latest: String,
    /// The number of the connection that it was read by.
    connection: u64,
    /// When all sessions were given out.
    all: Option<Instant>,
}

impl News {
    pub(super) fn new(redis: Redis) -> Self {
        Self {
            key: format!("{}:sessions-changed", redis.prefix),
            redis,
            process: format!("{:016x}", random::number()),
            seen: Mutex::new(Seen {
                latest: String::new(),
                connection: 0,
                all: None,
            }),
        }
    }

    /// Tells the other processes.
    pub(super) async fn tell(&self, session: &str) -> Result<(), Away> {
        let mut command = Pipeline::new();
        command
            .cmd("XADD")
            .arg(&self.key)
            .arg("MAXLEN")
            .arg("~")
            .arg(KEPT)
            .arg("*")
            .arg("by")
            .arg(&self.process)
            .arg("session")
            .arg(session);
        let told = self.redis.link.ask::<(String,)>(&command).await;
        told.map(drop)
    }

    /// The sessions that others have changed since this was asked last, or all of `live`.
    pub(super) async fn read(&self, live: &LiveSessions<'_>) -> Result<Vec<String>, Away> {
        let connection = self.redis.link.number();
        let mut seen = self.seen.lock().clone();
        let is_due = seen.all.is_none_or(|last| last.elapsed() >= ALL);
        if is_due || seen.connection != connection {
            // Before they are listed: what changes in between is read next.
            seen.latest = self.latest().await?;
            seen.connection = connection;
            seen.all = Some(Instant::now());
            *self.seen.lock() = seen;
            return Ok(live());
        }
        let mut changed = Vec::new();
        loop {
            let entries = self.after(&seen.latest).await?;
            let count = entries.len();
            for (id, fields) in entries {
                seen.latest = id;
                if let [_, by, _, session] = &*fields
                    && *by != self.process
                {
                    changed.push(session.clone());
                }
            }
            if count < PAGE {
                break;
            }
        }
        self.seen.lock().latest = seen.latest;
        Ok(changed)
    }

    async fn latest(&self) -> Result<String, Away> {
        let mut command = Pipeline::new();
        let newest = command.cmd("XREVRANGE").arg(&self.key).arg("+").arg("-");
        newest.arg("COUNT").arg(1);
        let (entries,) = self.redis.link.ask::<(Vec<Entry>,)>(&command).await?;
        let newest = entries.into_iter().next();
        Ok(newest.map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }

    async fn after(&self, latest: &str) -> Result<Vec<Entry>, Away> {
        let mut command = Pipeline::new();
        let range = command.cmd("XRANGE").arg(&self.key);
        range.arg(format!("({latest}")).arg("+");
        range.arg("COUNT").arg(PAGE);
        let (entries,) = self.redis.link.ask::<(Vec<Entry>,)>(&command).await?;
        Ok(entries)
    }
}
