//! The admin API of a running gateway.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{Answer, Client},
};
use serde_json::{Value, json};

use super::cli::{command, finish};
use crate::gateway_rig::{SOON, fixture, gateway, only};

const RESOURCE: &str = "https://mcp.example.com/mcp";

pub(crate) struct Rig {
    provider: IdentityProvider,
    key: SigningKey,
    pub(crate) gateway: Gateway,
    pub(crate) admin: String,
    pub(crate) folder: tempfile::TempDir,
    _upstream: Running,
}

async fn rig() -> Rig {
    rig_with("", "", &[]).await
}

/// A gateway with more in its section `auth` and besides, and with files in its folder, which
/// `FOLDER` stands for.
pub(crate) async fn rig_with(auth: &str, besides: &str, files: &[(&str, &str)]) -> Rig {
    let key = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let upstream = fixture(Era::Dual).await;
    let admin = if besides.contains("admin:") {
        ""
    } else {
        "admin: { port: 0 }\n"
    };
    let section = format!(
        "storage: {{ sqlite: \"{}\" }}\n{admin}auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\", claims: {{ tenant: tenant }} }}]\n  api_keys: {{ enabled: true, recheck: 1h, max_age: 2h }}\n{auth}{}",
        folder.path().join("state.db").display(),
        provider.issuer(),
        besides.replace("FOLDER", &folder.path().to_string_lossy()),
    );
    let mut gateway = gateway(&only(&upstream.url(), &section)).await;
    let line = gateway
        .logged(&["the admin API listens"], SOON)
        .await
        .unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let admin = line["fields"]["url"].as_str().or(line["url"].as_str());
    Rig {
        admin: admin.unwrap().to_owned(),
        provider,
        key,
        gateway,
        folder,
        _upstream: upstream,
    }
}

/// One request of a caller.
pub(crate) struct Ask<'r> {
    rig: &'r Rig,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Rig {
    pub(crate) fn token(&self, tenant: &str, subject: &str, roles: &[&str]) -> String {
        self.token_with(tenant, subject, roles, &json!({}))
    }

    /// A token with more claims.
    pub(crate) fn token_with(
        &self,
        tenant: &str,
        subject: &str,
        roles: &[&str],
        more: &Value,
    ) -> String {
        let now = SystemClock.now().as_secs();
        let mut claims = self.provider.claims(RESOURCE, subject, now);
        claims["tenant"] = json!(tenant);
        claims["roles"] = json!(roles);
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.key.token(&claims).unwrap()
    }

    pub(crate) fn ask(&self, token: &str, method: Method, path: &str) -> Ask<'_> {
        let ask = Ask {
            rig: self,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        ask.with("authorization", &format!("Bearer {token}"))
    }

    pub(crate) async fn create(
        &self,
        token: &str,
        path: &str,
        idempotency: &str,
        body: Value,
    ) -> Answer {
        let ask = self.ask(token, Method::POST, path).json(&body);
        ask.with("idempotency-key", idempotency).send().await
    }

    /// A key that is made, its token and its `ETag`.
    async fn made(&self, token: &str, name: &str) -> (Value, String) {
        let answer = self
            .create(token, "/api/v1/keys", name, json!({ "name": name }))
            .await;
        assert_eq!(answer.status, 201);
        let etag = answer.header("etag").unwrap().to_owned();
        (answer.json().await.unwrap(), etag)
    }

    async fn opens(&self, token: &str) -> bool {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let mut caller = self.gateway.caller();
        caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
        answer.unwrap().status == 200
    }
}

impl Ask<'_> {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self.with("content-type", "application/json")
    }

    pub(crate) async fn send(self) -> Answer {
        let client = Client::new(format!("{}{}", self.rig.admin, self.path));
        let answer = client.request(self.method, self.headers, self.body);
        answer.await.unwrap()
    }

    /// The kind of the problem that it is answered with.
    pub(crate) async fn problem(self, status: u16) -> String {
        problem(self.send().await, status).await
    }
}

