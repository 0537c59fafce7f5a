//! Answers that replicas keep for each other.
//!
//! All keys of a group have its name as their hash tag, so that one transaction of a cluster is about
//! them; groups are spread over its nodes. Everything has an end of its own. An answer is a hash of one
//! field, so that a gateway needs leave for no other commands than for what else it keeps here.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use mcp_ultra_domain::ports::{CacheFound, CacheStore};
use redis::{Pipeline, Value, from_redis_value};

use super::{Redis, random};

/// How long a generation is known: longer than anything is kept. One that has ended is another one,
/// and so is one that Redis has lost: what was kept with it is of no use then.
const GENERATION: Duration = Duration::from_hours(50);

/// The field of an answer.
const VALUE: &str = "v";

/// A [`CacheStore`] in Redis.
#[derive(Debug)]
pub struct RedisCacheStore {
    redis: Redis,
}

impl RedisCacheStore {
    /// The store in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self, group: &str, what: &str, key: &str) -> String {
        format!("{}:cache:{{{group}}}:{what}:{key}", self.redis.prefix)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A generation that there was not before.
fn generation() -> String {
    format!("{:016x}", random::number())
}

/// A claim may have ended by itself, and be another's by now.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

#[async_trait]
impl CacheStore for RedisCacheStore {
    async fn find(&self, group: &str, keys: &[&str], tags: &[String]) -> Option<CacheFound> {
        let mut commands = Pipeline::new();
        commands.atomic();
        for key in keys {
            commands.cmd("HGETALL").arg(self.key(group, "e", key));
        }
        let mut new = Vec::with_capacity(tags.len());
        for tag in tags {
            let generation = generation();
            commands
                .cmd("SET")
                .arg(self.key(group, "g", tag))
                .arg(&generation)
                .arg("NX")
                .arg("GET")
                .arg("PX")
                .arg(millis(GENERATION));
            new.push(generation);
        }
        let answers: Vec<Value> = self.redis.link.ask(&commands).await.ok()?;
        let mut answers = answers.into_iter();
        let values = keys.iter().map(|_| {
            let mut fields: HashMap<String, Vec<u8>> = from_redis_value(answers.next()?).ok()?;
            fields.remove(VALUE)
        });
        let values = values.collect();
        let mut generations = Vec::with_capacity(new.len());
        for new in new {
            generations.push(match answers.next()? {
                Value::BulkString(before) => String::from_utf8(before).ok()?,
                // It is the first one, or was lost.
                Value::Nil => new,
                _ => return None,
            });
        }
        Some(CacheFound {
            values,
            generations,
        })
    }

    async fn keep(&self, group: &str, key: &str, value: &[u8], lasts: Duration) {
        let mut commands = Pipeline::new();
        let key = self.key(group, "e", key);
        commands.atomic();
        commands.cmd("HSET").arg(&key).arg(VALUE).arg(value);
        commands.cmd("PEXPIRE").arg(&key).arg(millis(lasts));
        // Where Redis is away, it is not kept.
        let _ = self.redis.link.ask::<Vec<Value>>(&commands).await;
    }

    async fn outdate(&self, group: &str, tags: &[String]) -> bool {
        let mut commands = Pipeline::new();
        commands.atomic();
        for tag in tags {
            commands
                .cmd("SET")
                .arg(self.key(group, "g", tag))
                .arg(generation())
                .arg("PX")
                .arg(millis(GENERATION));
        }
        self.redis.link.ask::<Vec<Value>>(&commands).await.is_ok()
    }

    async fn claim(&self, group: &str, key: &str, owner: &str, lasts: Duration) -> bool {
        let mut command = Pipeline::new();
        let key = self.key(group, "c", key);
        let set = command.cmd("SET").arg(key).arg(owner).arg("NX").arg("GET");
        set.arg("PX").arg(millis(lasts));
        match self.redis.link.ask::<(Option<String>,)>(&command).await {
            Ok((before,)) => before.is_none_or(|before| before == owner),
            Err(_away) => true,
        }
    }

    async fn release(&self, group: &str, key: &str, owner: &str) {
        let mut command = Pipeline::new();
        let script = command.cmd("EVAL").arg(RELEASE).arg(1);
        script.arg(self.key(group, "c", key)).arg(owner);
        // It ends by itself where that is lost.
        let _ = self.redis.link.ask::<Vec<Value>>(&command).await;
    }
}
