//! Nobody gets what they could not have fetched themselves, through either of two gateways on one Redis and
//! one NATS: random principals, tenants, policies, scopes and changes, beside a model that knows who
//! fetched what and when.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::modern::Caller,
    scripted::{Scene, Scripted},
    stores::{Nats, Redis},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::{
    rig::{metric, yaml},
    shared::sections,
};
use crate::{
    gateway_announced::messaging,
    gateway_rig::{gateway, until},
};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const GATEWAYS: usize = 2;
/// Tenant and name of everyone. Two tenants have a person of one name.
const PEOPLE: [(&str, &str); 4] = [
    ("acme", "ana"),
    ("acme", "bea"),
    ("acme", "cid"),
    ("other", "ana"),
];
/// What is read, and whether its server says that it is the same for everyone.
const URIS: [(&str, bool); 4] = [
    ("test://p0", true),
    ("test://p1", true),
    ("test://q0", false),
    ("test://q1", false),
];

/// What everyone may read, by which it is seen that a gateway has been told of what went before.
const MARK: &str = "test://mark";

/// What may be read: a bit for each person and URI.
type Permits = u16;

/// Each but the last two goes through one of the gateways, the first number.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody reads something.
    Read(usize, usize, usize),
    /// Everyone reads it at once.
    All(usize, usize),
    /// Its server says that it is another one now.
    Touch(usize, usize),
    /// Somebody changes it, and its server says nothing of that.
    Write(usize, usize, usize),
    /// Each gateway has been told of what has gone through the other.
    Settle,
    /// Other policies.
    Policy(Permits),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, what) = (0..PEOPLE.len(), 0..URIS.len());
    let of_all = (0..GATEWAYS, who, what.clone());
    let of_one = (0..GATEWAYS, what);
    let step = prop_oneof![
        16 => of_all.clone().prop_map(|(at, who, what)| Step::Read(at, who, what)),
        3 => of_one.clone().prop_map(|(at, what)| Step::All(at, what)),
        2 => of_one.prop_map(|(at, what)| Step::Touch(at, what)),
        2 => of_all.prop_map(|(at, who, what)| Step::Write(at, who, what)),
        2 => Just(Step::Settle),
        1 => any::<Permits>().prop_map(Step::Policy),
    ];
    proptest::collection::vec(step, 120)
}

fn permits(permits: Permits, who: usize, what: usize) -> bool {
    permits >> (who * URIS.len() + what) & 1 == 1
}

/// The policies. The number stands in a name that everyone may read, or not, by which it is seen that
/// they hold.
fn policies(of: Permits, number: usize) -> String {
    let mut text = format!(
        "permit(principal, action in Action::\"tools\", resource);\npermit(principal, action in Action::\"resources\", resource == Resource::\"{MARK}\");\npermit(principal, action in Action::\"resources\", resource == Resource::\"test://round{}\");\n",
        number % 2
    );
    for (who, (tenant, name)) in PEOPLE.iter().enumerate() {
        for (what, (uri, _)) in URIS.iter().enumerate() {
            if permits(of, who, what) {
                let _ = writeln!(
                    text,
                    "permit(principal in TenantRole::\"{tenant}/r-{name}\", action in Action::\"resources\", resource == Resource::\"{uri}\");"
                );
            }
        }
    }
    text
}

/// What the server has answered: for each number the URI, and how often that had been touched.
#[derive(Default)]
struct Answered {
    next: AtomicUsize,
    touched: Mutex<HashMap<String, usize>>,
    answers: Mutex<HashMap<usize, (String, usize)>>,
}

async fn server(answered: Arc<Answered>) -> Scripted {
    let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
    let tools = json!([tool("touch"), tool("write")]);
    Scripted::start(tools, move |seen| {
        let message = seen.message();
        let params = &message["params"];
        let text = |value: &Value| Some(Scene::Result(value.to_string()));
        match &*seen.rpc() {
            "server/discover" => text(&json!({
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {}, "resources": {} },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "s", "version": "0" } },
            })),
            "resources/list" => {
                let rounds = ["test://round0", "test://round1", MARK];
                let uris = URIS.iter().map(|(uri, _)| *uri).chain(rounds);
                let resources: Vec<Value> =
                    uris.map(|uri| json!({ "uri": uri, "name": uri })).collect();
                text(&json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "public", "resources": resources }))
            }
            "resources/read" => {
                let uri = params["uri"].as_str().unwrap().to_owned();
                let number = answered.next.fetch_add(1, Ordering::SeqCst);
                let times = answered.touched.lock().unwrap().get(&uri).copied();
                let known = (uri.clone(), times.unwrap_or_default());
                answered.answers.lock().unwrap().insert(number, known);
                let scope = if uri.starts_with("test://p") { "public" } else { "private" };
                text(&json!({
                    "resultType": "complete", "ttlMs": 60_000, "cacheScope": scope,
                    "contents": [{ "uri": uri, "text": number.to_string() }],
                }))
            }
            "tools/call" => {
                let uri = params["arguments"]["uri"].as_str().unwrap();
                *answered.touched.lock().unwrap().entry(uri.to_owned()).or_default() += 1;
                let update = json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } });
                let result = json!({ "resultType": "complete", "content": [] });
                if params["name"] == "write" {
                    return text(&result);
                }
                Some(Scene::Events(vec![
                    update.to_string(),
                    format!(r#"{{"jsonrpc":"2.0","id":$ID,"result":{result}}}"#),
                ]))
            }
            _ => None,
        }
    })
    .await
    .unwrap()
}

