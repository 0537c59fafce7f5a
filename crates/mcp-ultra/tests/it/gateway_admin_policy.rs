//! Who may use the admin API: the policies of the public side, and tokens that are bound to a key.

use std::fs;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    identity::SigningKey,
    raw::{Answer, Client},
};
use serde_json::{Value, json};

use super::cli::run;
use crate::{
    gateway_admin::{Rig, problem, rig_with},
    gateway_rig::SOON,
};

const KEYS: &str = "/api/v1/keys";

const POLICIES: &str = r#"
@id("all-call") permit(principal, action in Action::"tools", resource);
@id("key-readers")
permit(principal in Role::"auditor", action == Action::"admin/keys/read", resource in Tenant::"acme");
@id("keys-of-ones-own")
permit(
  principal in Role::"key-maker",
  action in [Action::"admin/keys/read", Action::"admin/keys/manage"],
  resource
) when { resource has tenant && resource.tenant == principal.tenant };
@id("not-eve") forbid(principal, action in Action::"admin", resource) when { principal.subject == "eve" };
"#;

async fn with_policies() -> Rig {
    let policies = "policy: { files: [\"FOLDER/p.cedar\"] }\n";
    rig_with("", policies, &[("p.cedar", POLICIES)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_and_a_reload_of_them_does_at_once() {
    let mut rig = with_policies().await;
    let status = async |rig: &Rig, token: &str, method: Method, path: &str| {
        let name = SystemClock.now().as_nanos().to_string();
        match method {
            Method::GET => rig.ask(token, method, path).send().await.status,
            _ => {
                rig.create(token, path, &name, json!({ "name": name }))
                    .await
                    .status
            }
        }
        .as_u16()
    };
    let auditor = rig.token("acme", "ana", &["auditor"]);
    let elsewhere = rig.token("other", "oto", &["auditor"]);
    let maker = rig.token("other", "kim", &["key-maker"]);
    let eve = rig.token("acme", "eve", &["auditor", "key-maker"]);
    // The roles of the configuration mean nothing where there are policies.
    let operator = rig.token("ops", "root", &["operator"]);
    let (own, acme) = (KEYS, "/api/v1/keys?tenant=acme");
    for (token, method, path, expected) in [
        (&auditor, Method::GET, own, 200),
        (&auditor, Method::POST, own, 403),
        (&elsewhere, Method::GET, own, 403),
        (&elsewhere, Method::GET, acme, 200),
        (&maker, Method::GET, own, 200),
        (&maker, Method::POST, own, 201),
        (&maker, Method::GET, acme, 403),
        (&maker, Method::POST, acme, 403),
        (&eve, Method::GET, own, 403),
        (&operator, Method::GET, own, 403),
    ] {
        let found = status(&rig, token, method.clone(), path).await;
        assert_eq!(found, expected, "{method} {path}");
    }
    // What one does not have oneself needs another action.
    let body = json!({ "name": "high", "roles": ["auditor"] });
    let lifted = rig.create(&maker, KEYS, "high", body.clone()).await;
    assert_eq!(problem(lifted, 403).await, "forbidden");
    let more = format!(
        "{POLICIES}\n@id(\"more\") permit(principal in Role::\"key-maker\", action == Action::\"admin/keys/grant-anything\", resource);"
    );
    fs::write(rig.folder.path().join("p.cedar"), more).unwrap();
    rig.gateway
        .logged(&["the new configuration is in force"], SOON)
        .await
        .unwrap();
    let lifted = rig.create(&maker, KEYS, "high", body).await;
    assert_eq!(lifted.status, 201);
    // And what nobody may any more is told.
    let none = "permit(principal, action in Action::\"tools\", resource);";
    fs::write(rig.folder.path().join("p.cedar"), none).unwrap();
    rig.gateway
        .logged(&["no policy permits an action of the admin API"], SOON)
        .await
        .unwrap();
    assert_eq!(status(&rig, &maker, Method::GET, own).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_a_server_does_not_administer_it() {
    let everything_of_a_server = "permit(principal, action, resource in Server::\"up\");\npermit(principal, action, resource is Tool);";
    let policies = "policy: { files: [\"FOLDER/p.cedar\"] }\n";
    let rig = rig_with("", policies, &[("p.cedar", everything_of_a_server)]).await;
    let user = rig.token("acme", "ana", &["operator", "tenant-admin"]);
    assert_eq!(
        rig.ask(&user, Method::GET, KEYS).problem(403).await,
        "forbidden"
    );
}

/// A caller with a token that is bound to its key.
struct Bound<'r> {
    rig: &'r Rig,
    client: SigningKey,
    token: String,
}

impl<'r> Bound<'r> {
    fn new(rig: &'r Rig) -> Self {
        let client = SigningKey::es256("client").unwrap();
        let bound = json!({ "cnf": { "jkt": client.thumbprint() } });
        let token = rig.token_with("acme", "ana", &["tenant-admin"], &bound);
        Self { rig, client, token }
    }

    fn proof(&self, key: &SigningKey, method: &str, target: &str) -> String {
        let now = SystemClock.now().as_secs();
        key.proof(method, target, &self.token, now).unwrap()
    }

    async fn list(&self, query: &str, proof: &str) -> Answer {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(format!("DPoP {}", self.token)).unwrap();
        headers.insert(header::AUTHORIZATION, value);
        headers.insert("dpop", proof.parse().unwrap());
        let client = Client::new(format!("{}{KEYS}{query}", self.rig.admin));
        let answer = client.request(Method::GET, headers, Bytes::new());
        answer.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_needs_a_proof_for_each_request() {
    let rig = rig_with("  dpop: { required: true }\n", "", &[]).await;
    let thief = SigningKey::es256("thief").unwrap();
    let bound = Bound::new(&rig);
    let proof = |method, target: &str| bound.proof(&bound.client, method, target);
    let target = format!("{}{KEYS}", rig.admin);
    let good = proof("GET", &target);
    assert_eq!(bound.list("", &good).await.status, 200);
    // The query is no part of it.
    let again = proof("GET", &target);
    assert_eq!(bound.list("?limit=2", &again).await.status, 200);
    for (name, bad) in [
        ("used before", good),
        ("of another key", bound.proof(&thief, "GET", &target)),
        ("for another method", proof("DELETE", &target)),
        ("for another path", proof("GET", &format!("{target}/x"))),
        (
            "for the public side",
            proof("GET", "https://mcp.example.com/mcp"),
        ),
        (
            "for another host",
            proof("GET", "https://admin.example.com/api/v1/keys"),
        ),
    ] {
        let answer = bound.list("", &bad).await;
        let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<&str> = challenges.map(|one| one.to_str().unwrap()).collect();
        assert_eq!(challenges.len(), 1, "{name}");
        let begin = "DPoP error=\"invalid_dpop_proof\"";
        assert!(challenges[0].starts_with(begin), "{name}");
        assert_eq!(problem(answer, 401).await, "unauthenticated", "{name}");
    }
    // Stolen, it is worth nothing; nor is one that is not bound where that is asked for.
    let plain = rig.token("acme", "ana", &["tenant-admin"]);
    for token in [&bound.token, &plain] {
        let ask = rig.ask(token, Method::GET, KEYS);
        assert_eq!(ask.problem(401).await, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_names_the_url_that_callers_know() {
    let admin = "admin: { port: 0, url: \"https://admin.example.com\" }\n";
    let rig = rig_with("", admin, &[]).await;
    let bound = Bound::new(&rig);
    for (target, status) in [
        ("https://admin.example.com/api/v1/keys", 200),
        (&*format!("{}{KEYS}", rig.admin), 401),
    ] {
        let proof = bound.proof(&bound.client, "GET", target);
        assert_eq!(bound.list("", &proof).await.status, status, "{target}");
    }
    // There is a challenge for each scheme, as on the public side.
    let client = Client::new(format!("{}{KEYS}", rig.admin));
    let answer = client.request(Method::GET, HeaderMap::new(), Bytes::new());
    let answer = answer.await.unwrap();
    let challenges = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    assert_eq!(challenges.count(), 2);
}

#[tokio::test]
async fn the_commands_know_the_actions_and_warn_of_what_is_odd() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::write(at("p.cedar"), POLICIES).unwrap();
    let explain = async |arguments: &[&str]| {
        run(&[&["policy", "explain", &at("p.cedar")], arguments].concat()).await
    };
    let who = [
        "--tenant",
        "acme",
        "--subject",
        "ana",
        "--role",
        "key-maker",
    ];
    let of = ["--administration", "tenant:acme"];
    let manage = ["--action", "admin/keys/manage"];
    let allowed = explain(&[&who[..], &of, &manage].concat()).await;
    assert_eq!(allowed.out.trim(), "Allowed by:\n  keys-of-ones-own");
    let other = ["--administration", "tenant:other"];
    let denied = explain(&[&who[..], &other, &manage].concat()).await;
    assert_eq!(denied.out.trim(), "Denied: no policy permits it.");
    for (arguments, told) in [
        (
            &["--administration", "tenant:acme"][..],
            "admin/keys/manage",
        ),
        (&["--administration", "acme"], "tenant:NAME or gateway"),
        (
            &["--administration", "gateway", "--tool", "x"],
            "name one thing",
        ),
        (
            &["--administration", "gateway", "--action", "tools/call"],
            "and no others",
        ),
        (
            &["--tool", "x", "--action", "admin/keys/read"],
            "and no others",
        ),
    ] {
        let senseless = explain(arguments).await;
        assert_eq!(senseless.code, 2, "{}", senseless.out);
        assert!(senseless.err.contains(told), "{}", senseless.err);
    }
    // Whoever may do everything administers.
    let checked = run(&["policy", "check", &at("p.cedar")]).await;
    assert_eq!((checked.code, &*checked.err), (0, ""));
    let wide = "@id(\"wide\") permit(principal, action, resource);";
    fs::write(at("wide.cedar"), wide).unwrap();
    let checked = run(&["policy", "check", &at("wide.cedar")]).await;
    assert_eq!(checked.code, 0);
    assert!(
        checked.err.contains("so the admin API too: wide"),
        "{}",
        checked.err
    );
    // Nobody may: odd only where there is an admin API.
    fs::write(
        at("none.cedar"),
        "permit(principal, action in Action::\"tools\", resource);",
    )
    .unwrap();
    let config = |admin: &str| {
        let (policy, store) = (at("none.cedar"), at("s.db"));
        format!(
            "policy: {{ files: [\"{policy}\"] }}\nstorage: {{ sqlite: \"{store}\" }}\nauth: {{ resource: \"https://mcp.example.com/mcp\", api_keys: {{ enabled: true }} }}\n{admin}"
        )
    };
    fs::write(at("without.yaml"), config("")).unwrap();
    fs::write(at("with.yaml"), config("admin: { port: 0 }\n")).unwrap();
    for (file, warns) in [("without.yaml", false), ("with.yaml", true)] {
        let checked = run(&["policy", "check", "--json", "--config", &at(file)]).await;
        assert_eq!(checked.code, 0, "{}", checked.err);
        let said: Value = serde_json::from_str(&checked.out).unwrap();
        let warnings = said["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(warns), "{file}");
    }
}
