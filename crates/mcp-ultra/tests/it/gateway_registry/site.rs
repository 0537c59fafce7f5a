//! Two gateways on one PostgreSQL, and an operator who changes their registry at one of them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::{Client, modern::Caller},
    stores::{Fault, Nats, PASSWORD, Postgres, Redis},
};
use serde_json::{Value, json};

use crate::{
    cli::run,
    gateway_announced::messaging,
    gateway_redis,
    gateway_rig::{SOON, fixture, gateway, until},
};

/// Tools for everybody, everything for operators.
const POLICIES: &str = "permit(principal, action in Action::\"tools\", resource);\n\
    permit(principal in Role::\"operator\", action in Action::\"admin\", resource);\n";

pub(crate) struct Site {
    pub(crate) here: Gateway,
    pub(crate) there: Gateway,
    pub(crate) admin: String,
    pub(crate) operator: String,
    pub(crate) postgres: Fault,
    yaml: String,
    anybody: String,
    pub(crate) nats: Option<Nats>,
    _folder: tempfile::TempDir,
    _upstream: Running,
}

impl Site {
    /// Nothing but an announcement is quick.
    pub(crate) async fn announcing(more: &str) -> Self {
        let nats = Nats::start().await.unwrap();
        let messaging = format!("{}{more}", messaging(&nats));
        Self::of(&messaging, nats).await
    }

    /// The same with a Redis that the gateways share.
    pub(crate) async fn sharing(redis: &Redis, more: &str) -> Self {
        let nats = Nats::start().await.unwrap();
        let sections = format!("{}{}{more}", beside_postgres(redis), messaging(&nats));
        Self::of(&sections, nats).await
    }

    /// With these sections, the first of which goes on with that of the storage.
    pub(crate) async fn of(sections: &str, nats: Nats) -> Self {
        let site = Self::new("1h", sections, Some(nats)).await;
        site.connected("1").await;
        site
    }

    /// What is not announced is looked for each second.
    pub(crate) async fn announcing_and_polling() -> Self {
        let nats = Nats::start().await.unwrap();
        let messaging = messaging(&nats);
        let site = Self::new("1s", &messaging, Some(nats)).await;
        site.connected("1").await;
        site
    }

    /// Waits until both say so of their connection to NATS: `1` or `0`.
    pub(crate) async fn connected(&self, there: &str) {
        for gateway in [&self.here, &self.there] {
            until("what is known of NATS", async || {
                self.metric(gateway, "mcp_announcements_connected").await == there
            })
            .await;
        }
    }

    /// Nobody is told anything.
    pub(crate) async fn polling() -> Self {
        Self::new("200ms", "", None).await
    }

    async fn new(poll: &str, more: &str, nats: Option<Nats>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = fixture(Era::Dual).await;
        let (storage, postgres) = storage(&folder).await;
        let policies = folder.path().join("base.cedar");
        std::fs::write(&policies, POLICIES).unwrap();
        let yaml = format!(
            "auth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true, recheck: 1h, max_age: 2h }}\n\
             admin: {{ port: 0 }}\noutbound: {{ allow_addresses: [127.0.0.0/8] }}\n\
             policy: {{ files: [\"{}\"] }}\n\
             registry: {{ enabled: true, poll: {poll}, secrets: [allowed] }}\n{storage}{more}\
             servers:\n  - {{ name: fix, url: \"{}\" }}\n",
            policies.display(),
            upstream.url()
        );
        let file = folder.path().join("gateway.yaml");
        std::fs::write(&file, &yaml).unwrap();
        let operator = key(&file, &["admin", "--role", "operator"]).await;
        let anybody = key(&file, &["anybody"]).await;
        let (mut here, there) = (gateway(&yaml).await, gateway(&yaml).await);
        let line = here.logged(&["the admin API listens"], SOON).await;
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
        Self {
            admin: admin.unwrap().to_owned(),
            here,
            there,
            operator,
            postgres,
            yaml,
            anybody,
            nats,
            _folder: folder,
            _upstream: upstream,
        }
    }

    /// One more gateway.
    pub(crate) async fn another(&self) -> Gateway {
        gateway(&self.yaml).await
    }

