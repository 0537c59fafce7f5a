//! Constant mixed load: both eras, answers at once, streams and questions, and calls that must be refused.
//! Every call carries a nonce that nothing else has.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_testkit::raw::{Client, RawError, Reply, legacy::Session, modern::Caller};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::site::{FAR, NEAR, Site};

/// How many callers there are of each era.
pub(super) const CALLERS: usize = 4;
/// Between two calls of one caller: the load is constant, and no more than this machine has.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a caller waits for an answer. Longer than the gateway waits for an upstream.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a call fails whose gateway has not waited for its person.
pub(super) const NOT_WAITING: &str = "not_waiting";

/// How the answer to a question fails while the gateway that waits for it can't be reached. It can be sent
/// again, and so can one of which it is not known whether it has arrived, unlike everything else.
const UNREACHABLE: &str = "unreachable";
/// For how long it is, and how often.
const PERSISTENCE: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_secs(1);

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer at once.
    Plain,
    /// Progress before it.
    Reported,
    /// A question to the user before it.
    Asked,
    /// What must be refused.
    Refused,
    /// A legacy session.
    Opening,
}

/// One call, and what came of it.
pub(super) struct Record {
    pub nonce: String,
    pub kind: Kind,
    /// The upstream that it was for.
    pub upstream: &'static str,
    pub begun: Instant,
    pub ended: Instant,
    /// How long a person has thought about a question.
    pub thought: Duration,
    pub outcome: Outcome,
}

pub(super) enum Outcome {
    /// As it should be.
    Done,
    /// The caller was told that it did not work, or was told nothing; how.
    Failed(String),
    /// The caller was told something that is not so.
    Wrong(String),
}

/// What all callers share.
struct Common {
    stop: AtomicBool,
    records: Mutex<Vec<Record>>,
}

pub(super) struct Load {
    common: Arc<Common>,
    callers: JoinSet<()>,
}

impl Load {
    pub(super) fn start(site: &Site) -> Self {
        Self::start_with_thought(site, &[])
    }

    /// The same with two callers more for each of `thoughts`, who are asked all the time and think so long.
    pub(super) fn start_with_thought(site: &Site, thoughts: &[Duration]) -> Self {
        let common = Arc::new(Common {
            stop: AtomicBool::new(false),
            records: Mutex::default(),
        });
        let mut callers = JoinSet::new();
        let client = || site.fleet.client().with_patience(PATIENCE);
        for (number, key) in site.keys.iter().cycle().take(CALLERS).enumerate() {
            let mut caller = Caller::new(client());
            caller.extra_headers = bearer(key);
            callers.spawn(modern(common.clone(), caller, format!("m{number}")));
            let legacy = legacy(common.clone(), client(), bearer(key), format!("l{number}"));
            callers.spawn(legacy);
        }
        let (mut revoked, mut forbidden) = (Caller::new(client()), Caller::new(client()));
        revoked.extra_headers = bearer(&site.revoked);
        forbidden.extra_headers = bearer(&site.keys[0]);
        callers.spawn(refused(common.clone(), [revoked, forbidden]));
        for (number, thought) in thoughts.iter().flat_map(|thought| [thought; 2]).enumerate() {
            let mut caller = Caller::new(client());
            caller.extra_headers = bearer(&site.keys[0]);
            callers.spawn(thinking(
                common.clone(),
                caller,
                format!("t{number}"),
                *thought,
            ));
        }
        Self { common, callers }
    }

    /// How many calls have ended that were begun since then.
    pub(super) fn since(&self, begun: Instant) -> usize {
        let records = self.common.records.lock();
        records.iter().filter(|one| one.begun >= begun).count()
    }

    /// When the last call that failed has ended.
    pub(super) fn last_failure(&self) -> Option<Instant> {
        let records = self.common.records.lock();
        let failed = |one: &&Record| !matches!(one.outcome, Outcome::Done);
        records.iter().filter(failed).map(|one| one.ended).max()
    }

    /// Waits for the calls that are under way; all that there were.
    pub(super) async fn end(self) -> Vec<Record> {
        self.common.stop.store(true, Ordering::SeqCst);
        self.callers.join_all().await;
        std::mem::take(&mut *self.common.records.lock())
    }
}

