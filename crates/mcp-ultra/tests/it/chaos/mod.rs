//! The fault matrix: each part that the gateway depends on is killed, paused, cut off and slowed under
//! constant load, and comes back.
//!
//! `make test` runs four of the cells for a short while ([`four_cells_of_the_fault_matrix`]); `make
//! test-chaos` runs all twenty for at least 30 s and 1,000 calls each, and writes
//! `docs/reference/fault-matrix.md`.

mod flapping;
mod load;
mod report;
mod rolling;
mod site;

use std::{
    fmt,
    time::{Duration, Instant},
};

use self::{
    load::{CALLERS, Kind, Load, Outcome, Record},
    report::Cell,
    site::{FAR, Site},
};

/// The load before anything is broken, in which nothing may fail.
const CALM: Duration = Duration::from_secs(3);
/// For so long nothing fails where it has healed.
const HEALED: Duration = Duration::from_secs(5);
/// It has to heal within.
const HEALS_WITHIN: Duration = Duration::from_secs(30);
/// How long what belongs to a call may stay after its end.
const CLEARED_WITHIN: Duration = Duration::from_secs(20);

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The primary.
    Postgres,
    Redis,
    Nats,
    /// One of two upstreams, a legacy one.
    Upstream,
    /// One of three.
    Replica,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Postgres,
        Self::Redis,
        Self::Nats,
        Self::Upstream,
        Self::Replica,
    ];
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL.
    Killed,
    /// SIGSTOP: connections stay, nothing answers.
    Paused,
    /// Nothing passes on the network any more, and nobody is told.
    CutOff,
    /// Everything arrives 200 ms later, in each direction.
    Slowed,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Killed, Self::Paused, Self::CutOff, Self::Slowed];
}

/// How long a part stays broken at least, and for how many calls.
#[derive(Clone, Copy)]
struct Extent {
    time: Duration,
    calls: usize,
}

/// Breaks a part under load, brings it back, and looks at what came of it.
async fn cell(part: Part, fault: Fault, extent: Extent) -> Cell {
    let mut site = Site::start().await;
    let load = Load::start(&site);
    tokio::time::sleep(CALM).await;
    assert!(
        load.last_failure().is_none(),
        "it fails before anything is broken"
    );

    let broken = Instant::now();
    site.harm(part, fault).await;
    while broken.elapsed() < extent.time || load.since(broken) < extent.calls {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let calls = load.since(broken);
    let mended = Instant::now();
    site.mend(part, fault).await;
    let is_quiet = || {
        let last = load.last_failure().unwrap_or(mended).max(mended);
        last.elapsed() > HEALED
    };
    while !is_quiet() && mended.elapsed() < HEALS_WITHIN {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let records = load.end().await;
    let begun = Instant::now();
    let left = loop {
        let left = site.left().await;
        if left.is_empty() || begun.elapsed() > CLEARED_WITHIN {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let wrong = load::untrue(&records, &site.executed());
    Cell::new(
        (part, fault),
        (broken, mended),
        calls,
        &records,
        wrong,
        left,
    )
}

/// What must not fail for this reason.
fn is_unrelated(part: Part, record: &Record) -> bool {
    match part {
        // All goes on by what each replica knows. A key that it does not know is refused for that.
        Part::Postgres => record.kind != Kind::Refused,
        Part::Redis => true,
        // The answer to a question may arrive at another replica than the one that waits for it.
        Part::Nats => record.kind != Kind::Asked,
        // Its own calls alone.
        Part::Upstream => record.upstream != FAR,
        // Requests that were in flight on it; they are bounded by their number.
        Part::Replica => false,
    }
}

/// What a replica that is lost may cost: what each caller had in flight there, and what came until the
/// balancer has noticed.
const LOST_WITH_A_REPLICA: usize = 2 * 2 * CALLERS;

fn assert_bearable(cell: &Cell) {
    println!("{cell}");
    assert_eq!(cell.wrong, Vec::<String>::new(), "{cell}");
    assert_eq!(cell.left, Vec::<String>::new(), "{cell}");
    assert_eq!(cell.unrelated, 0, "{cell}");
    assert!(cell.heals_after < HEALS_WITHIN, "{cell}");
    if cell.part == Part::Replica {
        assert!(cell.failed() <= LOST_WITH_A_REPLICA, "{cell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_cells_of_the_fault_matrix() {
    let extent = Extent {
        time: Duration::from_secs(5),
        calls: 100,
    };
    for (part, fault) in [
        (Part::Postgres, Fault::Killed),
        (Part::Redis, Fault::Paused),
        (Part::Upstream, Fault::CutOff),
        (Part::Replica, Fault::Killed),
    ] {
        assert_bearable(&Box::pin(cell(part, fault, extent)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 20 minutes: `make test-chaos`"]
async fn the_whole_fault_matrix() {
    let extent = Extent {
        time: Duration::from_secs(30),
        calls: 1_000,
    };
    let mut cells = Vec::new();
    for part in Part::ALL {
        for fault in Fault::ALL {
            let cell = Box::pin(cell(part, fault, extent)).await;
            println!("{cell}");
            cells.push(cell);
        }
    }
    report::write(&cells);
    cells.iter().for_each(assert_bearable);
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Nats => "NATS",
            Self::Upstream => "an upstream",
            Self::Replica => "a replica",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Killed => "killed",
            Self::Paused => "paused",
            Self::CutOff => "cut off",
            Self::Slowed => "slowed",
        })
    }
}