pub(crate) async fn problem(answer: Answer, status: u16) -> String {
    assert_eq!(answer.status, status);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = answer.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].is_string());
    let kind = problem["type"].as_str().unwrap();
    kind.strip_prefix("urn:mcp-ultra:problem:")
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_and_ends_by_the_api() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin"]);
    let (made, etag) = rig.made(&admin, "reports").await;
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    assert_eq!(
        (&made["tenant"], &made["state"]),
        (&json!("acme"), &json!("valid"))
    );
    assert!(rig.opens(token).await);
    let path = format!("/api/v1/keys/{id}");
    // Read; whole also for who has it, since it may have been used or have ended under one revision.
    let shown = rig.ask(&admin, Method::GET, &path).send().await;
    assert_eq!(shown.header("etag"), Some(&*etag));
    let shown = shown.json().await.unwrap();
    assert_eq!(shown["name"], "reports");
    assert!(shown.get("token").is_none());
    let known = rig.ask(&admin, Method::GET, &path);
    assert_eq!(known.with("if-none-match", &etag).send().await.status, 200);
    // Changed, by whoever has read it.
    let change = json!({ "name": "billing", "expires": null });
    let update = || rig.ask(&admin, Method::PATCH, &path).json(&change);
    assert_eq!(update().problem(428).await, "if-match-required");
    let stale = update().with("if-match", "\"r7\"");
    assert_eq!(stale.problem(412).await, "changed");
    let changed = update().with("if-match", &etag).send().await;
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(second, etag);
    let changed = changed.json().await.unwrap();
    assert_eq!(
        (&changed["name"], &changed["expires"]),
        (&json!("billing"), &Value::Null)
    );
    let again = update().with("if-match", &etag);
    assert_eq!(again.problem(412).await, "changed");
    // Rotated, and revoked at once although nothing is read again for an hour.
    let rotate = rig.ask(&admin, Method::POST, &format!("{path}/rotate"));
    let rotate = rotate.json(&json!({ "overlap_seconds": 60 }));
    let rotated = rotate.with("if-match", &second).send().await;
    let third = rotated.header("etag").unwrap().to_owned();
    let rotated = rotated.json().await.unwrap();
    let newer = rotated["token"].as_str().unwrap();
    assert!(rig.opens(newer).await && rig.opens(token).await);
    let revoke = rig.ask(&admin, Method::DELETE, &path);
    let revoked = revoke.with("if-match", &third).send().await;
    assert_eq!(revoked.json().await.unwrap()["state"], "revoked");
    assert!(!rig.opens(newer).await && !rig.opens(token).await);
    let late = update().with("if-match", "*");
    assert_eq!(late.problem(409).await, "conflict");
}

