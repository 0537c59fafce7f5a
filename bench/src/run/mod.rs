//! The whole report in one run: starts the upstream, nginx and the gateway as private processes
//! on loopback, measures them in turns, and ends them by their ids.
//!
//! [`calls`] measures calls under load and one at a time, [`access`] what identity, policies and
//! limits add to them, [`shared`] what replicas cost, [`kept`] what answers cost that are given again, [`standing`] what is there without calls: start, idle memory, a large
//! catalog, open streams. [`sample`] makes rows of turns; [`children`] owns the processes.

mod access;
mod calls;
mod children;
mod kept;
mod listing;
mod sample;
mod shared;
mod standing;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args as ClapArgs;
use tokio::signal::unix::{SignalKind, signal};

use self::children::Upstream;
use crate::{
    error::{Error, Result, io},
    payload::{Form, Size},
    report::{self, Report, Settings, machine},
};

/// Options of `mcp-ultra-bench run`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The gateway's release binary; without it only direct and nginx rows are measured.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// The nginx binary.
    #[arg(long, value_name = "PATH", default_value = "nginx")]
    nginx: PathBuf,
    /// About a minute instead of five: fewer sizes, shorter turns.
    #[arg(long)]
    quick: bool,
    /// Folder for latest.md and latest.json.
    #[arg(long, value_name = "FOLDER", default_value = "bench/results")]
    out: PathBuf,
    /// Connections under load, each with one call in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Turns of each row (at least 3 for a spread that says something).
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Exit 1 if a target is missed (a call that fails always does).
    #[arg(long)]
    enforce: bool,
}

/// How long and how much is measured.
#[derive(Clone, Debug)]
struct Effort {
    rounds: usize,
    connections: usize,
    cells: Vec<(Size, Form)>,
    nginx_auto: bool,
    loaded: Turn,
    alone: Turn,
    starts: usize,
    listings: usize,
    streams: usize,
    /// Calls of a turn in which each has a token of its own.
    new_tokens: usize,
}

/// One turn of one row.
#[derive(Clone, Copy, Debug)]
struct Turn {
    warm_up: Duration,
    duration: Duration,
}

impl Effort {
    fn new(args: &Args) -> Self {
        let turn = |warm_up, duration| Turn {
            warm_up: Duration::from_millis(warm_up),
            duration: Duration::from_millis(duration),
        };
        let all = Form::ALL
            .into_iter()
            .flat_map(|form| Size::ALL.map(|size| (size, form)));
        Self {
            rounds: args.rounds as usize,
            connections: args.connections.max(1),
            cells: if args.quick {
                let json = Size::ALL.map(|size| (size, Form::Json));
                json.into_iter()
                    .chain([(Size::Medium, Form::Sse)])
                    .collect()
            } else {
                all.collect()
            },
            nginx_auto: !args.quick,
            loaded: if args.quick {
                turn(150, 600)
            } else {
                turn(300, 2000)
            },
            alone: if args.quick {
                turn(100, 300)
            } else {
                turn(200, 1000)
            },
            starts: if args.quick { 3 } else { 10 },
            listings: if args.quick { 10 } else { 40 },
            streams: 2000,
            new_tokens: if args.quick { 1500 } else { 5000 },
        }
    }
}

/// `mcp-ultra-bench run`.
pub(crate) async fn command(args: Args) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).map_err(io("watching for SIGTERM"))?;
    // Dropping the measurement ends the processes that it has started.
    let report = tokio::select! {
        report = measure(&args) => report?,
        _ = tokio::signal::ctrl_c() => return Err(Error::Unusable("interrupted".to_owned())),
        _ = terminate.recv() => return Err(Error::Unusable("terminated".to_owned())),
    };
    println!("{}", report::tables::terminal(&report));
    report::write(&report, &args.out)?;
    println!(
        "Written: {0}/latest.md, {0}/latest.json",
        args.out.display()
    );
    let missed = report.verdicts().filter(|verdict| !verdict.met).count();
    let failed = report.errors() > 0 || (args.enforce && missed > 0);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn measure(args: &Args) -> Result<Report> {
    let effort = Effort::new(args);
    let mut notes = Vec::new();
    let machine = machine::facts(args.gateway.as_deref(), &args.nginx)?;
    if machine.nginx.is_none() {
        notes.push(format!(
            "No nginx rows and no ratios: `{}` could not be started. Install nginx, or name it \
             with --nginx.",
            args.nginx.display()
        ));
    }
    if args.gateway.is_none() {
        notes.push(
            "No gateway rows: build it with `cargo build --release -p mcp-ultra` and name it with \
             `--gateway target/release/mcp-ultra`."
                .to_owned(),
        );
    }
    let upstream = Upstream::start(1, 0).await?;
    let nginx = machine.nginx.is_some().then_some(args.nginx.as_path());
    let mut subjects = calls::Subjects::start(upstream, nginx, args, &effort).await?;
    let calls = calls::under_load(&mut subjects, &effort).await?;
    let alone = calls::alone(&mut subjects, &effort).await?;
    subjects.stop().await;
    let (mut access, mut shared, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    let mut kept = Vec::new();
    if let Some(gateway) = &args.gateway {
        access = access::calls(gateway, &effort).await?;
        match shared::calls(gateway, &effort).await {
            Ok(rows) => shared = rows,
            Err(error) => notes.push(format!("No rows of several gateways: {error}")),
        }
        kept = kept::calls(gateway, &effort).await?;
        figures.extend(access::lists(gateway).await);
        figures.extend(standing::of_gateway(gateway, &effort).await?);
    }
    if let Some(nginx) = nginx {
        figures.extend(standing::of_nginx(nginx, &effort).await);
    }
    clear_progress();
    Ok(Report {
        machine,
        settings: Settings {
            quick: args.quick,
            rounds: effort.rounds,
            connections: effort.connections,
            turn_seconds: effort.loaded.duration.as_secs_f64(),
        },
        calls,
        alone,
        access,
        shared,
        kept,
        figures,
        notes,
    })
}

/// Says on a terminal what is being measured; elsewhere only the report is printed.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

fn clear_progress() {
    progress("");
}