    /// Asks the admin API: the status, and the body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        more: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut headers = bearer(&self.operator);
        let json = ("content-type", "application/json");
        let type_of = body.is_some().then_some(json);
        for (name, value) in more.iter().copied().chain(type_of) {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let client = Client::new(format!("{}{path}", self.admin)).with_patience(SOON);
        let answer = client.request(method, headers, body).await.unwrap();
        (answer.status.as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None, &[]).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Puts a text where `meant` is there: a tag, `new` for nothing, or empty to say nothing of it.
    pub(crate) async fn put(&self, path: &str, text: &str, meant: &str) -> (u16, Value) {
        let body = json!({ "text": text });
        let headers = match meant {
            "" => vec![],
            "new" => vec![("if-none-match", "*")],
            tag => vec![("if-match", tag)],
        };
        self.ask(Method::PUT, path, Some(body), &headers).await
    }

    pub(crate) async fn remove(&self, path: &str, tag: &str) -> (u16, Value) {
        let headers = [("if-match", tag)];
        self.ask(Method::DELETE, path, None, &headers).await
    }

    pub(crate) fn caller(&self, gateway: &Gateway) -> Caller {
        let mut caller = gateway.caller();
        caller.extra_headers = bearer(&self.anybody);
        caller
    }

    pub(crate) async fn lists(&self, gateway: &Gateway, tool: &str) -> bool {
        let caller = self.caller(gateway);
        let reply = caller.call("tools/list", json!({})).await.unwrap();
        let tools = reply.result()["tools"].as_array().unwrap();
        tools.iter().any(|one| one["name"] == tool)
    }

    /// Waits until a gateway lists a tool, or does no more.
    pub(crate) async fn wait(&self, gateway: &Gateway, tool: &str, listed: bool) {
        until(&format!("{tool}: {listed}"), async || {
            self.lists(gateway, tool).await == listed
        })
        .await;
    }

    /// The code of the error that a call ends with; `None` where it is answered.
    pub(crate) async fn call(
        &self,
        gateway: &Gateway,
        tool: &str,
        arguments: Value,
    ) -> Option<i64> {
        let caller = self.caller(gateway);
        let params = json!({ "name": tool, "arguments": arguments });
        let reply = caller.call("tools/call", params).await.unwrap();
        let code = reply.error_code();
        if code.is_some_and(|code| code != -32602) {
            println!("{tool}: {}", reply.message);
        }
        code
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, gateway: &Gateway, name: &str) -> String {
        let text = gateway.get("/metrics").await.unwrap().text().await.unwrap();
        let of = |line: &str| {
            line.strip_prefix(name)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        text.lines()
            .find_map(of)
            .unwrap_or_else(|| panic!("no {name}"))
    }
}

/// The rest of a section of the storage, with a Redis beside the PostgreSQL, and the keys of sessions.
pub(crate) fn beside_postgres(redis: &Redis) -> String {
    let sections = gateway_redis::sections(redis);
    let (session, redis) = sections.split_once("storage:\n").unwrap();
    format!("{redis}{session}")
}

/// The section of a database with tables, behind what breaks.
async fn storage(folder: &tempfile::TempDir) -> (String, Fault) {
    let server = Postgres::shared().await.unwrap();
    let admin = server.database().await.unwrap();
    let database = &admin.database;
    let roles = format!(
        "create role owner_of_{database} login password '{PASSWORD}'; \
         alter database {database} owner to owner_of_{database}"
    );
    admin.sql(&roles).await.unwrap();
    let section = |port: u16| {
        format!(
            "storage:\n  postgres:\n    host: 127.0.0.1\n    port: {port}\n    database: {database}\n    user: guest\n    password: {PASSWORD}\n    pool: {{ acquire_timeout: 2s }}\n    tls: {{ ca_file: \"{}\" }}\n",
            admin.authority.display()
        )
    };
    let direct = section(admin.address.port());
    let owner = folder.path().join("owner.yaml");
    let migrate = format!("    migrate: {{ user: owner_of_{database}, password: {PASSWORD} }}\n");
    std::fs::write(&owner, format!("{direct}{migrate}")).unwrap();
    let migrated = run(&["migrate", "--config", &owner.to_string_lossy()]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let fault = Fault::before(admin.address).unwrap();
    (section(fault.address().port()), fault)
}

async fn key(file: &std::path::Path, arguments: &[&str]) -> String {
    let file = file.to_string_lossy();
    let made = run(&[&["key", "create"], arguments, &["--config", &file]].concat()).await;
    assert_eq!(made.code, 0, "{}", made.err);
    made.out.trim_end().to_owned()
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}
