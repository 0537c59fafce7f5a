//! Two gateways on one Redis and one NATS that ask who calls. Of these `here` has the admin API.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, Principal, SystemClock, cache::bucket};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{Client, modern::Caller},
    scripted::Scripted,
    stores::{Nats, Redis},
};
use serde_json::{Value, json};

use super::{
    rig::{Answers, metric, read, server_of, yaml},
    shared::sections,
    version,
};
use crate::{
    gateway_announced::messaging,
    gateway_rig::{SOON, gateway, until},
};

const RESOURCE: &str = "https://mcp.example.com/mcp";
/// What is announced is known elsewhere within; what is slow beyond is the machine.
pub(super) const ANNOUNCED: Duration = Duration::from_secs(2);

pub(super) struct Site {
    pub(super) here: Gateway,
    pub(super) there: Gateway,
    pub(super) server: Scripted,
    pub(super) admin: String,
    pub(super) redis: Redis,
    provider: IdentityProvider,
    key: SigningKey,
    yaml: String,
    _nats: Nats,
    _folder: tempfile::TempDir,
}

impl Site {
    /// `general` stands in front of the servers, `of_server` at the one that there is.
    pub(super) async fn start(answers: Answers, general: &str, of_server: &str) -> Self {
        let key = SigningKey::es256("k").unwrap();
        let provider = IdentityProvider::start(Discovery::OAuth, &[&key]).await;
        let provider = provider.unwrap();
        let (redis, nats) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
        let server = server_of(answers).await;
        let folder = tempfile::tempdir().unwrap();
        let auth = |more: &str| {
            format!(
                "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\n{more}",
                provider.issuer()
            )
        };
        let stores = format!("{}{}", sections(&redis, "c"), messaging(&nats));
        let yaml_of = |auth: &str, stores: &str| {
            yaml(&server, &format!("{auth}{stores}{general}"), of_server)
        };
        let yaml = yaml_of(&auth(""), &stores);
        let there = gateway(&yaml).await;
        let file = folder.path().join("state.db");
        let sqlite = format!("storage:\n  sqlite: \"{}\"\n", file.display());
        let administered = format!(
            "{}admin: {{ port: 0 }}\n",
            auth("  api_keys: { enabled: true }\n")
        );
        let stores = stores.replace("storage:\n", &sqlite);
        let mut here = gateway(&yaml_of(&administered, &stores)).await;
        let line = here.logged(&["the admin API listens"], SOON).await;
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
        for gateway in [&here, &there] {
            hears(gateway).await;
        }
        Self {
            admin: admin.unwrap().to_owned(),
            here,
            there,
            server,
            redis,
            provider,
            key,
            yaml,
            _nats: nats,
            _folder: folder,
        }
    }

    /// One more gateway, which has nothing in memory.
    pub(super) async fn another(&self) -> Gateway {
        let another = gateway(&self.yaml).await;
        hears(&another).await;
        another
    }

    pub(super) fn issuer(&self) -> &str {
        self.provider.issuer()
    }

    pub(super) fn token(&self, tenant: &str, subject: &str, roles: &[&str]) -> String {
        let now = SystemClock.now().as_secs();
        let mut claims = self.provider.claims(RESOURCE, subject, now);
        claims["tenant"] = json!(tenant);
        claims["roles"] = json!(roles);
        self.key.token(&claims).unwrap()
    }

    pub(super) fn caller(&self, gateway: &Gateway, tenant: &str, subject: &str) -> Caller {
        with_token(gateway, &self.token(tenant, subject, &[]))
    }

    /// Somebody whose answers are in another bucket than those of ana.
    pub(super) fn bea(&self) -> String {
        apart_from_ana(self.issuer())
    }

    pub(super) async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut headers = bearer(token);
        for (name, value) in more {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let client = Client::new(format!("{}/api/v1{path}", self.admin)).with_patience(SOON);
        let answer = client.request(method, headers, body).await.unwrap();
        (answer.status.as_u16(), answer.json().await.unwrap())
    }

    pub(super) async fn purge(&self, token: &str, query: &str) -> (u16, Value) {
        let path = format!("/cache{query}");
        let any = [("if-match", "*")];
        self.ask(token, Method::DELETE, &path, &any, None).await
    }
}

/// A name whose answers are in another bucket than those of ana, by an issuer.
pub(super) fn apart_from_ana(issuer: &str) -> String {
    let buckets = |name: &str| Principal::ids_of("acme", issuer, name).map(|id| bucket(&id));
    let taken = buckets("ana");
    let mut names = (0..).map(|number| format!("bea{number}"));
    let is_apart = |name: &String| buckets(name).iter().all(|one| !taken.contains(one));
    names.find(is_apart).unwrap()
}

async fn hears(gateway: &Gateway) {
    until("it hears of the others", async || {
        metric(gateway, "mcp_announcements_connected").await == 1
    })
    .await;
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

pub(super) fn with_token(gateway: &Gateway, token: &str) -> Caller {
    let mut caller = gateway.caller();
    caller.extra_headers = bearer(token);
    caller
}

/// Which reading of a a caller has.
pub(super) async fn reading(caller: &Caller) -> String {
    version(&read(caller, "test://a").await).to_owned()
}

/// Waits until a caller has another one; how long that took.
pub(super) async fn other_than(caller: &Caller, before: &str) -> Duration {
    let begun = std::time::Instant::now();
    until("another reading", async || reading(caller).await != before).await;
    begun.elapsed()
}
