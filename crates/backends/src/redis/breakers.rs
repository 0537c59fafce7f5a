//! What replicas tell each other of their circuit breakers: a hash in Redis that all of them read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use mcp_ultra_domain::{
    breaker::Forced,
    ports::{BreakerBoard, BreakerNews, Decision, NoBoard, Posted},
};
use redis::Pipeline;

use super::{Redis, random};

/// Takes over news, by the clock of Redis, and answers all that is known: for each server its name,
/// whether it is open, the number of the change, how many milliseconds it is still open, whether this
/// replica has changed it, and whether it may probe.
///
/// One replica probes at a time, for as long as it says so. One whose probes have failed lets the others go first for a second: it
/// may be the only one that can't reach the server. What nobody has changed for ten minutes is
/// forgotten.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, me = KEYS[1], ARGV[1]
local granted = {}
for i = 2, #ARGV, 3 do
  local news, name, lasts = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local state, number, till, by, prober, probes = 'closed', 0, 0, '-', '-', 0
  local kept = redis.call('HGET', key, name)
  if kept then
    state, number, till, by, prober, probes = string.match(kept, '^(%a+) (%d+) (%d+) (%S+) (%S+) (%d+)$')
  end
  number, till, probes = tonumber(number), tonumber(till), tonumber(probes)
  if news == 'open' then
    state, number, till, by, probes = 'open', number + 1, now + lasts, me, 0
  elseif news == 'closed' then
    state, number, till, by, prober, probes = 'closed', number + 1, now, me, '-', 0
  elseif prober == me and probes > now then
    probes, granted[name] = now + lasts, 1
  elseif now >= till and now >= probes and (prober ~= me or now >= till + 1000) then
    prober, probes, granted[name] = me, now + lasts, 1
  end
  redis.call('HSET', key, name, string.format('%s %d %d %s %s %d', state, number, till, by, prober, probes))
end
local known = {}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local state, number, till, by, prober, probes = string.match(all[i + 1], '^(%a+) (%d+) (%d+) (%S+) (%S+) (%d+)$')
  till = tonumber(till)
  if math.max(till, tonumber(probes)) + 600000 < now then
    redis.call('HDEL', key, all[i])
  else
    local mine = (by == me) and 1 or 0
    known[#known + 1] = {all[i], state, tonumber(number), math.max(till - now, 0), mine, granted[all[i]] or 0}
  end
end
redis.call('PEXPIRE', key, 3600000)
return known";

/// How long what an operator has decided is kept after the last replica has looked.
const FORCED_FOR: Duration = Duration::from_hours(30 * 24);

/// A row of the answer.
type Row = (String, String, u64, u64, u8, u8);

/// A [`BreakerBoard`] in Redis. What operators have decided is in a hash of its own, which outlives
/// the gateways.
#[derive(Debug)]
pub struct RedisBreakerBoard {
    redis: Redis,
    states: String,
    forced: String,
    me: String,
}

impl RedisBreakerBoard {
    /// The board of all gateways with the same Redis and prefix.
    pub fn new(redis: Redis) -> Self {
        Self {
            states: format!("{}:breakers", redis.prefix),
            forced: format!("{}:breakers-forced", redis.prefix),
            redis,
            me: format!("{:016x}", random::number()),
        }
    }

    async fn states(&self, news: &[(Arc<str>, BreakerNews)]) -> Result<Vec<Row>, NoBoard> {
        let mut command = Pipeline::new();
        let script = command.cmd("EVAL").arg(SCRIPT).arg(1);
        script.arg(&self.states).arg(&self.me);
        for (server, news) in news {
            let (what, time) = match news {
                BreakerNews::Opened(time) => ("open", *time),
                BreakerNews::Closed => ("closed", Duration::ZERO),
                BreakerNews::WantsProbes(time) => ("probe", *time),
                BreakerNews::Forced(_) => continue,
            };
            script.arg(what).arg(&**server).arg(millis(time));
        }
        let answer = self.redis.link.ask::<(Vec<Row>,)>(&command).await;
        answer.map(|(rows,)| rows).map_err(|_| NoBoard)
    }

    async fn forced(
        &self,
        news: &[(Arc<str>, BreakerNews)],
    ) -> Result<HashMap<String, String>, NoBoard> {
        let mut commands = Pipeline::new();
        commands.atomic();
        for (server, news) in news {
            let BreakerNews::Forced(forced) = news else {
                continue;
            };
            let field = &**server;
            let set = commands.cmd("HSET").arg(&self.forced);
            set.arg(field).arg(name(*forced)).ignore();
        }
        let expire = commands.cmd("PEXPIRE").arg(&self.forced);
        expire.arg(millis(FORCED_FOR)).ignore();
        commands.cmd("HGETALL").arg(&self.forced);
        let answer = self.redis.link.ask::<(HashMap<String, String>,)>(&commands);
        answer.await.map(|(all,)| all).map_err(|_| NoBoard)
    }
}

#[async_trait]
impl BreakerBoard for RedisBreakerBoard {
    async fn exchange(&self, news: &[(Arc<str>, BreakerNews)]) -> Result<Vec<Posted>, NoBoard> {
        let forced = self.forced(news).await?;
        let rows = self.states(news).await?;
        let mut all: BTreeMap<String, Posted> = BTreeMap::new();
        for (server, state, number, left, by_us, may_probe) in rows {
            let posted = Posted {
                server: server.clone(),
                number,
                open_for: (state == "open").then(|| Duration::from_millis(left)),
                by_us: by_us == 1,
                may_probe: may_probe == 1,
                decision: Decision::Unknown,
            };
            all.insert(server, posted);
        }
        for (server, forced) in forced {
            let posted = all.entry(server.clone()).or_insert_with(|| Posted {
                server,
                number: 0,
                open_for: None,
                by_us: false,
                may_probe: false,
                decision: Decision::Unknown,
            });
            posted.decision = of(&forced);
        }
        Ok(all.into_values().collect())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn name(forced: Option<Forced>) -> &'static str {
    match forced {
        Some(Forced::Closed) => "closed",
        Some(Forced::Open) => "open",
        None => "auto",
    }
}

fn of(name: &str) -> Decision {
    match name {
        "closed" => Decision::Forced(Forced::Closed),
        "open" => Decision::Forced(Forced::Open),
        "auto" => Decision::ByItself,
        // What a later version may write.
        _ => Decision::Unknown,
    }
}
