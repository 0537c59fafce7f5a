//! A gateway with two tenants, and what they received of it.

use std::{collections::BTreeSet, fmt::Write, fs, sync::Arc};

use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{self, Era, Options, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey, hs256},
    raw::{Events, legacy::Session},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::actor::{Actor, Seen, Step, Traces};
use crate::gateway_rig::{SOON, gateway};

pub(super) const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &str = "a secret of thirty-two bytes and more";
/// The same in both tenants, and under both issuers.
const SUBJECT: &str = "ana";
/// How often a tool may be called in a day by a tenant: few, so that one of them uses it up.
const QUOTA: u32 = 4;
/// How many sessions there may be: those at the beginning, and some.
const SESSIONS: usize = 7;

pub(super) struct Tenant {
    odd: String,
    /// Part of everything that is the tenant's.
    pub canary: String,
}

impl Tenant {
    pub(super) fn new(odd: &str, canary: &str) -> Self {
        Self {
            odd: odd.to_owned(),
            canary: canary.to_owned(),
        }
    }

    pub(super) fn name(&self) -> String {
        format!("{}{}", self.odd, self.canary)
    }

    /// How a label of the metrics would end that has the tenant in it. The server that only it sees
    /// has the canary in its name and may be named there.
    pub(super) fn label(&self) -> String {
        let name = self.name().replace('\\', "\\\\").replace('"', "\\\"");
        format!("=\"{name}\"").replace(&format!("=\"{}\"", self.canary), "=\"no tenant\"")
    }
}

/// What of a tenant is left of a run.
#[derive(Default)]
pub(super) struct Record {
    /// Everything that it received, as it came.
    pub received: Vec<String>,
    /// The answers that must be the same without the other tenant.
    pub answers: Vec<String>,
    /// The answers on what is of the same subject under the other issuer, and on what nobody has.
    pub of_the_namesake: Vec<[String; 2]>,
    /// What its streams told of.
    pub heard: BTreeSet<String>,
}

pub(super) struct Ended {
    pub of: [Record; 2],
    pub metrics: String,
}

pub(super) struct World {
    gateway: Gateway,
    actors: [Vec<Actor>; 2],
    /// By tenant and principal.
    traces: [[Arc<Mutex<Traces>>; 2]; 2],
    records: [Arc<Mutex<Record>>; 2],
    listening: Vec<JoinHandle<()>>,
    _provider: IdentityProvider,
    _folder: TempDir,
    _upstreams: Vec<Running>,
}

fn policies(tenants: &[Tenant; 2]) -> String {
    let mut text = String::from("permit(principal, action, resource in Server::\"both\");\n");
    for tenant in tenants {
        let (name, server) = (tenant.name().escape_debug().to_string(), &tenant.canary);
        writeln!(
            text,
            "permit(principal in Tenant::\"{name}\", action, resource in Server::\"{server}\");"
        )
        .unwrap();
    }
    text += "permit(principal in Role::\"tenant-admin\", action in Action::\"admin\", resource) when { resource has tenant && resource.tenant == principal.tenant };\n";
    text
}

impl World {
    pub(super) async fn start(tenants: &[Tenant; 2]) -> Self {
        Self::with_quota(tenants, QUOTA).await
    }