/// What the model knows.
#[derive(Default)]
struct Model {
    /// How often the policies have changed.
    revision: usize,
    permits: Permits,
    /// Who got each answer first, and under which policies. The same policies are the same, also where
    /// there were others in between.
    first: HashMap<usize, (usize, String)>,
    given_again: usize,
    /// Through each gateway, for everyone: of which change of each URI an answer has to be at least.
    least: [[[usize; URIS.len()]; PEOPLE.len()]; GATEWAYS],
}

impl Model {
    /// Somebody has changed something through a gateway; `told`: its server has said so.
    fn changed(&mut self, at: usize, who: usize, what: usize, times: usize, told: bool) {
        for (other, (tenant, _)) in PEOPLE.iter().enumerate() {
            let is_everyones = URIS[what].1 && *tenant == PEOPLE[who].0;
            if told || is_everyones || other == who {
                self.least[at][other][what] = times;
            }
        }
    }

    /// What one gateway knows the other does.
    fn settle(&mut self) {
        let [one, other] = &mut self.least;
        let both = one.iter_mut().flatten().zip(other.iter_mut().flatten());
        for (one, other) in both {
            *one = (*one).max(*other);
            *other = *one;
        }
    }

    /// Judges what `who` got of `what` through a gateway; `None` is a refusal.
    fn judge(
        &mut self,
        at: usize,
        who: usize,
        what: usize,
        got: Option<usize>,
        answered: &Answered,
    ) {
        let may = permits(self.permits, who, what);
        assert_eq!(got.is_some(), may, "{:?} {:?}", PEOPLE[who], URIS[what]);
        let Some(number) = got else { return };
        let (uri, touched) = answered.answers.lock().unwrap()[&number].clone();
        assert_eq!(uri, URIS[what].0, "the answer to another question");
        let least = self.least[at][who][what];
        assert!(
            touched >= least,
            "an outdated answer: {touched}, not {least}"
        );
        let policies = policies(self.permits, self.revision);
        let Some((first, by)) = self.first.get(&number).cloned() else {
            self.first.insert(number, (who, policies));
            return;
        };
        self.given_again += 1;
        assert_eq!(by, policies, "an answer under other policies");
        assert_eq!(
            PEOPLE[first].0, PEOPLE[who].0,
            "an answer of another tenant"
        );
        let is_public = URIS[what].1;
        assert!(first == who || is_public, "an answer to somebody else");
    }
}

async fn read(caller: &Caller, uri: &str) -> Option<usize> {
    let reply = caller.call("resources/read", json!({ "uri": uri }));
    let reply = reply.await.unwrap();
    if reply.error_code().is_some() {
        assert_eq!(reply.error_code(), Some(-32602), "{}", reply.message);
        return None;
    }
    let result = reply.result();
    assert_eq!(
        result["cacheScope"], "private",
        "policies tell callers apart"
    );
    let text = result["contents"][0]["text"].as_str().unwrap();
    Some(text.parse().unwrap())
}

async fn listed(caller: &Caller) -> Vec<String> {
    let reply = caller.call("resources/list", json!({})).await.unwrap();
    let items = reply.result()["resources"].as_array().unwrap().clone();
    let uri = |item: &Value| item["uri"].as_str().unwrap().to_owned();
    items.iter().map(uri).collect()
}

struct Rig {
    _provider: IdentityProvider,
    _server: Scripted,
    answered: Arc<Answered>,
    gateways: [Gateway; GATEWAYS],
    /// Through each gateway everyone.
    callers: [Vec<Caller>; GATEWAYS],
    folder: tempfile::TempDir,
    _redis: Redis,
    _nats: Nats,
}

