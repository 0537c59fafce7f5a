//! What it costs that several gateways are one: limits and breakers that they share through a Redis,
//! and three replicas in place of one.

use std::{path::Path, thread::available_parallelism};

use futures_util::future::try_join_all;
use mcp_ultra_testkit::stores::{PASSWORD, Redis};

use super::{
    Effort,
    access::LIMITS,
    children::{Extra, Gateway, Upstream},
    listing::{ECHOES, wait_for_tools},
    progress,
    sample::{Meter, Sample, Samples},
};
use crate::{
    error::{Error, Result},
    load::{self, Plan},
    message::Address,
    report::{AccessRow, Verdict},
};

/// The most that sharing limits and breakers may add to a call (µs).
const MOST_ADDED_US: f64 = 5.0;
/// The most that a call may cost with three replicas, in times of one.
const MOST_GROWTH: f64 = 1.1;
/// The least that three replicas carry, in times of one, where each has cores of its own.
const LEAST_CARRIED: f64 = 2.4;
/// The cores that three replicas, an upstream and the load need to be told apart from one.
const CORES: usize = 8;

/// A row.
struct Row {
    what: &'static str,
    /// The gateways that carry it.
    used: &'static [usize],
    /// The row that it is compared with.
    base: usize,
    target: Target,
}

/// What a row is held to.
#[derive(Clone, Copy)]
enum Target {
    None,
    /// What it adds to a call.
    Added,
    /// What it carries, or where there are too few cores what a call costs, in times of the other row.
    Growth,
}

const ROWS: [Row; 4] = [
    Row {
        what: "limits and breakers of its own",
        used: &[0],
        base: 0,
        target: Target::None,
    },
    Row {
        what: "limits and breakers that are shared (Redis)",
        used: &[1],
        base: 0,
        target: Target::Added,
    },
    Row {
        what: "the same, three replicas",
        used: &[1, 2, 3],
        base: 1,
        target: Target::Growth,
    },
    // What three processes cost on these cores that have nothing to do with each other.
    Row {
        what: "three gateways, each with its own",
        used: &[0, 4, 5],
        base: 0,
        target: Target::None,
    },
];

/// The rows.
pub(crate) async fn calls(binary: &Path, effort: &Effort) -> Result<Vec<AccessRow>> {
    let unusable =
        |error: mcp_ultra_testkit::stores::StoreError| Error::Unusable(error.to_string());
    let redis = Redis::start().await.map_err(unusable)?;
    let upstream = Upstream::start(1, 0).await?;
    let mut gateways = Vec::new();
    for sections in [
        String::new(),
        sections(&redis),
        sections(&redis),
        sections(&redis),
        String::new(),
        String::new(),
    ] {
        let extra = Extra {
            sections,
            limits: LIMITS,
            ..Extra::default()
        };
        let mut gateway = Gateway::start_with(binary, upstream.ports(), &extra).await?;
        wait_for_tools(&mut gateway, None, ECHOES).await?;
        gateways.push(gateway);
    }
    let mut samples = Samples::of_rows(ROWS.len());
    for round in 0..effort.rounds {
        for step in 0..ROWS.len() {
            let at = (step + round) % ROWS.len();
            let Row { what, used, .. } = ROWS[at];
            progress(&format!("round {} of {}: {what}", round + 1, effort.rounds));
            let used = used.iter().filter_map(|index| gateways.get(*index));
            samples[at].push(turn(&used.collect::<Vec<_>>(), effort).await?);
            for gateway in &mut gateways {
                gateway.still_there()?;
            }
        }
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    upstream.stop().await;
    Ok(rows(&samples))
}

/// The sections of gateways that are replicas of each other.
fn sections(redis: &Redis) -> String {
    let login = redis.login();
    format!(
        "session:\n  keys: [{{ id: bench, secret: \"a sealing secret of thirty-two bytes\" }}]\n\
         storage:\n  redis:\n    server: {{ host: 127.0.0.1, port: {} }}\n    user: {}\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{}\" }}\n",
        login.address.port(),
        login.user,
        login.authority.display(),
    )
}

/// Loads all of them at the same time, with as many calls in flight as one would get.
async fn turn(gateways: &[&Gateway], effort: &Effort) -> Result<Sample> {
    let loads = gateways.iter().map(async |gateway| {
        let plan = Plan {
            connections: effort.connections.div_ceil(gateways.len()),
            ..effort.small_calls(Address::on(gateway.port()))
        };
        let watched = gateway.watched();
        let mut meter = Meter::of(&watched);
        let outcome = load::drive(&plan, &mut |edge| meter.at(edge)).await?;
        Ok::<_, Error>((meter.seconds(), outcome))
    });
    Ok(Sample::of(&try_join_all(loads).await?))
}

fn rows(samples: &[Samples]) -> Vec<AccessRow> {
    let is_roomy = available_parallelism().is_ok_and(|cores| cores.get() >= CORES);
    let line = |(at, row): (usize, &Row)| {
        let (own, base) = (&samples[at], &samples[row.base]);
        let added = own.added_us(base).filter(|_| at != row.base);
        let verdict = match row.target {
            Target::None => None,
            Target::Added => added.map(|added| {
                let target = format!("added CPU ≤ {MOST_ADDED_US:.0} µs");
                Verdict::new(target, added <= MOST_ADDED_US)
            }),
            Target::Growth if is_roomy => own.carried(base).map(|carried| {
                let target = format!("calls/s ≥ {LEAST_CARRIED} × one ({carried:.2})");
                Verdict::new(target, carried >= LEAST_CARRIED)
            }),
            Target::Growth => own.times(base).map(|growth| {
                let target = format!("CPU ≤ {MOST_GROWTH} × one ({growth:.2})");
                Verdict::new(target, growth <= MOST_GROWTH)
            }),
        };
        own.row(row.what, added, verdict)
    };
    ROWS.iter().enumerate().map(line).collect()
}
