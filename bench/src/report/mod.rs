//! What was measured, and the files it is written to. `latest.json` is this model as it is;
//! [`tables`] draws it for people.

pub(crate) mod machine;
pub(crate) mod tables;

use std::{fs, path::Path};

use serde::Serialize;

use self::machine::Machine;
use crate::{
    error::{Error, Result, io},
    payload::{Form, Size},
};

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where it ran.
    pub(crate) machine: Machine,
    /// How it was measured.
    pub(crate) settings: Settings,
    /// Calls under load.
    pub(crate) calls: Vec<CallRow>,
    /// Calls one at a time.
    pub(crate) alone: Vec<AloneRow>,
    /// Calls through gateways that know who calls and decide what may be called.
    pub(crate) access: Vec<AccessRow>,
    /// Calls through gateways that are replicas of each other.
    pub(crate) shared: Vec<AccessRow>,
    /// Answers that the gateway keeps, beside those that it asks for.
    pub(crate) kept: Vec<AccessRow>,
    /// Single figures.
    pub(crate) figures: Vec<Figure>,
    /// What is missing, and how to get it.
    pub(crate) notes: Vec<String>,
}

/// How it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    /// The short run.
    pub(crate) quick: bool,
    /// Turns of each row.
    pub(crate) rounds: usize,
    /// Calls in flight under load.
    pub(crate) connections: usize,
    /// Measured seconds of a turn.
    pub(crate) turn_seconds: f64,
}

/// The way that calls take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Route {
    /// Straight to the upstream.
    Direct,
    /// Through nginx with one worker: what others are compared with.
    Nginx,
    /// Through nginx with a worker for each core.
    NginxAuto,
    /// Through the gateway, 2026-07-28 on both sides.
    GatewayModern,
    /// Through the gateway, 2025-11-25 on both sides.
    GatewayLegacy,
}

impl Route {
    /// All routes, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [
        Self::Direct,
        Self::Nginx,
        Self::NginxAuto,
        Self::GatewayModern,
        Self::GatewayLegacy,
    ];

    /// As the report writes it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx, 1 worker",
            Self::NginxAuto => "nginx, auto",
            Self::GatewayModern => "gateway, modern",
            Self::GatewayLegacy => "gateway, legacy",
        }
    }
}

/// Median and range over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle one.
    pub(crate) median: f64,
    /// The least.
    pub(crate) low: f64,
    /// The most.
    pub(crate) high: f64,
}

impl Spread {
    /// Of these; `None` for none.
    pub(crate) fn of(values: Vec<f64>) -> Option<Self> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        median(values).map(|median| Self { median, low, high })
    }
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let even = values.len().is_multiple_of(2);
    Some(if even {
        f64::midpoint(*values.get(middle - 1)?, upper)
    } else {
        upper
    })
}

/// Calls under load through one route. Figures are medians over the rounds, and `None` where
/// there was nothing to measure.
#[derive(Debug, Serialize)]
pub(crate) struct CallRow {
    /// The way.
    pub(crate) route: Route,
    /// Size of the results.
    pub(crate) size: Size,
    /// Form of the results.
    pub(crate) form: Form,
    /// CPU microseconds of the proxy's processes for a call.
    pub(crate) cpu_us: Option<Spread>,
    /// Median of that over nginx's (one worker) in the same round.
    pub(crate) ratio_to_nginx: Option<f64>,
    /// CPU microseconds of the upstream for a call.
    pub(crate) upstream_cpu_us: Option<f64>,
    /// Calls a second.
    pub(crate) requests_per_second: Option<f64>,
    /// Median latency in microseconds.
    pub(crate) p50_us: Option<f64>,
    /// 99th percentile of the latency in microseconds.
    pub(crate) p99_us: Option<f64>,
    /// Resident memory of the proxy after the last round.
    pub(crate) resident_bytes: Option<u64>,
    /// Failed calls over all rounds.
    pub(crate) errors: u64,
    /// What the first of them said.
    pub(crate) first_error: Option<String>,
    /// Right answers that came as JSON where a stream was asked for, or the other way round.
    pub(crate) answered_in_other_form: u64,
    /// The target, where there is one.
    pub(crate) verdict: Option<Verdict>,
}