async fn rig() -> Rig {
    let key = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key]).await;
    let provider = provider.unwrap();
    let answered = Arc::new(Answered::default());
    let server = server(answered.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.cedar"), policies(0, 0)).unwrap();
    let (redis, nats) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
    let general = format!(
        "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\npolicy: {{ files: [\"{}\"] }}\n{}{}",
        provider.issuer(),
        folder.path().display(),
        sections(&redis, "c"),
        messaging(&nats),
    );
    let yaml = yaml(&server, &general, "");
    let gateways = [gateway(&yaml).await, gateway(&yaml).await];
    let claims = provider.claims(RESOURCE, "", SystemClock.now().as_secs());
    let caller = |gateway: &Gateway, (tenant, name): &(&str, &str)| {
        let mut claims = claims.clone();
        claims["sub"] = (*name).into();
        claims["tenant"] = (*tenant).into();
        claims["roles"] = json!([format!("r-{name}")]);
        let token = key.token(&claims).unwrap();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let mut caller = gateway.caller();
        caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        caller
    };
    let all = |gateway| PEOPLE.iter().map(|who| caller(gateway, who)).collect();
    Rig {
        callers: gateways.each_ref().map(all),
        _provider: provider,
        _server: server,
        answered,
        gateways,
        folder,
        _redis: redis,
        _nats: nats,
    }
}

impl Rig {
    /// Other policies: while they come to hold, what is listed and what may be read agree at every
    /// moment.
    async fn change(&self, model: &mut Model, permits: Permits) {
        model.revision += 1;
        model.permits = permits;
        let text = policies(permits, model.revision);
        fs::write(self.folder.path().join("p.cedar"), text).unwrap();
        let round = format!("test://round{}", model.revision % 2);
        for callers in &self.callers {
            for number in 0.. {
                let caller = &callers[number % PEOPLE.len()];
                let (uri, _) = URIS[number / PEOPLE.len() % URIS.len()];
                let before = listed(caller).await;
                let got = read(caller, uri).await;
                let after = listed(caller).await;
                if before == after {
                    let is_listed = before.iter().any(|listed| listed == uri);
                    assert_eq!(is_listed, got.is_some(), "{uri} in {before:?}");
                }
                if after.contains(&round) {
                    break;
                }
                assert!(number < 10_000, "the policies never hold");
            }
        }
        // What was fetched meanwhile, by whom nobody knows and under which policies, is outdated.
        for what in 0..URIS.len() {
            self.touch(model, 0, what).await;
        }
        self.settle(model).await;
    }

    async fn call(&self, at: usize, who: usize, tool: &str, uri: &str) -> usize {
        let params = json!({ "name": tool, "arguments": { "uri": uri } });
        let reply = self.callers[at][who].call("tools/call", params).await;
        let reply = reply.unwrap();
        assert!(reply.error_code().is_none(), "{}", reply.message);
        self.answered.touched.lock().unwrap()[uri]
    }

    async fn touch(&self, model: &mut Model, at: usize, what: usize) {
        let times = self.call(at, 0, "touch", URIS[what].0).await;
        model.changed(at, 0, what, times, true);
    }

    /// Waits until each gateway has been told of what has gone through the other: of a change that was
    /// made last, and so of all that were told with it.
    async fn settle(&self, model: &mut Model) {
        for (at, other) in [(0, 1), (1, 0)] {
            let before = read(&self.callers[other][0], MARK).await;
            self.call(at, 0, "touch", MARK).await;
            until("the other is told", async || {
                read(&self.callers[other][0], MARK).await != before
            })
            .await;
            let count = async |at: usize, outcome: &str| {
                let sample = format!(
                    r#"mcp_announcements_total{{kind="answers_outdated",outcome="{outcome}"}}"#
                );
                metric(&self.gateways[at], &sample).await
            };
            until("all is heard", async || {
                count(other, "heard").await == count(at, "sent").await
            })
            .await;
        }
        model.settle();
    }

    async fn run(&self, steps: &[Step], model: &mut Model) {
        for step in steps {
            match *step {
                Step::Read(at, who, what) => {
                    let got = read(&self.callers[at][who], URIS[what].0).await;
                    model.judge(at, who, what, got, &self.answered);
                }
                Step::All(at, what) => {
                    let callers = self.callers[at].iter();
                    let all = callers.map(|caller| read(caller, URIS[what].0));
                    let all = futures_util::future::join_all(all).await;
                    for (who, got) in all.into_iter().enumerate() {
                        model.judge(at, who, what, got, &self.answered);
                    }
                }
                Step::Touch(at, what) => self.touch(model, at, what).await,
                Step::Write(at, who, what) => {
                    let times = self.call(at, who, "write", URIS[what].0).await;
                    model.changed(at, who, what, times, false);
                }
                Step::Settle => self.settle(model).await,
                Step::Policy(permits) => self.change(model, permits).await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_they_could_not_have_fetched_themselves() {
    let rig = rig().await;
    for (gateway, callers) in rig.gateways.iter().zip(&rig.callers) {
        until("the server is listed", async || {
            listed(&callers[0])
                .await
                .contains(&"test://round0".to_owned())
        })
        .await;
        until("it hears of the others", async || {
            metric(gateway, "mcp_announcements_connected").await == 1
        })
        .await;
    }
    let mut model = Model::default();
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..4 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        // Most is permitted, so that most is answered.
        rig.change(&mut model, 0xFFFF).await;
        rig.run(&steps, &mut model).await;
    }
    assert!(
        model.given_again > 50,
        "{} were given again",
        model.given_again
    );
}
