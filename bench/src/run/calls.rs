//! Calls through every route: under load, in turns, so that a noisy minute hits all alike; and
//! one at a time, for what a route adds to the latency.

use std::path::Path;

use super::{
    Args, Effort, Turn,
    children::{Gateway, Nginx, Upstream},
    listing::{ECHOES, wait_for_tools},
    progress,
    sample::Meter,
};
use crate::{
    error::Result,
    load::{self, Outcome, Plan, Wanted},
    message::{Address, Era},
    payload::{Form, Size},
    process::Watched,
    report::{AloneRow, CallRow, Route, Spread, Verdict, median},
};

/// Everything that calls go through, running.
pub(crate) struct Subjects {
    /// What answers in the end.
    pub(crate) upstream: Upstream,
    nginx_one: Option<Nginx>,
    nginx_auto: Option<Nginx>,
    gateway: Option<Gateway>,
}

impl Subjects {
    /// Starts what there is.
    pub(crate) async fn start(
        upstream: Upstream,
        nginx: Option<&Path>,
        args: &Args,
        effort: &Effort,
    ) -> Result<Self> {
        let port = upstream.port();
        let (mut nginx_one, mut nginx_auto, mut gateway) = (None, None, None);
        if let Some(binary) = nginx {
            nginx_one = Some(Nginx::start(binary, port, "1").await?);
            if effort.nginx_auto {
                nginx_auto = Some(Nginx::start(binary, port, "auto").await?);
            }
        }
        if let Some(binary) = &args.gateway {
            let mut started = Gateway::start(binary, &[port]).await?;
            wait_for_tools(&mut started, None, ECHOES).await?;
            gateway = Some(started);
        }
        Ok(Self {
            upstream,
            nginx_one,
            nginx_auto,
            gateway,
        })
    }

    /// Ends all of it.
    pub(crate) async fn stop(self) {
        for nginx in [self.nginx_one, self.nginx_auto].into_iter().flatten() {
            nginx.stop().await;
        }
        if let Some(gateway) = self.gateway {
            gateway.stop().await;
        }
        self.upstream.stop().await;
    }

    fn routes(&self) -> Vec<Route> {
        Route::ALL
            .into_iter()
            .filter(|&route| self.reach(route).is_some())
            .collect()
    }

    /// Port, era and process of a route; no process for the direct one.
    fn reach(&self, route: Route) -> Option<(u16, Era, Option<Watched>)> {
        let through = |nginx: &Option<Nginx>| {
            nginx
                .as_ref()
                .map(|nginx| (nginx.port(), Era::Modern, Some(nginx.watched())))
        };
        match route {
            Route::Direct => Some((self.upstream.port(), Era::Modern, None)),
            Route::Nginx => through(&self.nginx_one),
            Route::NginxAuto => through(&self.nginx_auto),
            Route::GatewayModern | Route::GatewayLegacy => {
                let era = if route == Route::GatewayModern {
                    Era::Modern
                } else {
                    Era::Legacy
                };
                let gateway = self.gateway.as_ref()?;
                Some((gateway.port(), era, Some(gateway.watched())))
            }
        }
    }

    /// One turn of one row; `None` for a route that is not there.
    async fn turn(
        &mut self,
        route: Route,
        (size, form): (Size, Form),
        connections: usize,
        turn: Turn,
    ) -> Result<Option<Sample>> {
        let Some((port, era, proxy)) = self.reach(route) else {
            return Ok(None);
        };
        let plan = Plan {
            to: Address::on(port),
            era,
            wanted: Wanted::Call,
            size,
            form,
            connections,
            warm_up: turn.warm_up,
            duration: turn.duration,
        };
        let upstream = self.upstream.watched();
        let (mut of_proxy, mut of_upstream) = (proxy.as_ref().map(Meter::of), Meter::of(&upstream));
        let outcome = load::drive(&plan, &mut |edge| {
            if let Some(meter) = &mut of_proxy {
                meter.at(edge)?;
            }
            of_upstream.at(edge)
        })
        .await;
        if let Some(gateway) = &mut self.gateway {
            // Before the error of reading its costs: the log says more.
            gateway.still_there()?;
        }
        let outcome = outcome?;
        let calls = outcome.latencies.total();
        let a_call = |seconds: f64| (calls > 0).then(|| seconds * 1e6 / calls as f64);
        let resident = proxy.as_ref().map(Watched::resident_bytes).transpose()?;
        Ok(Some(Sample {
            cpu_us: of_proxy.and_then(|meter| a_call(meter.seconds())),
            upstream_cpu_us: a_call(of_upstream.seconds()),
            resident,
            outcome,
        }))
    }
}

/// What one turn measured.
struct Sample {
    cpu_us: Option<f64>,
    upstream_cpu_us: Option<f64>,
    resident: Option<u64>,
    outcome: Outcome,
}

impl Sample {
    fn p50_us(&self) -> Option<f64> {
        self.outcome.latencies.quantile_us(0.5)
    }
}

/// Rounds of samples of one route and cell.
struct Series {
    route: Route,
    cell: (Size, Form),
    samples: Vec<Sample>,
}

