//! The closed loop: so many connections, each calling the same tool again as soon as its answer
//! has come and been checked.
//!
//! Errors are counted from the first connection on, also while warming up and while connecting;
//! latencies and the rate count only calls that ended inside the measured time.

use std::{
    cell::RefCell,
    process::ExitCode,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args as ClapArgs;
use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use crate::{
    error::{Error, Result},
    histogram::Histogram,
    message::{self, Address, Era, Request},
    payload::{Form, Size, resource_uri, tool_name},
    verify::Expected,
    wire::Connection,
};

/// The longest that calls with tokens of their own may take together.
const LONGEST_EACH: Duration = Duration::from_mins(2);
/// Pause before a connection that failed is opened again.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// An answer that takes longer is an error.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// Options of `mcp-ultra-bench load`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Port on 127.0.0.1 of what is measured.
    #[arg(long)]
    port: u16,
    /// Path of the MCP endpoint.
    #[arg(long, default_value = "/mcp")]
    path: String,
    /// Protocol era to speak.
    #[arg(long, value_enum, default_value_t = Era::Modern)]
    era: Era,
    /// What a modern client asks for; a legacy one calls a tool.
    #[arg(long, value_enum, default_value_t = Wanted::Call)]
    wanted: Wanted,
    /// Size of the results to ask for.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    size: Size,
    /// Form of the results to ask for.
    #[arg(long, value_enum, default_value_t = Form::Json)]
    form: Form,
    /// Connections, each with one call in flight.
    #[arg(short, long, default_value_t = 32)]
    connections: usize,
    /// Seconds measured.
    #[arg(short, long, default_value_t = 5.0, value_parser = seconds)]
    duration: f64,
    /// Seconds before that.
    #[arg(short, long, default_value_t = 0.5, value_parser = seconds)]
    warm_up: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0 to 3600".to_owned()),
    }
}

/// What a modern client asks for again and again; a legacy one calls a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wanted {
    /// The result of a tool.
    #[default]
    Call,
    /// A resource.
    Read,
    /// The first page of the list of tools.
    List,
}

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Whom to call.
    pub(crate) to: Address,
    /// Which era to speak.
    pub(crate) era: Era,
    /// What is asked for.
    pub(crate) wanted: Wanted,
    /// Size of the results.
    pub(crate) size: Size,
    /// Form of the results.
    pub(crate) form: Form,
    /// Connections with one call in flight each.
    pub(crate) connections: usize,
    /// Time before the measured one.
    pub(crate) warm_up: Duration,
    /// Measured time.
    pub(crate) duration: Duration,
}

impl Plan {
    /// What the answers have to be.
    fn expected(&self) -> Expected {
        match self.wanted {
            Wanted::Call | Wanted::Read => Expected::new(self.size),
            Wanted::List => Expected::list(),
        }
    }

    /// What a modern client sends.
    fn modern_request(&self) -> Request {
        match self.wanted {
            Wanted::Call => {
                let tool = tool_name(self.size, self.form);
                message::call(&self.to, Era::Modern, None, tool)
            }
            Wanted::Read => message::read(&self.to, resource_uri(self.size)),
            Wanted::List => message::list(&self.to, None),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Latencies of the calls that ended in the measured time.
    pub(crate) latencies: Histogram,
    /// Calls that failed, and connections that could not be opened.
    pub(crate) errors: u64,
    /// What the first of them said.
    pub(crate) first_error: Option<String>,
    /// Right answers that came in the other form (JSON for SSE, or SSE for JSON).
    pub(crate) other_form: u64,
    /// Measured time, in seconds.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// Calls that ended well in the measured time, a second.
    pub(crate) fn per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.latencies.total() as f64 / self.seconds
        } else {
            0.0
        }
    }

    fn failed(&mut self, what: String) {
        self.errors += 1;
        self.first_error.get_or_insert(what);
    }

    fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.errors += other.errors;
        self.other_form += other.other_form;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }
}

#[derive(Serialize)]
struct Printed {
    tool: &'static str,
    requests: u64,
    requests_per_second: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    errors: u64,
    first_error: Option<String>,
    answered_in_other_form: u64,
}

