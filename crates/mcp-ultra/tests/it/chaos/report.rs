//! What came of a cell, and the table of all.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{Fault, Outcome, Part, Record, is_unrelated, site::REPLICAS};

/// What came of it.
pub(super) struct Cell {
    pub part: Part,
    pub fault: Fault,
    /// Calls that were begun and ended while it was broken.
    calls: usize,
    /// Calls that failed from the fault on, by how.
    how: BTreeMap<String, usize>,
    /// Those of them that have nothing to do with what was broken.
    pub unrelated: usize,
    /// From the first call that failed until the last one had.
    failing: Duration,
    /// From when the part was brought back until a call was begun for the last time that failed.
    pub heals_after: Duration,
    /// The longest that a call took that failed.
    longest: Duration,
    /// What was told to callers and is not so.
    pub wrong: Vec<String>,
    /// What was left behind.
    pub left: Vec<String>,
}

impl Cell {
    pub(super) fn new(
        (part, fault): (Part, Fault),
        (broken, mended): (Instant, Instant),
        calls: usize,
        records: &[Record],
        wrong: Vec<String>,
        left: Vec<String>,
    ) -> Self {
        let failed = records.iter().filter_map(|record| match &record.outcome {
            Outcome::Failed(how) => Some((record, how)),
            Outcome::Done | Outcome::Wrong(_) => None,
        });
        let failed: Vec<_> = failed.collect();
        let mut how = BTreeMap::new();
        for (record, reason) in &failed {
            *how.entry(format!("{reason} ({})", record.kind))
                .or_default() += 1;
        }
        let first = failed.iter().map(|(record, _)| record.begun).min();
        let last = failed.iter().map(|(record, _)| record.ended).max();
        let last_begun = failed.iter().map(|(record, _)| record.begun).max();
        let took = failed.iter().map(|(record, _)| record.ended - record.begun);
        let unrelated = failed
            .iter()
            .filter(|(record, _)| is_unrelated(part, record));
        Self {
            part,
            fault,
            calls,
            unrelated: unrelated.count(),
            failing: last.zip(first).map_or(Duration::ZERO, |(last, first)| {
                last.saturating_duration_since(first.max(broken))
            }),
            heals_after: last_begun.map_or(Duration::ZERO, |last| {
                last.saturating_duration_since(mended)
            }),
            longest: took.max().unwrap_or_default(),
            how,
            wrong,
            left,
        }
    }

    pub(super) fn failed(&self) -> usize {
        self.how.values().sum()
    }

    fn reasons(&self) -> String {
        let each = self.how.iter().map(|(how, count)| format!("{count} {how}"));
        each.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}: {} calls, {} failed for {:.1?} ({}), of these {} elsewhere; the longest took {:.1?}; healed after {:.1?}; wrong: {:?}; left: {:?}",
            self.part,
            self.fault,
            self.calls,
            self.failed(),
            self.failing,
            self.reasons(),
            self.unrelated,
            self.longest,
            self.heals_after,
            self.wrong,
            self.left
        )
    }
}

/// What stands above the table.
const HEAD: &str = "# Fault matrix

Written by `make test-chaos`; don't edit it. REPLICAS replicas behind HAProxy without affinity, over PostgreSQL, Redis and NATS with TLS, in
front of two upstreams (one of both eras, and a legacy one, which is the one that is broken), under constant load of both eras: calls that
are answered at once, after progress, and after a question to the user, and calls that must be refused. One part is killed (SIGKILL), paused
(SIGSTOP), cut off (nothing passes and nobody is told) or slowed (200 ms more in each direction) for at least 30 s and 1,000 calls, and comes
back. Every call carries a nonce that the upstream notes when it does its work.

- **calls**: begun and ended while it was broken. **failed**: from the fault until all is well again, and for how long. A call is not made
  again by its caller; the answer to a question is sent again where the gateway says that it can be (`unreachable`) or, where a call waits for it, if it is not known whether it has arrived, and each time counts. **elsewhere**: those of them that have nothing to do with the part: calls to the other upstream; with Redis all; with
  PostgreSQL all but those with a key that was withdrawn, which can't be looked up and is refused by 503; with NATS all but answers to
  questions.
- **healed after**: from when the part was there again until a call was begun for the last time that failed.
- **wrong**: answers of another call, calls that were answered and not done exactly once, that failed and were done twice, that were done
  though they are forbidden or their key was withdrawn.
- **left**: parked calls, sessions, streams, upstream sessions and breakers of the replicas, open transactions and locks of PostgreSQL, and
  keys of Redis without an end, 20 s after the last call.

| part | fault | calls | failed | how | for | longest | elsewhere | healed after | wrong | left |
|---|---|---|---|---|---|---|---|---|---|---|
";

/// Writes the table into the documentation.
pub(super) fn write(cells: &[Cell]) {
    let mut text = HEAD.replace("REPLICAS", &REPLICAS.to_string());
    for cell in cells {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            cell.part,
            cell.fault,
            cell.calls,
            cell.failed(),
            cell.reasons(),
            seconds(cell.failing),
            seconds(cell.longest),
            cell.unrelated,
            seconds(cell.heals_after),
            cell.wrong.len(),
            cell.left.len()
        )
        .unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/fault-matrix.md");
    fs::write(file, text).unwrap();
}
