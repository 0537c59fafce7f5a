use std::time::Duration;

use redis::Pipeline;
use tokio::time::Instant;

use crate::redis::{Redis, link::Away, random};

/// How often a replica says that it is there.
const BEAT: Duration = Duration::from_secs(1);
/// When one that says nothing is counted no more.
const GONE: Duration = Duration::from_secs(5);

/// Notes a replica by the clock of Redis, and answers how many there are.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', now - gone))
redis.call('PEXPIRE', KEYS[1], gone)
return redis.call('ZCARD', KEYS[1])";

/// How many replicas there are.
pub(super) struct Replicas {
    redis: Redis,
    key: String,
    /// What this one is called.
    name: String,
    count: u32,
    told: Option<Instant>,
    /// When Redis was reached again: it may know fewer than there are for a while.
    back: Option<Instant>,
}

impl Replicas {
    pub(super) fn new(redis: &Redis) -> Self {
        Self {
            redis: redis.clone(),
            key: format!("{}:replicas", redis.prefix),
            name: format!("{:016x}", random::number()),
            count: 1,
            told: None,
            back: None,
        }
    }

    /// As many as there were when Redis was last asked: at least this one.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Says that this one is there, where it is time to.
    pub(super) async fn beat(&mut self) -> Result<(), Away> {
        if !self.redis.is_reachable() {
            self.told = None;
            self.back = None;
            return Err(Away);
        }
        if self.told.is_some_and(|told| told.elapsed() < BEAT) {
            return Ok(());
        }
        let mut command = Pipeline::new();
        let script = command.cmd("EVAL").arg(SCRIPT).arg(1).arg(&self.key);
        let gone = u64::try_from(GONE.as_millis()).unwrap_or(u64::MAX);
        script.arg(&self.name).arg(gone);
        let (count,) = self.redis.link.ask::<(u32,)>(&command).await?;
        let back = *self.back.get_or_insert_with(Instant::now);
        self.count = if back.elapsed() < GONE {
            count.max(self.count)
        } else {
            count.max(1)
        };
        self.told = Some(Instant::now());
        Ok(())
    }

    /// Says that this one is there no more.
    pub(super) async fn leave(&self) -> Result<(), Away> {
        let mut command = Pipeline::new();
        command.cmd("ZREM").arg(&self.key).arg(&self.name);
        let (_left,) = self.redis.link.ask_once::<(u32,)>(&command).await?;
        Ok(())
    }
}
