//! Several gateways on one Redis in front of a legacy server that keeps something for each session: they
//! are in one session of a client together.

mod counting;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{legacy::Session, modern::Caller},
    stores::{Nats, Redis},
};
use nix::sys::signal::Signal;
use serde_json::json;

use self::counting::{Counting, SESSION, WATCHED};
use crate::{
    gateway_announced::{connected, messaging, metric},
    gateway_redis::sections,
    gateway_rig::{SOON, gateway, legacy_answering, legacy_tool, modern_tool, text, until},
};

const RESOURCE: &str = "https://mcp.example.com/mcp";
/// How long it may take at most until what ended at one gateway has ended at the other, and a bit.
const QUIET: Duration = Duration::from_millis(1500);

struct Site {
    all: [Gateway; 2],
    server: Arc<Counting>,
    redis: Redis,
    /// The configuration before what is said of the server.
    before: String,
}

impl Site {
    /// Two gateways; `rest` stands in the section of the server, `more` before it.
    async fn new(rest: &str, more: &str) -> Self {
        let redis = Redis::start().await.unwrap();
        let (url, server) = counting::start().await;
        let before = format!(
            "{more}{}\nservers:\n  - {{ name: fix, url: \"{url}\", prefix: none",
            sections(&redis)
        );
        let yaml = format!("{before}{rest} }}\n");
        Self {
            all: [gateway(&yaml).await, gateway(&yaml).await],
            server,
            redis,
            before,
        }
    }

    /// Gives one of them another section of the server, and waits until it goes by that.
    async fn change(&mut self, which: usize, rest: &str) {
        let gateway = &mut self.all[which];
        gateway
            .reconfigure(&format!("{}{rest} }}\n", self.before))
            .unwrap();
        let taken = gateway.logged(&["the new configuration is in force"], SOON);
        taken.await.unwrap();
    }

    /// A session of a legacy client, as it is seen through each gateway.
    async fn session(&self) -> [Session; 2] {
        let able = || json!({ "elicitation": {} });
        let open = async |gateway: &Gateway| gateway.session("2025-11-25", able()).await;
        let here = open(&self.all[0]).await.unwrap();
        let mut there = open(&self.all[1]).await.unwrap();
        there.id.clone_from(&here.id);
        [here, there]
    }

    /// All that Redis has of sessions with servers, as text.
    async fn kept(&self) -> Vec<(String, String)> {
        let login = self.redis.login();
        let keys = login.ask(&["KEYS", "*:upstream-session:*"]).await.unwrap();
        let mut kept = Vec::new();
        for key in keys.lines().filter(|key| !key.is_empty()) {
            let value = login.ask(&["HGETALL", key]).await.unwrap();
            kept.push((key.to_owned(), value));
        }
        kept
    }
}

/// The number of a call in its session at the server.
async fn count(session: &Session) -> usize {
    let reply = legacy_tool(session, "count", json!({})).await;
    text(&reply).parse().unwrap()
}

