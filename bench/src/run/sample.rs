//! What the turns of a row have measured, and the row of the report that becomes of them. The table of
//! all routes, which has more to say of each call, makes its own in [`calls`](super::calls).

use super::Effort;
use crate::{
    error::Result,
    load::{Edge, Outcome, Plan, Wanted},
    message::{Address, Era},
    payload::{Form, Size},
    process::Watched,
    report::{AccessRow, Spread, Verdict, median},
};

impl Effort {
    /// The load of a turn, of the smallest calls.
    pub(super) fn small_calls(&self, to: Address) -> Plan {
        Plan {
            to,
            era: Era::Modern,
            wanted: Wanted::Call,
            size: Size::Small,
            form: Form::Json,
            connections: self.connections,
            warm_up: self.loaded.warm_up,
            duration: self.loaded.duration,
        }
    }
}

/// The CPU time that a process takes between the edges of a load.
pub(super) struct Meter<'a> {
    watched: &'a Watched,
    seconds: f64,
}

impl<'a> Meter<'a> {
    /// Nothing yet.
    pub(super) fn of(watched: &'a Watched) -> Self {
        Self {
            watched,
            seconds: 0.0,
        }
    }

    /// Reads it at an edge.
    pub(super) fn at(&mut self, edge: Edge) -> Result<()> {
        let sign = if edge == Edge::Start { -1.0 } else { 1.0 };
        self.seconds += sign * self.watched.cpu_seconds()?;
        Ok(())
    }

    /// Once both edges are over.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// What one turn has measured.
pub(super) struct Sample {
    /// For a call; `None` where there were none.
    cpu_us: Option<f64>,
    per_second: f64,
    errors: u64,
    first_error: Option<String>,
}

impl Sample {
    /// Of what was loaded at the same time: the CPU time of each, and what came of it.
    pub(super) fn of(loaded: &[(f64, Outcome)]) -> Self {
        let cpu: f64 = loaded.iter().map(|(cpu, _)| cpu).sum();
        let outcomes = || loaded.iter().map(|(_, outcome)| outcome);
        let calls: u64 = outcomes().map(|outcome| outcome.latencies.total()).sum();
        Self {
            cpu_us: (calls > 0).then(|| cpu * 1e6 / calls as f64),
            per_second: outcomes().map(Outcome::per_second).sum(),
            errors: outcomes().map(|outcome| outcome.errors).sum(),
            first_error: outcomes().find_map(|outcome| outcome.first_error.clone()),
        }
    }
}

/// Those of one row, one for each round.
#[derive(Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// For so many rows, none yet.
    pub(super) fn of_rows(count: usize) -> Vec<Self> {
        (0..count).map(|_| Self::default()).collect()
    }

    /// One more round.
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// CPU µs that a call takes more than in the same round of `base`; the median over the rounds.
    pub(super) fn added_us(&self, base: &Self) -> Option<f64> {
        self.against(base, |own, base| Some(own.cpu_us? - base.cpu_us?))
    }

    /// CPU of a call in times of one of `base`, likewise.
    pub(super) fn times(&self, base: &Self) -> Option<f64> {
        self.against(base, |own, base| Some(own.cpu_us? / base.cpu_us?))
    }

    /// Calls a second in times of those of `base`, likewise.
    pub(super) fn carried(&self, base: &Self) -> Option<f64> {
        self.against(base, |own, base| Some(own.per_second / base.per_second))
    }

    fn against(
        &self,
        base: &Self,
        compare: impl Fn(&Sample, &Sample) -> Option<f64>,
    ) -> Option<f64> {
        let pairs = self.0.iter().zip(&base.0);
        median(pairs.filter_map(|(own, base)| compare(own, base)).collect())
    }

    /// The row of the report.
    pub(super) fn row(
        &self,
        what: &'static str,
        added_us: Option<f64>,
        verdict: Option<Verdict>,
    ) -> AccessRow {
        let samples = || self.0.iter();
        AccessRow {
            what,
            cpu_us: Spread::of(samples().filter_map(|sample| sample.cpu_us).collect()),
            added_us,
            requests_per_second: median(samples().map(|sample| sample.per_second).collect()),
            errors: samples().map(|sample| sample.errors).sum(),
            first_error: samples().find_map(|sample| sample.first_error.clone()),
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(costs: &[Option<f64>]) -> Samples {
        let sample = |&cpu_us| Sample {
            cpu_us,
            per_second: 10.0,
            errors: 1,
            first_error: Some("refused".to_owned()),
        };
        Samples(costs.iter().map(sample).collect())
    }

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        let own = samples(&[Some(30.0), None, Some(90.0)]);
        let base = samples(&[Some(10.0), Some(1.0), Some(60.0)]);
        assert_eq!(own.added_us(&base), Some(25.0));
        assert_eq!(own.times(&base), Some(2.25));
        assert_eq!(own.carried(&base), Some(1.0));
        assert_eq!(samples(&[None]).times(&base), None);
    }

    #[test]
    fn a_row_tells_of_all_rounds() {
        let row = samples(&[Some(30.0), None, Some(90.0)]).row("what", None, None);
        let cpu = row.cpu_us.unwrap();
        assert_eq!((cpu.low, cpu.median, cpu.high), (30.0, 60.0, 90.0));
        assert_eq!((row.errors, row.requests_per_second), (3, Some(10.0)));
        assert_eq!(row.first_error.as_deref(), Some("refused"));
        let nothing = Sample::of(&[]);
        assert_eq!((nothing.cpu_us, nothing.errors), (None, 0));
    }
}
