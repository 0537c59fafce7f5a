use std::fmt::Write as _;

use aws_lc_rs::digest;
use mcp_ultra_domain::{
    limits::lease::{Against, Answer, Ask},
    ports::Due,
};
use redis::Pipeline;

/// How many groups keys have. Those of one group are on the same node of a cluster.
const GROUPS: usize = 16;

/// Counts what was told against a rate, and as many of those that are wanted as there is room for:
/// GCRA, by the clock of Redis. What is kept is the time until which all of it would have taken at
/// the full rate, in microseconds since 2026, so that a number of Lua has room for fractions of them.
const RATE: &str = "\
local step, tolerance, furthest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local told, wanted = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = (time[1] - 1767225600) * 1000000 + time[2]
local till = tonumber(redis.call('GET', KEYS[1]) or now)
till = math.min(math.max(till, now), now + furthest) + told * step
local room = math.floor((now + tolerance - till) / step + 0.001)
local granted = math.max(0, math.min(wanted, room))
till = till + granted * step
local lasts = math.max(till - now, 0)
redis.call('SET', KEYS[1], string.format('%.3f', till), 'PX', math.ceil(lasts / 1000) + 1000)
return {granted, math.ceil(lasts)}";

/// Counts what was told against the quota of a day (UTC, by the clock of Redis), and as many of those
/// that are wanted as are left. The count ends with its day.
const QUOTA: &str = "\
local most, told, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local day = math.floor(now / 86400)
local of, count = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(%d+)$')
count = (tonumber(of) == day) and tonumber(count) or 0
count = math.max(0, count + told)
local granted = math.max(0, math.min(wanted, most - count))
count = count + granted
redis.call('SET', KEYS[1], string.format('%d:%d', day, count), 'PX', ((day + 1) * 86400 - now + 60) * 1000)
return {granted, count}";

/// What counts in Redis: a script for each kind of limit, with one key each.
pub(super) struct Scripts {
    /// What the names of its keys begin with.
    place: String,
    rate: Script,
    quota: Script,
}

struct Script {
    text: &'static str,
    sum: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let mut sum = String::new();
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        for byte in digest.as_ref() {
            // Writing to a string can't fail.
            let _ = write!(sum, "{byte:02x}");
        }
        Self { text, sum }
    }
}

impl Scripts {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            place: format!("{prefix}:limit:"),
            rate: Script::new(RATE),
            quota: Script::new(QUOTA),
        }
    }

    /// The commands of a group. The first of a script sends its text; Redis knows it then.
    pub(super) fn commands(&self, group: &[(Due, Ask)]) -> Pipeline {
        let mut commands = Pipeline::new();
        let mut sent = [false; 2];
        for (due, ask) in group {
            let (script, sent) = match ask.against {
                Against::Rate { .. } => (&self.rate, &mut sent[0]),
                Against::Quota { .. } => (&self.quota, &mut sent[1]),
            };
            let command = if std::mem::replace(sent, true) {
                commands.cmd("EVALSHA").arg(&script.sum)
            } else {
                commands.cmd("EVAL").arg(script.text)
            };
            command.arg(1).arg(self.key(due));
            match ask.against {
                Against::Rate {
                    step,
                    tolerance,
                    furthest,
                } => {
                    for time in [step, tolerance, furthest] {
                        command.arg(micros(time));
                    }
                }
                Against::Quota { most } => {
                    command.arg(most);
                }
            }
            command.arg(ask.told).arg(ask.wanted);
        }
        commands
    }

    /// The braces decide which node of a cluster it is on.
    fn key(&self, due: &Due) -> String {
        format!("{}{{{:x}}}:{}", self.place, group(due), due.name())
    }
}

/// Questions that can be asked together.
pub(super) fn groups(asks: Vec<(Due, Ask)>) -> Vec<Vec<(Due, Ask)>> {
    let mut groups = vec![Vec::new(); GROUPS];
    for (due, ask) in asks {
        groups[group(&due)].push((due, ask));
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn group(due: &Due) -> usize {
    let low = due.spread() % GROUPS as u64;
    usize::try_from(low).unwrap_or_default()
}

/// Nanoseconds as microseconds with their fraction.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

/// What a script has answered.
pub(super) fn answer(ask: &Ask, (granted, standing): (u32, u64)) -> Answer {
    let standing = match ask.against {
        Against::Rate { .. } => standing.saturating_mul(1000),
        Against::Quota { .. } => standing,
    };
    Answer { granted, standing }
}