async fn modern_count(caller: &Caller) -> usize {
    let reply = modern_tool(caller, "count", json!({})).await;
    text(&reply).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_alternates_between_gateways_is_in_one_session() {
    let site = Site::new("", "").await;
    let both = site.session().await;
    for number in 1..=6 {
        assert_eq!(count(&both[number % 2]).await, number);
    }
    let server = &site.server;
    assert_eq!((server.opened(), server.open()), (1, 1));
    assert_eq!(server.repeated.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(
        server.refused.load(std::sync::atomic::Ordering::SeqCst),
        0,
        "one of them listens"
    );
    // Who reads Redis learns nothing of it.
    let kept = site.kept().await;
    assert_eq!(kept.len(), 1);
    for said in [SESSION, "2025-11-25", "elicitation", "subscribe"] {
        assert!(!format!("{kept:?}").contains(said), "{said}: {kept:?}");
    }
    // It ends once, wherever that is asked for.
    let [_, there] = both;
    assert_eq!(there.close().await.unwrap(), 204);
    until("its end", async || server.ended() == 1).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!((server.ended(), server.open()), (1, 0));
    assert!(site.kept().await.is_empty());
}

/// Principals share nothing, whatever they say of themselves.
#[tokio::test(flavor = "multi_thread")]
async fn modern_callers_are_in_one_session_each() {
    let issuer = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&issuer])
        .await
        .unwrap();
    let auth = format!(
        "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n",
        provider.issuer()
    );
    let site = Site::new("", &auth).await;
    let now = SystemClock.now().as_secs();
    let callers = |subject: &str| {
        let token = issuer.token(&provider.claims(RESOURCE, subject, now));
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.unwrap())).unwrap();
        site.all.each_ref().map(|gateway| {
            let mut caller = gateway.caller();
            let headers = [(header::AUTHORIZATION, bearer.clone())];
            caller.extra_headers = HeaderMap::from_iter(headers);
            caller
        })
    };
    let (ana, bea) = (callers("ana"), callers("bea"));
    for number in 1..=4 {
        assert_eq!(modern_count(&ana[number % 2]).await, number);
        assert_eq!(modern_count(&bea[number % 2]).await, number);
    }
    assert_eq!((site.server.opened(), site.server.open()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_gateway_that_has_opened_it() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut site = Site::new("", "").await;
        // One that the other gateway has seen, and one that it has not.
        let (seen, unseen) = (site.session().await, site.session().await);
        assert_eq!(count(&seen[0]).await, 1);
        assert_eq!(count(&seen[1]).await, 2);
        assert_eq!(count(&unseen[0]).await, 1);
        site.all[0].signal(signal).unwrap();
        site.all[0].wait(SOON).await.unwrap();
        assert_eq!(count(&seen[1]).await, 3, "{signal}");
        assert_eq!(count(&unseen[1]).await, 2, "{signal}");
        assert_eq!((site.server.opened(), site.server.ended()), (2, 0));
        // The one that is left ends it.
        let [_, there] = seen;
        assert_eq!(there.close().await.unwrap(), 204);
        until("its end", async || site.server.ended() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_forgets_is_opened_once_again() {
    let site = Site::new("", "").await;
    let both = site.session().await;
    for number in 1..=2 {
        assert_eq!(count(&both[number % 2]).await, number);
    }
    for times in 1..=2 {
        site.server.forget();
        for number in 1..=4 {
            assert_eq!(count(&both[(number + times) % 2]).await, number);
        }
        assert_eq!((site.server.opened(), site.server.open()), (1 + times, 1));
    }
    assert_eq!(site.kept().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sessions_that_are_opened_at_the_same_time_one_stays() {
    let site = Site::new("", "").await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(site.session().await);
    }
    let calls = all.iter().flatten().map(count);
    futures_util::future::join_all(calls).await;
    assert!(site.server.opened() > 6, "none was opened twice");
    until("the end of those that are not needed", async || {
        site.server.open() == 6
    })
    .await;
    for both in &all {
        for number in 3..=6 {
            assert_eq!(count(&both[number % 2]).await, number);
        }
    }
    assert_eq!(site.server.opened(), site.server.ended() + 6);
    assert_eq!(site.kept().await.len(), 6);
}

async fn is_up(gateway: &Gateway) -> bool {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    metrics.lines().any(|line| line == "mcp_redis_up 1")
}

/// Each has its own meanwhile, and they come together afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_has_its_own_until_it_is_back() {
    let mut site = Site::new("", "").await;
    site.redis.server_mut().kill().await.unwrap();
    until("both have noticed", async || {
        !is_up(&site.all[0]).await && !is_up(&site.all[1]).await
    })
    .await;
    let both = site.session().await;
    for number in 1..=3 {
        assert_eq!(count(&both[0]).await, number);
        assert_eq!(count(&both[1]).await, number);
    }
    assert_eq!(site.server.opened(), 2);
    site.redis.restart().await.unwrap();
    until("one of them is ended", async || site.server.open() == 1).await;
    let next = count(&both[0]).await;
    for more in 1..=4 {
        assert_eq!(count(&both[more % 2]).await, next + more);
    }
    assert_eq!((site.server.opened(), site.server.ended()), (2, 1));
}

/// Who needs it no more leaves it to the others; the last ends it.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_ended_by_the_last_that_has_used_it() {
    let site = Site::new(", idle_stop: 2s", "").await;
    let both = site.session().await;
    assert_eq!(count(&both[0]).await, 1);
    let begun = std::time::Instant::now();
    let mut number = 1;
    // The other one goes on for longer than the first keeps what is idle.
    while begun.elapsed() < Duration::from_secs(15) {
        number += 1;
        assert_eq!(count(&both[1]).await, number);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!((site.server.opened(), site.server.ended()), (1, 0));
    until("its end", async || site.server.ended() == 1).await;
    assert!(site.kept().await.is_empty());
    assert_eq!(count(&both[0]).await, 1, "it is a new one");
}

/// A session is of a server as it is configured: who goes by another configuration has another session,
/// and leaves that of before to those who do not yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_configured_otherwise_has_other_sessions() {
    let mut site = Site::new("", "").await;
    let both = site.session().await;
    for number in 1..=4 {
        assert_eq!(count(&both[number % 2]).await, number);
    }
    site.change(0, ", timeout: 20s").await;
    assert_eq!(count(&both[0]).await, 1);
    tokio::time::sleep(2 * QUIET).await;
    assert_eq!(count(&both[1]).await, 5, "it goes on here");
    assert_eq!((site.server.opened(), site.server.ended()), (2, 0));
    site.change(1, ", timeout: 20s").await;
    assert_eq!(count(&both[1]).await, 2);
    until("the end of the one of before", async || {
        site.server.ended() == 1
    })
    .await;
    assert_eq!((site.server.opened(), site.server.open()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_has_its_own_where_the_operator_says_so() {
    let site = Site::new(", session_per_gateway: true", "").await;
    let both = site.session().await;
    for number in 1..=2 {
        assert_eq!(count(&both[0]).await, number);
        assert_eq!(count(&both[1]).await, number);
    }
    assert_eq!(site.server.opened(), 2);
    assert!(site.kept().await.is_empty());
}

/// Which gateway listens is no matter: what it hears goes to the one that has the call.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_for_a_call_elsewhere_is_brought_there() {
    let nats = Nats::start().await.unwrap();
    let site = Site::new("", &messaging(&nats)).await;
    for gateway in &site.all {
        connected(gateway, "1").await;
    }
    let [here, there] = site.session().await;
    assert_eq!(count(&here).await, 1);
    let log = json!({
        "jsonrpc": "2.0", "method": "notifications/message",
        "params": { "level": "error", "data": "heard elsewhere" },
    });
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let question = json!({
        "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
        "params": { "message": "name?", "requestedSchema": schema },
    });
    let call = legacy_answering(
        &there,
        "tools/call",
        json!({ "name": "count", "arguments": { "wait": 3000 } }),
        |_| Some(json!({ "action": "accept", "content": { "name": "ana" } })),
    );
    let saying = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(site.server.say(log).await, "somebody listens");
        assert!(site.server.say(question).await);
    };
    let (reply, ()) = tokio::join!(call, saying);
    assert_eq!(text(&reply), "2");
    let heard: Vec<&str> = reply
        .before
        .iter()
        .map(|message| message["method"].as_str().unwrap())
        .collect();
    assert_eq!(heard, ["notifications/message", "elicitation/create"]);
    until("the answer", async || {
        !site.server.answers.lock().is_empty()
    })
    .await;
    let answers = site.server.answers.lock().clone();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["result"]["content"]["name"], "ana");
    let name = "mcp_replica_errands_total{errand=\"stray\",outcome=\"done\"}";
    assert_eq!(metric(&site.all[0], name).await, "2");
    // What is for no call anywhere is refused, as ever.
    let question = json!({
        "jsonrpc": "2.0", "id": "r", "method": "elicitation/create", "params": {},
    });
    assert!(site.server.say(question).await);
    until("the refusal", async || {
        site.server.answers.lock().len() == 2
    })
    .await;
    assert_eq!(site.server.answers.lock()[1]["error"]["code"], -32600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_stream_hears_of_resources_wherever_it_is_open() {
    let nats = Nats::start().await.unwrap();
    let site = Site::new("", &messaging(&nats)).await;
    for gateway in &site.all {
        connected(gateway, "1").await;
    }
    let callers = site.all.each_ref().map(Gateway::caller);
    assert_eq!(modern_count(&callers[0]).await, 1);
    let mut streams = Vec::new();
    for caller in &callers {
        let wanted = json!({ "resourceSubscriptions": [WATCHED] });
        let mut stream = caller.listen(wanted).await.unwrap();
        let agreed = stream.message().await.unwrap().unwrap();
        let agreed = &agreed["params"]["notifications"];
        assert_eq!(agreed["resourceSubscriptions"], json!([WATCHED]));
        streams.push(stream);
    }
    assert_eq!(site.server.opened(), 1);
    let update = json!({
        "jsonrpc": "2.0", "method": "notifications/resources/updated",
        "params": { "uri": WATCHED },
    });
    // Also after the one beside it has ended.
    for _ in 0..2 {
        assert!(site.server.say(update.clone()).await);
        for stream in &mut streams {
            let told = tokio::time::timeout(SOON, stream.message()).await.unwrap();
            assert_eq!(told.unwrap().unwrap()["params"]["uri"], WATCHED);
        }
        streams.remove(0);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if streams.is_empty() {
            break;
        }
    }
}
