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
};
use crate::{
    error::{Error, Result},
    load::{self, Edge, Outcome, Plan, Wanted},
    message::{Address, Era},
    payload::{Form, Size},
    report::{AccessRow, Spread, Verdict, median},
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

/// What one turn measured.
struct Sample {
    /// Of all gateways together.
    cpu_us: Option<f64>,
    per_second: f64,
    outcomes: Vec<Outcome>,
}

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
    let mut samples: Vec<Vec<Sample>> = ROWS.iter().map(|_| Vec::new()).collect();
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
            to: Address::on(gateway.port()),
            era: Era::Modern,
            wanted: Wanted::Call,
            size: Size::Small,
            form: Form::Json,
            connections: effort.connections.div_ceil(gateways.len()),
            warm_up: effort.loaded.warm_up,
            duration: effort.loaded.duration,
        };
        let watched = gateway.watched();
        let mut cpu = 0.0;
        let mut at = |edge| {
            let sign = if edge == Edge::Start { -1.0 } else { 1.0 };
            cpu += sign * watched.cpu_seconds()?;
            Ok(())
        };
        let outcome = load::drive(&plan, &mut at).await?;
        Ok::<_, Error>((cpu, outcome))
    });
    let loaded = try_join_all(loads).await?;
    let cpu: f64 = loaded.iter().map(|(cpu, _)| cpu).sum();
    let calls: u64 = loaded
        .iter()
        .map(|(_, outcome)| outcome.latencies.total())
        .sum();
    Ok(Sample {
        cpu_us: (calls > 0).then(|| cpu * 1e6 / calls as f64),
        per_second: loaded.iter().map(|(_, outcome)| outcome.per_second()).sum(),
        outcomes: loaded.into_iter().map(|(_, outcome)| outcome).collect(),
    })
}

fn rows(samples: &[Vec<Sample>]) -> Vec<AccessRow> {
    let compared = |at: usize, compare: &dyn Fn(&Sample, &Sample) -> Option<f64>| {
        let base = &samples[ROWS[at].base];
        let pairs = samples[at].iter().zip(base);
        median(pairs.filter_map(|(own, base)| compare(own, base)).collect())
    };
    let is_roomy = available_parallelism().is_ok_and(|cores| cores.get() >= CORES);
    ROWS.iter()
        .enumerate()
        .map(|(at, row)| {
            let added = compared(at, &|own, base| Some(own.cpu_us? - base.cpu_us?));
            let growth = compared(at, &|own, base| Some(own.cpu_us? / base.cpu_us?));
            let carried = compared(at, &|own, base| Some(own.per_second / base.per_second));
            let verdict = match row.target {
                Target::None => None,
                Target::Added => added.map(|added| {
                    let target = format!("added CPU ≤ {MOST_ADDED_US:.0} µs");
                    Verdict::new(target, added <= MOST_ADDED_US)
                }),
                Target::Growth if is_roomy => carried.map(|carried| {
                    let target = format!("calls/s ≥ {LEAST_CARRIED} × one ({carried:.2})");
                    Verdict::new(target, carried >= LEAST_CARRIED)
                }),
                Target::Growth => growth.map(|growth| {
                    let target = format!("CPU ≤ {MOST_GROWTH} × one ({growth:.2})");
                    Verdict::new(target, growth <= MOST_GROWTH)
                }),
            };
            let own = &samples[at];
            let outcomes = || own.iter().flat_map(|sample| &sample.outcomes);
            AccessRow {
                what: row.what,
                cpu_us: Spread::of(own.iter().filter_map(|sample| sample.cpu_us).collect()),
                added_us: added.filter(|_| at != row.base),
                requests_per_second: median(own.iter().map(|sample| sample.per_second).collect()),
                errors: outcomes().map(|outcome| outcome.errors).sum(),
                first_error: outcomes().find_map(|outcome| outcome.first_error.clone()),
                verdict,
            }
        })
        .collect()
}