impl Common {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    async fn note(
        &self,
        nonce: String,
        (kind, upstream): (Kind, &'static str),
        call: impl Future<Output = Outcome>,
    ) {
        self.note_thought(nonce, (kind, upstream), Duration::ZERO, call)
            .await;
    }

    async fn note_thought(
        &self,
        nonce: String,
        (kind, upstream): (Kind, &'static str),
        thought: Duration,
        call: impl Future<Output = Outcome>,
    ) {
        let begun = Instant::now();
        let outcome = call.await;
        self.records.lock().push(Record {
            nonce,
            kind,
            upstream,
            begun,
            ended: Instant::now(),
            thought,
            outcome,
        });
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the call of this number asks for, and of whom: of both upstreams all in turn.
fn next(number: usize) -> (Kind, &'static str) {
    let kinds = [Kind::Plain, Kind::Reported, Kind::Plain, Kind::Asked];
    (kinds[number / 2 % kinds.len()], [NEAR, FAR][number % 2])
}

fn parameters(kind: Kind, upstream: &str, nonce: &str) -> Value {
    let tool = match kind {
        Kind::Reported => "test_once_reported",
        Kind::Asked => "test_once_asked",
        _ => "test_once",
    };
    let mut params =
        json!({ "name": format!("{upstream}_{tool}"), "arguments": { "nonce": nonce } });
    if kind == Kind::Reported {
        params["_meta"] = json!({ "progressToken": nonce });
    }
    params
}

fn answer() -> Value {
    json!({ "action": "accept", "content": { "answer": "yes" } })
}

async fn modern(common: Arc<Common>, caller: Caller, name: String) {
    for number in 0.. {
        if !common.goes_on() {
            return;
        }
        let (kind, upstream) = next(number);
        let nonce = format!("{name}-{number}");
        let call = modern_call(&common, &caller, (kind, upstream), &nonce, Duration::ZERO);
        common.note(nonce.clone(), (kind, upstream), call).await;
    }
}

/// One call; what is asked on the way is answered after a thought.
async fn modern_call(
    common: &Common,
    caller: &Caller,
    (kind, upstream): (Kind, &'static str),
    nonce: &str,
    thought: Duration,
) -> Outcome {
    let mut params = parameters(kind, upstream, nonce);
    let mut reply = caller.call("tools/call", params.clone()).await;
    if let Ok(asked) = &reply
        && let Some(requests) = asked.result()["inputRequests"].as_object()
    {
        let answers = requests.keys().map(|key| (key.clone(), answer()));
        params["inputResponses"] = Value::Object(answers.collect());
        params["requestState"] = asked.result()["requestState"].clone();
        tokio::time::sleep(thought).await;
        let answered = Instant::now();
        loop {
            let begun = Instant::now();
            reply = caller.call("tools/call", params.clone()).await;
            let Some(how) = may_still_wait(&reply, upstream) else {
                break;
            };
            if answered.elapsed() > PERSISTENCE {
                break;
            }
            // It has failed all the same, and the call still waits.
            common.records.lock().push(Record {
                nonce: nonce.to_owned(),
                kind,
                upstream,
                begun,
                ended: Instant::now(),
                thought,
                outcome: how,
            });
            tokio::time::sleep(AGAIN).await;
        }
    }
    judge(reply, nonce)
}

/// How the answer to a question has failed, where the call may still wait for it.
fn may_still_wait(reply: &Result<Reply, RawError>, upstream: &str) -> Option<Outcome> {
    match reply {
        Ok(reply) => (reply.message["error"]["data"]["reason"] == UNREACHABLE)
            .then(|| Outcome::Failed(UNREACHABLE.to_owned())),
        // Whether it has arrived is not known: the gateway says so of one that comes twice.
        Err(error) if upstream == FAR => Some(failed("", error)),
        // At this upstream nothing waits: with the answer comes the whole call, and would be made twice.
        Err(_) => None,
    }
}

/// Is asked by an upstream that keeps the call open meanwhile.
async fn thinking(common: Arc<Common>, caller: Caller, name: String, thought: Duration) {
    for number in 0.. {
        if !common.goes_on() {
            return;
        }
        let nonce = format!("{name}-{number}");
        let what = (Kind::Asked, FAR);
        let call = modern_call(&common, &caller, what, &nonce, thought);
        let noted = common.note_thought(nonce.clone(), what, thought, call);
        noted.await;
    }
}

async fn legacy(common: Arc<Common>, client: Client, headers: HeaderMap, name: String) {
    let mut session = None;
    for number in 0.. {
        if !common.goes_on() {
            break;
        }
        let nonce = format!("{name}-{number}");
        let Some(open) = &session else {
            let opening = async {
                let capabilities = json!({ "elicitation": {} });
                let opened =
                    Session::open(client.clone(), "2025-11-25", capabilities, headers.clone());
                match opened.await {
                    Ok(opened) => {
                        session = Some(opened);
                        Outcome::Done
                    }
                    Err(error) => failed("no session: ", &error),
                }
            };
            common.note(nonce, (Kind::Opening, NEAR), opening).await;
            continue;
        };
        let (kind, upstream) = next(number);
        let (mut is_lost, mut is_given_up) = (false, false);
        let call = async {
            let params = parameters(kind, upstream, &nonce);
            let reply = open.call_answering("tools/call", params, |_| Some(answer()));
            let reply = reply.await;
            is_lost = reply.as_ref().is_ok_and(|reply| reply.status == 404);
            is_given_up = reply.is_err() && kind == Kind::Asked;
            judge(reply, &nonce)
        };
        common.note(nonce.clone(), (kind, upstream), call).await;
        if is_lost {
            session = None;
        }
        // Its call may wait for an answer that has not arrived.
        if is_given_up && let Some(open) = session.take() {
            end(open).await;
        }
    }
    if let Some(session) = session {
        assert_eq!(session.close().await.unwrap(), 204);
    }
}

/// Ends a session of which something has failed, also where that takes a while.
async fn end(session: Session) {
    let begun = Instant::now();
    while begun.elapsed() < PERSISTENCE {
        // 404: it has ended, and the answer was lost.
        if matches!(session.close().await, Ok(status) if status == 204 || status == 404) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// With a key that was withdrawn nothing may be done, and a forbidden tool is not there.
async fn refused(common: Arc<Common>, [revoked, forbidden]: [Caller; 2]) {
    for number in 0.. {
        if !common.goes_on() {
            return;
        }
        let (caller, tool) = match number % 2 {
            0 => (&revoked, "near_test_once"),
            _ => (&forbidden, "near_test_echo"),
        };
        let nonce = format!("r-{number}");
        let params = json!({ "name": tool, "arguments": { "nonce": nonce } });
        let call = async {
            match caller.call("tools/call", params).await {
                Err(error) => failed("", &error),
                Ok(reply) if reply.message["result"].is_object() => {
                    Outcome::Wrong("what is forbidden was done".to_owned())
                }
                Ok(reply) if reply.status.is_server_error() => judge(Ok(reply), &nonce),
                Ok(_) => Outcome::Done,
            }
        };
        common
            .note(nonce.clone(), (Kind::Refused, NEAR), call)
            .await;
    }
}

fn judge(reply: Result<Reply, RawError>, nonce: &str) -> Outcome {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return failed("", &error),
    };
    let progress = reply.notifications("notifications/progress");
    if let Some(other) = progress
        .iter()
        .find(|report| report["params"]["progressToken"] != nonce)
    {
        return Outcome::Wrong(format!("the progress of another call: {other}"));
    }
    let error = &reply.message["error"];
    if error.is_object() {
        let data = &error["data"];
        let kind = data["kind"].as_str().or(data["reason"].as_str());
        let how = kind.map_or_else(
            || format!("{} {}", reply.status.as_u16(), error["code"]),
            str::to_owned,
        );
        return Outcome::Failed(how);
    }
    let result = reply.result();
    if result["isError"] == true {
        return Outcome::Failed("error of the tool".to_owned());
    }
    match result["content"][0]["text"].as_str() {
        Some(text) if text == format!("done {nonce}") => Outcome::Done,
        _ => Outcome::Wrong(format!("{nonce} was answered {}", reply.message)),
    }
}

fn failed(before: &str, error: &RawError) -> Outcome {
    let how = match error {
        RawError::Connection { .. } | RawError::Socket(_) => {
            "no connection, or it broke".to_owned()
        }
        RawError::Body(_) => "the answer broke off".to_owned(),
        RawError::TooLate(limit) => format!("no answer within {limit:?}"),
        RawError::Unexpected {
            status, problem, ..
        } if status.is_success() => {
            // The numbers of calls are no kinds of failures.
            problem.split(" to ").next().unwrap_or_default().to_owned()
        }
        RawError::Unexpected { status, .. } => status.as_u16().to_string(),
        RawError::Request(_) => error.to_string(),
    };
    Outcome::Failed(format!("{before}{how}"))
}

fn bearer(key: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {key}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// What was told to callers beside what was done, where they differ.
pub(super) fn untrue(
    records: &[Record],
    executed: &std::collections::HashMap<String, usize>,
) -> Vec<String> {
    let mut untrue = Vec::new();
    for Record {
        nonce,
        kind,
        outcome,
        ..
    } in records
    {
        let times = executed.get(nonce).copied().unwrap_or_default();
        let does = !matches!(kind, Kind::Refused | Kind::Opening);
        match outcome {
            Outcome::Wrong(how) => untrue.push(how.clone()),
            Outcome::Done if does && times != 1 => {
                untrue.push(format!("{nonce} was answered, and done {times} times"));
            }
            Outcome::Done if !does && times > 0 => untrue.push(format!("{nonce} was done")),
            Outcome::Failed(how) if times > 1 => {
                untrue.push(format!(
                    "{nonce} failed ({how}), and was done {times} times"
                ));
            }
            Outcome::Done | Outcome::Failed(_) => {}
        }
    }
    let known: BTreeSet<&str> = records.iter().map(|one| &*one.nonce).collect();
    let strange = executed.keys().filter(|nonce| !known.contains(&***nonce));
    untrue.extend(strange.map(|nonce| format!("{nonce} was done, and nobody has asked for it")));
    untrue
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Plain => "plain",
            Self::Reported => "with progress",
            Self::Asked => "with a question",
            Self::Refused => "to be refused",
            Self::Opening => "opening of a session",
        })
    }
}