    /// One in which a tenant may call each tool so often in a day.
    pub(super) async fn with_quota(tenants: &[Tenant; 2], quota: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("p.cedar"), policies(tenants)).unwrap();
        let mut upstreams = Vec::new();
        let mut servers = String::new();
        for name in [&*tenants[0].canary, &*tenants[1].canary, "both"] {
            let name = name.to_owned();
            let options = Options {
                name: name.clone(),
                ..Options::new(Era::Dual)
            };
            let upstream = fixture::http::start(options).await.unwrap();
            writeln!(
                servers,
                "  - {{ name: {name}, url: \"{}\", extensions: [tasks] }}",
                upstream.url()
            )
            .unwrap();
            upstreams.push(upstream);
        }
        let key = SigningKey::es256("k").unwrap();
        let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
            .await
            .unwrap();
        let yaml = format!(
            "storage: {{ sqlite: \"{}\" }}\nadmin: {{ port: 0 }}\npolicy: {{ files: [\"{}\"] }}\nauth:\n  resource: {RESOURCE}\n  jwt_secret: \"{SECRET}\"\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\n  api_keys: {{ enabled: true }}\nlimits: {{ sessions: {SESSIONS}, quotas: {{ tool: {quota} }} }}\ncatalog: {{ page_size: 7 }}\nservers:\n{servers}",
            at("s.db").display(),
            at("p.cedar").display(),
            provider.issuer(),
        );
        let mut gateway = gateway(&yaml).await;
        let line = gateway
            .logged(&["the admin API listens"], SOON)
            .await
            .unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let admin = line["fields"]["url"]
            .as_str()
            .or(line["url"].as_str())
            .unwrap();
        let traces: [[Arc<Mutex<Traces>>; 2]; 2] = Default::default();
        let records: [Arc<Mutex<Record>>; 2] = Default::default();
        let (mut actors, mut listening) = ([Vec::new(), Vec::new()], Vec::new());
        for (at, tenant) in tenants.iter().enumerate() {
            let name = tenant.name();
            for headers in [by_secret(&name), by_key(&provider, &key, &name)] {
                let actor = Actor::new(&gateway, admin, headers, tenant).await;
                for stream in actor.streams().await {
                    listening.push(tokio::spawn(listen(stream, records[at].clone())));
                }
                actors[at].push(actor);
            }
        }
        Self {
            gateway,
            actors,
            traces,
            records,
            listening,
            _provider: provider,
            _folder: folder,
            _upstreams: upstreams,
        }
    }

    /// One more session of the first principal of a tenant.
    pub(super) async fn session(&self, tenant: usize) -> Session {
        let headers = self.actors[tenant][0].headers().clone();
        Session::open(self.gateway.client(), "2025-11-25", json!({}), headers)
            .await
            .unwrap()
    }

    pub(super) async fn act(&self, tenant: usize, principal: usize, step: &Step) {
        let actor = &self.actors[tenant][principal];
        let mut own = self.traces[tenant][principal].lock().clone();
        let others = |of: &Arc<Mutex<Traces>>| of.lock().clone();
        let seen = if let Some(step) = step.with_the_namesake() {
            let namesake = others(&self.traces[tenant][1 - principal]);
            let seen = actor.act(&step, &mut own, &namesake).await;
            let nobody = actor.act(&step, &mut own, &Traces::default()).await;
            // The second of them may be the one call too many, which says nothing of the first.
            let is_spent = |seen: &Seen| seen.answer.contains("limits.quotas.tool");
            if is_spent(&seen) || !is_spent(&nobody) {
                let mut record = self.records[tenant].lock();
                record
                    .of_the_namesake
                    .push([seen.answer.clone(), nobody.answer]);
            }
            seen
        } else {
            let foreign = others(&self.traces[1 - tenant][principal]);
            actor.act(step, &mut own, &foreign).await
        };
        *self.traces[tenant][principal].lock() = own;
        let mut record = self.records[tenant].lock();
        record.received.push(seen.received);
        record.answers.push(format!("{step:?}: {}", seen.answer));
    }

    pub(super) async fn end(self) -> Ended {
        // What is on its way to a stream still comes.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let metrics = self.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for task in &self.listening {
            task.abort();
        }
        join_all(self.listening).await;
        let take = |record: &Arc<Mutex<Record>>| std::mem::take(&mut *record.lock());
        Ended {
            of: [take(&self.records[0]), take(&self.records[1])],
            metrics,
        }
    }
}

/// By the issuer that shares a secret with the gateway.
fn by_secret(tenant: &str) -> HeaderMap {
    let mut claims = claims(tenant);
    claims["iss"] = json!("mcp-ultra");
    bearer(&hs256(
        SECRET.as_bytes(),
        &json!({ "alg": "HS256" }),
        &claims,
    ))
}

/// By the issuer that has a key.
fn by_key(provider: &IdentityProvider, key: &SigningKey, tenant: &str) -> HeaderMap {
    let mut claims = claims(tenant);
    claims["iss"] = json!(provider.issuer());
    bearer(&key.token(&claims).unwrap())
}

fn claims(tenant: &str) -> Value {
    json!({
        "aud": RESOURCE, "sub": SUBJECT, "tenant": tenant, "roles": ["tenant-admin"],
        "exp": SystemClock.now().as_secs() + 600,
    })
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// Notes what comes on a stream.
async fn listen(mut events: Events, record: Arc<Mutex<Record>>) {
    while let Ok(Some(message)) = events.message().await {
        let mut record = record.lock();
        record.received.push(message.to_string());
        let uri = message["params"]["uri"].as_str().unwrap_or_default();
        record.heard.insert(format!(
            "{} {uri}",
            message["method"].as_str().unwrap_or_default()
        ));
    }
}