/// Calls one at a time through one route.
#[derive(Debug, Serialize)]
pub(crate) struct AloneRow {
    /// The way.
    pub(crate) route: Route,
    /// Size of the results, as JSON.
    pub(crate) size: Size,
    /// Median latency in microseconds.
    pub(crate) p50_us: Option<f64>,
    /// 99th percentile of the latency in microseconds.
    pub(crate) p99_us: Option<f64>,
    /// Median over the rounds of p50 less that of the direct way in the same round.
    pub(crate) added_p50_us: Option<f64>,
    /// Failed calls over all rounds.
    pub(crate) errors: u64,
    /// What the first of them said.
    pub(crate) first_error: Option<String>,
    /// The target, where there is one.
    pub(crate) verdict: Option<Verdict>,
}

/// Calls of 64 B through a gateway that is configured in some way.
#[derive(Debug, Serialize)]
pub(crate) struct AccessRow {
    /// What is configured, and how it is called.
    pub(crate) what: &'static str,
    /// CPU microseconds of the gateway for a call.
    pub(crate) cpu_us: Option<Spread>,
    /// Median over the rounds of that less the same of the row that it is compared with.
    pub(crate) added_us: Option<f64>,
    /// Calls a second.
    pub(crate) requests_per_second: Option<f64>,
    /// Failed calls over all rounds.
    pub(crate) errors: u64,
    /// What the first of them said.
    pub(crate) first_error: Option<String>,
    /// The target, where there is one.
    pub(crate) verdict: Option<Verdict>,
}

/// A figure by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: &'static str,
    /// How much; `None` where measuring failed, and `detail` says why.
    pub(crate) value: Option<f64>,
    /// Its unit; KB and MB are powers of ten.
    pub(crate) unit: &'static str,
    /// How it was measured.
    pub(crate) detail: String,
    /// The target, where there is one.
    pub(crate) verdict: Option<Verdict>,
}

/// A target and whether it was met.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// As the report writes it.
    pub(crate) target: String,
    /// Whether it was.
    pub(crate) met: bool,
}

impl Verdict {
    /// A verdict.
    pub(crate) fn new(target: String, met: bool) -> Self {
        Self { target, met }
    }
}

impl Report {
    /// Every target of the run.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        let calls = self.calls.iter().filter_map(|row| row.verdict.as_ref());
        let alone = self.alone.iter().filter_map(|row| row.verdict.as_ref());
        let access = self.access.iter().chain(&self.shared).chain(&self.kept);
        let access = access.filter_map(|row| row.verdict.as_ref());
        calls
            .chain(alone)
            .chain(access)
            .chain(self.figures.iter().filter_map(|row| row.verdict.as_ref()))
    }

    /// Failed calls and figures that could not be measured.
    pub(crate) fn errors(&self) -> u64 {
        let calls: u64 = self.calls.iter().map(|row| row.errors).sum();
        let alone: u64 = self.alone.iter().map(|row| row.errors).sum();
        let access: u64 = self
            .access
            .iter()
            .chain(&self.shared)
            .chain(&self.kept)
            .map(|row| row.errors)
            .sum();
        calls
            + alone
            + access
            + self
                .figures
                .iter()
                .filter(|figure| figure.value.is_none())
                .count() as u64
    }

    /// The first message of every row that had errors.
    pub(crate) fn first_errors(&self) -> impl Iterator<Item = (String, &str)> {
        let calls = self.calls.iter().filter_map(|row| {
            let place = format!(
                "{}, {} {}",
                row.route.label(),
                row.size.label(),
                row.form.label()
            );
            Some((place, row.first_error.as_deref()?))
        });
        let alone = self.alone.iter().filter_map(|row| {
            let place = format!("{}, {}, one at a time", row.route.label(), row.size.label());
            Some((place, row.first_error.as_deref()?))
        });
        let access = self
            .access
            .iter()
            .chain(&self.shared)
            .chain(&self.kept)
            .filter_map(|row| Some((row.what.to_owned(), row.first_error.as_deref()?)));
        calls.chain(alone).chain(access)
    }
}

/// Writes `latest.md` and `latest.json` into a folder.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    let shown = folder.display();
    fs::create_dir_all(folder).map_err(io(format!("creating {shown}")))?;
    let mut json = serde_json::to_string_pretty(report)
        .map_err(|error| Error::Unusable(format!("writing the report as JSON: {error}")))?;
    json.push('\n');
    for (name, text) in [
        ("latest.md", tables::markdown(report)),
        ("latest.json", json),
    ] {
        fs::write(folder.join(name), text).map_err(io(format!("writing {shown}/{name}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        let spread = Spread::of(vec![5.0, 9.0, 6.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (5.0, 6.0, 9.0));
    }
}