/// RFC 7396: null removes.
#[tokio::test(flavor = "multi_thread")]
async fn null_takes_roles_and_scopes_away() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin", "reader"]);
    let body = json!({ "name": "reports", "roles": ["reader"] });
    let made = rig.create(&admin, "/api/v1/keys", "n", body).await;
    let made = made.json().await.unwrap();
    assert_eq!(made["roles"], json!(["reader"]));
    let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    let update = |change: Value| {
        let update = rig.ask(&admin, Method::PATCH, &path).json(&change);
        update.with("if-match", "*")
    };
    let nameless = update(json!({ "name": null }));
    assert_eq!(nameless.problem(400).await, "invalid");
    let kept = update(json!({ "name": "billing" })).send().await;
    assert_eq!(kept.json().await.unwrap()["roles"], json!(["reader"]));
    let none = update(json!({ "roles": null, "scopes": null }))
        .send()
        .await;
    let none = none.json().await.unwrap();
    assert_eq!((&none["roles"], &none["scopes"]), (&json!([]), &json!([])));
    assert_eq!(none["name"], "billing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_sent_again_makes_nothing_twice() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin"]);
    let path = "/api/v1/keys";
    let body = json!({ "name": "reports" });
    let missing = rig.ask(&admin, Method::POST, path).json(&body);
    assert_eq!(missing.problem(400).await, "invalid");
    let dry = rig
        .create(&admin, "/api/v1/keys?dry_run=true", "k", body.clone())
        .await;
    assert_eq!(dry.status, 200);
    assert_eq!(dry.json().await.unwrap()["token"], Value::Null);
    let first = rig.create(&admin, path, "k", body.clone()).await;
    assert_eq!(first.status, 201);
    let location = first.header("location").unwrap().to_owned();
    let first = first.json().await.unwrap();
    let again = rig.create(&admin, path, "k", body.clone()).await;
    assert_eq!(again.status, 201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), Some(&*location));
    let again = again.json().await.unwrap();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(again["token"], Value::Null, "shown once");
    let other = rig.create(&admin, path, "k", json!({ "name": "x" })).await;
    assert_eq!(problem(other, 422).await, "idempotency-key-reused");
    // The name is taken, also for a dry run; another principal's keys are their own.
    let bea = rig.token("acme", "bea", &["tenant-admin"]);
    for path in [path, "/api/v1/keys?dry_run=true"] {
        let taken = rig.create(&bea, path, "k", body.clone()).await;
        assert_eq!(problem(taken, 409).await, "conflict");
    }
    // Of many at once one makes it.
    let body = json!({ "name": "many" });
    let all = (0..8).map(|_| rig.create(&admin, path, "m", body.clone()));
    let mut tokens = 0;
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status, 201);
        tokens += usize::from(answer.json().await.unwrap()["token"].is_string());
    }
    assert_eq!(tokens, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_does_more_than_they_may() {
    let rig = rig().await;
    let acme = rig.token("acme", "ana", &["tenant-admin", "reader"]);
    let other = rig.token("other", "oto", &["tenant-admin"]);
    let user = rig.token("acme", "uli", &["reader"]);
    let operator = rig.token("ops", "root", &["operator"]);
    let (made, etag) = rig.made(&acme, "reports").await;
    let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    // Without a credential, and with a bad one.
    let nobody = Client::new(format!("{}/api/v1/keys", rig.admin));
    let answer = nobody.request(Method::GET, HeaderMap::new(), Bytes::new());
    let answer = answer.await.unwrap();
    assert!(answer.header("www-authenticate").is_some());
    assert_eq!(problem(answer, 401).await, "unauthenticated");
    let bad = rig.ask("a.b.c", Method::GET, "/api/v1/keys");
    assert_eq!(bad.problem(401).await, "unauthenticated");
    let mere = rig.ask(&user, Method::GET, "/api/v1/keys");
    assert_eq!(mere.problem(403).await, "forbidden");
    // Another tenant's key does not exist, and its tenant can't be asked about.
    for (path, status) in [(path.clone(), 404), (format!("{path}?tenant=acme"), 403)] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let ask = rig.ask(&other, method, &path).json(&json!({}));
            ask.with("if-match", &etag).problem(status).await;
        }
    }
    let listed = rig.ask(&other, Method::GET, "/api/v1/keys").send().await;
    assert_eq!(listed.json().await.unwrap()["items"], json!([]));
    let theirs = rig.ask(&operator, Method::GET, &format!("{path}?tenant=acme"));
    assert_eq!(theirs.send().await.status, 200);
    // A key is no way to more than one has: not made, not changed, and not rotated.
    let grant = async |token: &str, idempotency: &str, roles: Value| {
        let body = json!({ "name": idempotency, "roles": roles });
        let path = "/api/v1/keys?tenant=acme";
        rig.create(token, path, idempotency, body).await
    };
    let own = grant(&acme, "own", json!(["reader"])).await;
    assert_eq!(own.status, 201);
    let lifted = grant(&acme, "lifted", json!(["operator"])).await;
    assert_eq!(problem(lifted, 403).await, "forbidden");
    let high = grant(&operator, "high", json!(["operator"])).await;
    let tag = high.header("etag").unwrap().to_owned();
    let high = high.json().await.unwrap();
    let high = format!("/api/v1/keys/{}", high["id"].as_str().unwrap());
    let lift = rig.ask(&acme, Method::PATCH, &path).with("if-match", &etag);
    let lift = lift.json(&json!({ "roles": ["operator"] }));
    assert_eq!(lift.problem(403).await, "forbidden");
    let take = rig.ask(&acme, Method::POST, &format!("{high}/rotate"));
    let take = take.with("if-match", &tag).json(&json!({}));
    assert_eq!(take.problem(403).await, "forbidden");
    // But it can be ended.
    let end = rig.ask(&acme, Method::DELETE, &high).with("if-match", &tag);
    assert_eq!(end.send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin"]);
    for number in 0..5 {
        rig.made(&admin, &format!("k{number}")).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/keys?limit=2".to_owned());
    loop {
        let page = rig.ask(&admin, Method::GET, &path).send().await;
        let page = page.json().await.unwrap();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2 && !items.is_empty());
        seen.extend(items.iter().map(|key| key["id"].clone()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/keys?limit=2&after={next}");
    }
    assert_eq!(seen.len(), 5);
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_problem() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin"]);
    for (path, kind, status) in [
        ("/", "not-found", 404),
        ("/mcp", "not-found", 404),
        ("/api/v1/nothing", "not-found", 404),
        ("/api/v1/keys/%F0%9F", "invalid", 400),
        ("/api/v1/keys?limit=0", "invalid", 400),
        ("/api/v1/keys?limit=x", "invalid", 400),
        ("/api/v1/keys?unknown=1", "invalid", 400),
    ] {
        let answer = rig.ask(&admin, Method::GET, path).send().await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(problem(answer, status).await, kind, "{path}");
    }
    let wrong = rig.ask(&admin, Method::PUT, "/api/v1/keys");
    assert_eq!(wrong.problem(405).await, "method-not-allowed");
    let post = |body: &'static str| {
        let ask = rig.ask(&admin, Method::POST, "/api/v1/keys");
        let mut ask = ask.with("idempotency-key", "x");
        ask.body = body.into();
        ask
    };
    assert_eq!(post("{}").problem(415).await, "media-type");
    let json = |body| post(body).with("content-type", "application/json");
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"name":1}"#,
        r#"{"name":"a","nam":"b"}"#,
        r#"{"name":"a","kind":"anonymous"}"#,
        r#"{"name":"a","kind":"x"}"#,
        r#"{"name":"a","expires":"yesterday"}"#,
        r#"{"name":"a","expires":"2001-01-01T00:00:00Z"}"#,
        "{\"name\":\"\u{0}\"}",
    ] {
        assert_eq!(json(body).problem(400).await, "invalid", "{body}");
    }
    let mut large = json("");
    large.body = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000)).into();
    assert_eq!(large.problem(413).await, "too-large");
    for key in ["", "a b", &"x".repeat(300)] {
        let ask = json(r#"{"name":"a"}"#).with("idempotency-key", key);
        assert_eq!(ask.problem(400).await, "invalid", "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_and_the_public_side_has_no_admin_api() {
    let rig = rig().await;
    let client = Client::new(format!("{}/api/v1/openapi.json", rig.admin));
    let served = client.request(Method::GET, HeaderMap::new(), Bytes::new());
    let served = served.await.unwrap().text().await.unwrap();
    let committed = include_str!("../../../../docs/reference/openapi.json");
    assert_eq!(served, committed);
    let public = rig.gateway.get("/api/v1/openapi.json").await.unwrap();
    assert_eq!(public.status, 404);
    let idle = tokio::time::timeout(Duration::from_secs(5), rig.gateway.get("/readyz"));
    assert_eq!(idle.await.unwrap().unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_commands_speak_to_it() {
    let rig = rig().await;
    let admin = rig.token("acme", "ana", &["tenant-admin"]);
    let key = async |arguments: &[&str], token: &str| {
        let all = [&["key"], arguments, &["--admin", &rig.admin]].concat();
        let mut command = command(&all);
        command.env("MCP_ULTRA_TOKEN", token);
        finish(command).await
    };
    let made = key(&["create", "reports"], &admin).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let token = made.out.trim_end().to_owned();
    assert!(rig.opens(&token).await);
    let listed = key(&["list", "--json"], &admin).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["tenant"]),
        (&json!("reports"), &json!("acme"))
    );
    let rotated = key(&["rotate", "reports", "--overlap", "1h", "--json"], &admin).await;
    let rotated: Value = serde_json::from_str(&rotated.out).unwrap();
    assert!(rig.opens(rotated["token"].as_str().unwrap()).await);
    let revoked = key(&["revoke", "reports"], &admin).await;
    assert!(
        revoked.out.contains("from now on"),
        "{} {}",
        revoked.out,
        revoked.err
    );
    assert!(!rig.opens(&token).await, "at once");
    let table = key(&["list"], &admin).await;
    assert!(table.out.contains("revoked"), "{}", table.out);
    // What is refused is said, by what the API says.
    let user = rig.token("acme", "uli", &["reader"]);
    for (arguments, token, code, said) in [
        (&["list"][..], &*user, 1, "This is not permitted"),
        (&["list"], "a.b.c", 1, "Nobody was identified"),
        (
            &["list", "--tenant", "other"],
            &*admin,
            1,
            "This is not permitted",
        ),
        (&["create", "reports"], &*admin, 1, "of that name already"),
        (&["create", " "], &*admin, 2, "name: it is empty"),
        (&["revoke", "nobody"], &*admin, 1, "has no API key `nobody`"),
    ] {
        let run = key(arguments, token).await;
        assert_eq!(run.code, code, "{arguments:?} {} {}", run.out, run.err);
        assert!(run.err.contains(said), "{arguments:?} {}", run.err);
    }
    let mut wrong = command(&["key", "list", "--admin", &rig.gateway.url("")]);
    wrong.env("MCP_ULTRA_TOKEN", &admin);
    let wrong = finish(wrong).await;
    assert!(wrong.err.contains("is not the admin API"), "{}", wrong.err);
}