/// `mcp-ultra-bench load`: one JSON object on standard output; exit 1 if anything failed.
pub(crate) async fn command(args: Args) -> Result<ExitCode> {
    let plan = Plan {
        to: Address {
            port: args.port,
            path: args.path,
            token: None,
            proof: None,
        },
        era: args.era,
        wanted: args.wanted,
        size: args.size,
        form: args.form,
        connections: args.connections,
        warm_up: Duration::from_secs_f64(args.warm_up),
        duration: Duration::from_secs_f64(args.duration),
    };
    let outcome = drive(&plan, &mut |_| Ok(())).await?;
    let printed = Printed {
        tool: tool_name(plan.size, plan.form),
        requests: outcome.latencies.total(),
        requests_per_second: outcome.per_second(),
        p50_us: outcome.latencies.quantile_us(0.5),
        p99_us: outcome.latencies.quantile_us(0.99),
        errors: outcome.errors,
        first_error: outcome.first_error,
        answered_in_other_form: outcome.other_form,
    };
    let text = serde_json::to_string_pretty(&printed)
        .map_err(|error| Error::Unusable(format!("writing the outcome: {error}")))?;
    println!("{text}");
    let well = printed.errors == 0 && printed.requests > 0;
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The edges of the measured time, at which the caller reads what the processes have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Warm, measuring starts.
    Start,
    /// Measuring has ended, connections are still open.
    End,
}

/// When to measure.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

/// Runs the loop and calls `at` at both edges of the measured time.
pub(crate) async fn drive(plan: &Plan, at: &mut dyn FnMut(Edge) -> Result<()>) -> Result<Outcome> {
    let local = LocalSet::new();
    local.run_until(drive_locally(plan, at)).await
}

async fn drive_locally(plan: &Plan, at: &mut dyn FnMut(Edge) -> Result<()>) -> Result<Outcome> {
    let plan_shared = Rc::new((plan.clone(), plan.expected()));
    let mut outcome = Outcome::default();
    let mut clients = Vec::new();
    for number in 0..plan.connections {
        let mut client = Client::new(Rc::clone(&plan_shared), number);
        client.connect().await;
        clients.push(client);
    }
    let from = Instant::now() + plan.warm_up;
    let window = Window {
        from,
        until: from + plan.duration,
    };
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn_local(client.work(window));
    }
    tokio::time::sleep_until(window.from.into()).await;
    at(Edge::Start)?;
    let started = Instant::now();
    tokio::time::sleep_until(window.until.into()).await;
    at(Edge::End)?;
    let measured = started.elapsed();
    while let Some(done) = tasks.join_next().await {
        outcome.merge(done.map_err(|error| Error::Unusable(format!("a client ended: {error}")))?);
    }
    outcome.seconds = measured.as_secs_f64();
    Ok(outcome)
}

/// Calls once for each of `callers`, each of which has a token of its own, over the plan's
/// connections, and calls `at` before the first and after the last.
pub(crate) async fn drive_each(
    plan: &Plan,
    callers: Vec<Address>,
    at: &mut dyn FnMut(Edge) -> Result<()>,
) -> Result<Outcome> {
    let tool = tool_name(plan.size, plan.form);
    let requests: Vec<Request> = callers
        .iter()
        .map(|to| message::call(to, plan.era, None, tool))
        .collect();
    let requests = Rc::new(RefCell::new(requests));
    let shared = Rc::new((plan.clone(), plan.expected()));
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut clients = Vec::new();
            for number in 0..plan.connections {
                let mut client = Client::new(Rc::clone(&shared), number);
                client.connect().await;
                clients.push(client);
            }
            at(Edge::Start)?;
            let started = Instant::now();
            let mut tasks = JoinSet::new();
            for client in clients {
                tasks.spawn_local(client.call_each(Rc::clone(&requests)));
            }
            let mut outcome = Outcome::default();
            while let Some(done) = tasks.join_next().await {
                outcome.merge(
                    done.map_err(|error| Error::Unusable(format!("a client ended: {error}")))?,
                );
            }
            at(Edge::End)?;
            outcome.seconds = started.elapsed().as_secs_f64();
            Ok(outcome)
        })
        .await
}

/// One connection and what it has seen.
struct Client {
    shared: Rc<(Plan, Expected)>,
    connection: Option<Connection>,
    request: Request,
    next: u64,
    seen: Outcome,
}