impl Series {
    fn median(&self, of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.iter().filter_map(of).collect())
    }

    /// Median over the rounds of this row's figure against that of `base` in the same round.
    fn against(
        &self,
        base: Option<&Self>,
        of: impl Fn(&Sample) -> Option<f64>,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let pairs = self.samples.iter().zip(&base?.samples);
        median(
            pairs
                .filter_map(|(own, base)| Some(compare(of(own)?, of(base)?)))
                .collect(),
        )
    }

    fn errors(&self) -> (u64, Option<String>) {
        let count = self
            .samples
            .iter()
            .map(|sample| sample.outcome.errors)
            .sum();
        let first = self
            .samples
            .iter()
            .find_map(|sample| sample.outcome.first_error.clone());
        (count, first)
    }
}

/// Every route in turn, cell by cell, round by round; who begins changes with the round.
async fn rounds(
    subjects: &mut Subjects,
    routes: &[Route],
    cells: &[(Size, Form)],
    connections: usize,
    rounds: usize,
    turn: Turn,
) -> Result<Vec<Series>> {
    let mut series: Vec<Series> = cells
        .iter()
        .flat_map(|&cell| {
            routes.iter().map(move |&route| Series {
                route,
                cell,
                samples: Vec::new(),
            })
        })
        .collect();
    for round in 0..rounds {
        for &cell in cells {
            for step in 0..routes.len() {
                let route = routes[(step + round) % routes.len()];
                progress(&format!(
                    "round {} of {rounds}: {}, {} {}, {connections} at a time",
                    round + 1,
                    route.label(),
                    cell.0.label(),
                    cell.1.label()
                ));
                let sample = subjects.turn(route, cell, connections, turn).await?;
                let row = series
                    .iter_mut()
                    .find(|row| row.route == route && row.cell == cell);
                if let (Some(row), Some(sample)) = (row, sample) {
                    row.samples.push(sample);
                }
            }
        }
    }
    Ok(series)
}

/// The rows of calls under load.
pub(crate) async fn under_load(subjects: &mut Subjects, effort: &Effort) -> Result<Vec<CallRow>> {
    let routes = subjects.routes();
    let all = rounds(
        subjects,
        &routes,
        &effort.cells,
        effort.connections,
        effort.rounds,
        effort.loaded,
    )
    .await?;
    let nginx = |cell| {
        all.iter()
            .find(|row| row.route == Route::Nginx && row.cell == cell)
    };
    Ok(all
        .iter()
        .map(|row| call_row(row, nginx(row.cell)))
        .collect())
}

fn call_row(row: &Series, nginx: Option<&Series>) -> CallRow {
    let (size, form) = row.cell;
    let ratio = if row.route == Route::Direct {
        None
    } else {
        row.against(nginx, |sample| sample.cpu_us, |own, base| own / base)
    };
    let limit = match (row.route, size, form) {
        (Route::GatewayModern, Size::Small, Form::Json) => Some(2.0),
        (Route::GatewayModern, Size::Medium, Form::Json) => Some(1.5),
        _ => None,
    };
    let (errors, first_error) = row.errors();
    CallRow {
        route: row.route,
        size,
        form,
        cpu_us: Spread::of(
            row.samples
                .iter()
                .filter_map(|sample| sample.cpu_us)
                .collect(),
        ),
        ratio_to_nginx: ratio,
        upstream_cpu_us: row.median(|sample| sample.upstream_cpu_us),
        requests_per_second: row.median(|sample| Some(sample.outcome.per_second())),
        p50_us: row.median(Sample::p50_us),
        p99_us: row.median(|sample| sample.outcome.latencies.quantile_us(0.99)),
        resident_bytes: row.samples.last().and_then(|sample| sample.resident),
        errors,
        first_error,
        answered_in_other_form: row
            .samples
            .iter()
            .map(|sample| sample.outcome.other_form)
            .sum(),
        verdict: limit.zip(ratio).map(|(limit, ratio)| {
            Verdict::new(format!("CPU ≤ {limit:.1} × nginx"), ratio <= limit)
        }),
    }
}

/// The rows of calls one at a time.
pub(crate) async fn alone(subjects: &mut Subjects, effort: &Effort) -> Result<Vec<AloneRow>> {
    const LONGEST_ADDED_US: f64 = 300.0;
    let cells = [(Size::Small, Form::Json), (Size::Medium, Form::Json)];
    let mut routes = subjects.routes();
    routes.retain(|&route| route != Route::NginxAuto);
    let all = rounds(subjects, &routes, &cells, 1, effort.rounds, effort.alone).await?;
    let direct = |cell| {
        all.iter()
            .find(|row| row.route == Route::Direct && row.cell == cell)
    };
    Ok(all
        .iter()
        .map(|row| {
            let added = if row.route == Route::Direct {
                None
            } else {
                row.against(direct(row.cell), Sample::p50_us, |own, base| own - base)
            };
            let (errors, first_error) = row.errors();
            AloneRow {
                route: row.route,
                size: row.cell.0,
                p50_us: row.median(Sample::p50_us),
                p99_us: row.median(|sample| sample.outcome.latencies.quantile_us(0.99)),
                added_p50_us: added,
                errors,
                first_error,
                verdict: added
                    .filter(|_| row.route == Route::GatewayModern)
                    .map(|added| {
                        Verdict::new("added p50 ≤ 0.3 ms".to_owned(), added <= LONGEST_ADDED_US)
                    }),
            }
        })
        .collect())
}
