//! Sessions with servers that replicas go on in: a hash for each, with what is needed to speak in it,
//! who uses it, and which of them listens.

use std::time::Duration;

use async_trait::async_trait;
use mcp_ultra_domain::ports::{KeptSession, SessionTerms, SessionsUnknown, UpstreamSessionStore};
use redis::Pipeline;

use super::{Redis, random};

/// Makes this replica one of the users of what is there: what it offers, where nothing is, or what it
/// does not offer another one for. Answers that, and whether this replica listens; nil where nothing
/// is there. All times are by the clock of Redis.
const USE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, me, lasts, used, value = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local there = redis.call('HGET', key, 'value')
if not there then
  if not value then return false end
  there = value
  redis.call('HSET', key, 'value', value)
elseif value and there ~= value then
  return {there, 0}
end
local till = string.format('%d', now + used)
redis.call('HSET', key, 'user:' .. me, till)
redis.call('PEXPIRE', key, lasts)
local listener = redis.call('HGET', key, 'listener')
local listens = listener and redis.call('HGET', key, 'user:' .. listener)
if listener ~= me and listens and tonumber(listens) > now then return {there, 0} end
redis.call('HSET', key, 'listener', me)
return {there, 1}";

/// Takes this replica from the users of a value. Answers 1 where that has ended the value.
const LEAVE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, me, value, stays = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', key, 'value') ~= value then return 0 end
redis.call('HDEL', key, 'user:' .. me)
if redis.call('HGET', key, 'listener') == me then redis.call('HDEL', key, 'listener') end
if stays == '1' then return 0 end
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 5) == 'user:' and tonumber(all[i + 1]) > now then return 0 end
end
redis.call('DEL', key)
return 1";

/// Forgets a value. Answers 1 where it was there.
const END: &str = "\
if redis.call('HGET', KEYS[1], 'value') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1";

/// An [`UpstreamSessionStore`] in Redis.
#[derive(Debug)]
pub struct RedisUpstreamSessionStore {
    redis: Redis,
    me: String,
}

impl RedisUpstreamSessionStore {
    /// The store of all gateways with the same Redis and prefix, as one more of them has it.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            me: format!("{:016x}", random::number()),
        }
    }

    fn script(&self, script: &str, name: &str) -> Pipeline {
        let mut command = Pipeline::new();
        let key = format!("{}:upstream-session:{name}", self.redis.prefix);
        command.cmd("EVAL").arg(script).arg(1).arg(key);
        command
    }

    async fn used(
        &self,
        name: &str,
        value: Option<&[u8]>,
        terms: SessionTerms,
    ) -> Result<Option<KeptSession>, SessionsUnknown> {
        let mut command = self.script(USE, name);
        command.arg(&self.me).arg(millis(terms.kept));
        command.arg(millis(terms.used)).arg(value);
        let answer = self.redis.link.ask::<(Option<(Vec<u8>, u8)>,)>(&command);
        let (there,) = answer.await.map_err(|_away| SessionsUnknown)?;
        Ok(there.map(|(value, listens)| KeptSession {
            value,
            listens: listens == 1,
        }))
    }

    /// A change that is not made a second time where its answer is lost: that would say otherwise.
    async fn changed(
        &self,
        script: &str,
        name: &str,
        arguments: &[&[u8]],
    ) -> Result<bool, SessionsUnknown> {
        let mut command = self.script(script, name);
        for argument in arguments {
            command.arg(*argument);
        }
        let answer = self.redis.link.ask_once::<(u8,)>(&command).await;
        let (changed,) = answer.map_err(|_away| SessionsUnknown)?;
        Ok(changed == 1)
    }
}

#[async_trait]
impl UpstreamSessionStore for RedisUpstreamSessionStore {
    async fn enter(
        &self,
        name: &str,
        terms: SessionTerms,
    ) -> Result<Option<KeptSession>, SessionsUnknown> {
        self.used(name, None, terms).await
    }

    async fn offer(
        &self,
        name: &str,
        value: &[u8],
        terms: SessionTerms,
    ) -> Result<KeptSession, SessionsUnknown> {
        let there = self.used(name, Some(value), terms).await?;
        there.ok_or(SessionsUnknown)
    }

    async fn leave(&self, name: &str, value: &[u8], stays: bool) -> Result<bool, SessionsUnknown> {
        let stays: &[u8] = if stays { b"1" } else { b"0" };
        self.changed(LEAVE, name, &[self.me.as_bytes(), value, stays])
            .await
    }

    async fn end(&self, name: &str, value: &[u8]) -> Result<bool, SessionsUnknown> {
        self.changed(END, name, &[value]).await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