impl Client {
    fn new(shared: Rc<(Plan, Expected)>, number: usize) -> Self {
        let plan = &shared.0;
        // Set with the connection.
        let request = plan.modern_request();
        // Ids of different clients never meet: a mixed-up answer is seen.
        let next = number as u64 * 1_000_000;
        Self {
            shared,
            connection: None,
            request,
            next,
            seen: Outcome::default(),
        }
    }

    /// Opens the connection, and for legacy a session, within the time of an answer.
    async fn connect(&mut self) {
        let opening = open(&self.shared.0);
        match tokio::time::timeout(LONGEST_ANSWER, opening).await {
            Ok(Ok((connection, request))) => {
                self.connection = Some(connection);
                self.request = request;
            }
            Ok(Err(what)) => self.seen.failed(what),
            Err(_) => self.seen.failed("no connection within 5 s".to_owned()),
        }
    }

    async fn work(mut self, window: Window) -> Outcome {
        // One timer for the whole run costs less than one a call; a call that hangs is still
        // in flight when it fires, and is counted.
        let limit = window.until + LONGEST_ANSWER;
        let working = self.call_until(window);
        if tokio::time::timeout_at(limit.into(), working)
            .await
            .is_err()
        {
            self.seen
                .failed("no answer by 5 s after the end".to_owned());
        }
        self.seen
    }

    /// Takes requests until there are none left, and sends each once.
    async fn call_each(mut self, requests: Rc<RefCell<Vec<Request>>>) -> Outcome {
        let all = Window {
            from: Instant::now(),
            until: Instant::now() + LONGEST_EACH,
        };
        while Instant::now() < all.until {
            let Some(request) = requests.borrow_mut().pop() else {
                break;
            };
            // Connecting sets the request that all others send.
            self.reconnect().await;
            self.request = request;
            let call = self.call(all);
            if tokio::time::timeout(LONGEST_ANSWER, call).await.is_err() {
                self.seen.failed("no answer within 5 s".to_owned());
                self.connection = None;
            }
        }
        self.seen
    }

    async fn call_until(&mut self, window: Window) {
        while Instant::now() < window.until {
            self.call(window).await;
        }
    }

    /// One call, after connecting where there is no connection; a pause where that fails.
    async fn call(&mut self, window: Window) {
        self.reconnect().await;
        let Some(connection) = self.connection.as_mut().filter(|open| open.is_open()) else {
            tokio::time::sleep(AFTER_FAILURE).await;
            return;
        };
        self.next += 1;
        let (bytes, id) = self.request.numbered(self.next);
        let (plan, expected) = &*self.shared;
        let sent = Instant::now();
        let checked = match connection.exchange(bytes).await {
            Ok(response) => {
                let received = Instant::now();
                expected.check(&response, id).map(|form| (form, received))
            }
            Err(error) => Err(error.to_string()),
        };
        match checked {
            Ok((form, received)) => {
                self.seen.other_form += u64::from(form != plan.form);
                if received >= window.from && received <= window.until {
                    self.seen.latencies.record(received - sent);
                }
            }
            Err(what) => {
                self.seen.failed(what);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    async fn reconnect(&mut self) {
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connect().await;
        }
    }
}

/// A connection ready for calls, and the request to call with.
async fn open(plan: &Plan) -> Result<(Connection, Request), String> {
    let readable = |error: std::io::Error| format!("connecting: {error}");
    let mut connection = Connection::open(plan.to.port).await.map_err(readable)?;
    if plan.era == Era::Modern {
        return Ok((connection, plan.modern_request()));
    }
    let mut initialize = message::initialize(&plan.to);
    let response = connection
        .exchange(initialize.numbered(0).0)
        .await
        .map_err(readable)?;
    if response.status != 200 {
        return Err(format!(
            "initialize was answered with status {}",
            response.status
        ));
    }
    let session = response.session;
    let initialized = message::initialized(&plan.to, session.as_deref());
    let response = connection.exchange(&initialized).await.map_err(readable)?;
    if response.status != 202 {
        return Err(format!(
            "notifications/initialized got status {}",
            response.status
        ));
    }
    let tool = tool_name(plan.size, plan.form);
    Ok((
        connection,
        message::call(&plan.to, plan.era, session.as_deref(), tool),
    ))
}
