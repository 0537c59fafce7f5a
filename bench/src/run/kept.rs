//! Answers that the gateway gives again, beside the same ones asked for each time, and beside what a
//! bare hyper server costs that does nothing but answer the same: below that nothing behind hyper
//! can come.

use std::path::Path;

use super::{
    Effort,
    children::{Extra, Gateway, Upstream},
    listing::{ECHOES, wait_for_tools},
    progress,
    sample::{Meter, Sample, Samples},
};
use crate::{
    error::Result,
    load::{self, Plan, Wanted},
    message::Address,
    payload::Size,
    process::Watched,
    report::{AccessRow, Verdict},
};

/// The most that an answer may cost that is kept, in times of one that is asked for.
const MOST: f64 = 0.25;
/// Keeps what the tools answer, and believes the server that they only read. Resources are kept for as
/// long as the server says.
const KEEPS: &str = "cache: { ttl: { tools: 1h } }\n";
const BELIEVED: &str = ", read_only: [\"*\"]";
/// Keeps nothing.
const ASKS: &str = "cache: { enabled: false }\n";
/// The tools of the list, whose page is as long as the largest resource.
const LISTED: usize = 400;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The server itself: hyper, and nothing to do.
    Hyper,
    /// The gateway, which asks the server each time.
    Asks,
    /// The gateway, by what it keeps.
    Keeps,
}

/// A row: what is measured, who answers what, and the row of what is asked for that it is compared with.
type Row = (&'static str, Who, Wanted, Size, Option<usize>);

const ROWS: [Row; 17] = [
    (
        "tool, 64 B: a bare hyper server",
        Who::Hyper,
        Wanted::Call,
        Size::Small,
        None,
    ),
    (
        "tool, 64 B: asked for",
        Who::Asks,
        Wanted::Call,
        Size::Small,
        None,
    ),
    (
        "tool, 64 B: kept",
        Who::Keeps,
        Wanted::Call,
        Size::Small,
        Some(1),
    ),
    (
        "tool, 4 KiB: a bare hyper server",
        Who::Hyper,
        Wanted::Call,
        Size::Medium,
        None,
    ),
    (
        "tool, 4 KiB: asked for",
        Who::Asks,
        Wanted::Call,
        Size::Medium,
        None,
    ),
    (
        "tool, 4 KiB: kept",
        Who::Keeps,
        Wanted::Call,
        Size::Medium,
        Some(4),
    ),
    (
        "resource, 64 B: a bare hyper server",
        Who::Hyper,
        Wanted::Read,
        Size::Small,
        None,
    ),
    (
        "resource, 64 B: asked for",
        Who::Asks,
        Wanted::Read,
        Size::Small,
        None,
    ),
    (
        "resource, 64 B: kept",
        Who::Keeps,
        Wanted::Read,
        Size::Small,
        Some(7),
    ),
    (
        "resource, 4 KiB: a bare hyper server",
        Who::Hyper,
        Wanted::Read,
        Size::Medium,
        None,
    ),
    (
        "resource, 4 KiB: asked for",
        Who::Asks,
        Wanted::Read,
        Size::Medium,
        None,
    ),
    (
        "resource, 4 KiB: kept",
        Who::Keeps,
        Wanted::Read,
        Size::Medium,
        Some(10),
    ),
    (
        "resource, 256 KiB: a bare hyper server",
        Who::Hyper,
        Wanted::Read,
        Size::Large,
        None,
    ),
    (
        "resource, 256 KiB: asked for",
        Who::Asks,
        Wanted::Read,
        Size::Large,
        None,
    ),
    (
        "resource, 256 KiB: kept",
        Who::Keeps,
        Wanted::Read,
        Size::Large,
        Some(13),
    ),
    (
        "list of 406 tools (230 KiB): a bare hyper server",
        Who::Hyper,
        Wanted::List,
        Size::Large,
        None,
    ),
    // A list is never asked for with a call: it is compared with what is as long and is.
    (
        "list of 406 tools (230 KiB): kept",
        Who::Keeps,
        Wanted::List,
        Size::Large,
        Some(13),
    ),
];

/// The rows.
pub(crate) async fn calls(binary: &Path, effort: &Effort) -> Result<Vec<AccessRow>> {
    let upstream = Upstream::start(1, LISTED).await?;
    let mut asks = start(binary, &upstream, ASKS, "").await?;
    let mut keeps = start(binary, &upstream, KEEPS, BELIEVED).await?;
    let mut samples = Samples::of_rows(ROWS.len());
    for round in 0..effort.rounds {
        for step in 0..ROWS.len() {
            let at = (step + round) % ROWS.len();
            let (what, who, wanted, size, _) = ROWS[at];
            progress(&format!("round {} of {}: {what}", round + 1, effort.rounds));
            let (port, watched) = match who {
                Who::Hyper => (upstream.port(), upstream.watched()),
                Who::Asks => (asks.port(), asks.watched()),
                Who::Keeps => (keeps.port(), keeps.watched()),
            };
            samples[at].push(turn(port, &watched, (wanted, size), effort).await?);
            asks.still_there()?;
            keeps.still_there()?;
        }
    }
    asks.stop().await;
    keeps.stop().await;
    upstream.stop().await;
    Ok(rows(&samples))
}

async fn start(
    binary: &Path,
    upstream: &Upstream,
    sections: &str,
    server: &'static str,
) -> Result<Gateway> {
    let extra = Extra {
        sections: sections.to_owned(),
        server,
        ..Extra::default()
    };
    let mut gateway = Gateway::start_with(binary, upstream.ports(), &extra).await?;
    wait_for_tools(&mut gateway, None, ECHOES + LISTED).await?;
    Ok(gateway)
}

async fn turn(
    port: u16,
    watched: &Watched,
    (wanted, size): (Wanted, Size),
    effort: &Effort,
) -> Result<Sample> {
    let plan = Plan {
        wanted,
        size,
        ..effort.small_calls(Address::on(port))
    };
    let mut meter = Meter::of(watched);
    let outcome = load::drive(&plan, &mut |edge| meter.at(edge)).await?;
    Ok(Sample::of(&[(meter.seconds(), outcome)]))
}

fn rows(samples: &[Samples]) -> Vec<AccessRow> {
    let row = |(at, &(what, _, _, _, base)): (usize, &Row)| {
        let times = base.and_then(|base| samples[at].times(&samples[base]));
        let verdict = times.map(|times| {
            let target = format!("CPU ≤ {MOST:.2} × asked for ({times:.2} ×)");
            Verdict::new(target, times <= MOST)
        });
        samples[at].row(what, None, verdict)
    };
    ROWS.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_compared_with_what_is_asked_for() {
        for (what, who, wanted, size, base) in ROWS {
            assert_eq!(base.is_some(), who == Who::Keeps, "{what}");
            let Some(base) = base else { continue };
            let (_, other, asked, as_large, _) = ROWS[base];
            assert_eq!((other, as_large), (Who::Asks, size), "{what}");
            assert!(asked == wanted || wanted == Wanted::List, "{what}");
        }
    }
}
