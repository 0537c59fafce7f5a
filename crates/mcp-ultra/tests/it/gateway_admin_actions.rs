//! Each operation of the admin API needs its own action, in the tenant that it is about.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::gateway_admin::{Rig, rig_with};

/// Every action of the admin API that an operation asks for.
const ACTIONS: [&str; 21] = [
    "admin/keys/read",
    "admin/keys/manage",
    "admin/grants/read",
    "admin/grants/manage",
    "admin/grants/link",
    "admin/grants/link-own",
    "admin/sessions/read",
    "admin/sessions/end",
    "admin/blocks/read",
    "admin/blocks/manage",
    "admin/breakers/read",
    "admin/breakers/force",
    "admin/cache/purge",
    "admin/servers/read",
    "admin/servers/manage",
    "admin/policies/read",
    "admin/policies/manage",
    "admin/flags/read",
    "admin/flags/manage",
    "admin/tools/read",
    "admin/tools/approve",
];

/// Whoever has a role may do what it is named after, in their own tenant and to the gateway.
async fn rig() -> Rig {
    let policies = ACTIONS.map(|action| {
        let of = format!("principal in Role::\"{action}\", action == Action::\"{action}\"");
        let elsewhere = "resource has tenant && resource.tenant != principal.tenant";
        format!("permit({of}, resource) unless {{ {elsewhere} }};\n")
    });
    let policies = policies.concat();
    let files = "policy: { files: [\"FOLDER/p.cedar\"] }\nregistry: { enabled: true }\n";
    rig_with("", files, &[("p.cedar", &policies)]).await
}

/// Whether the API does not say that this caller may not. What there is not is not found.
async fn may(rig: &Rig, token: &str, method: &Method, path: &str, body: Option<&Value>) -> bool {
    let ask = rig.ask(token, method.clone(), path);
    let ask = ask.with("if-match", "*").with("idempotency-key", "once");
    let ask = match body {
        Some(body) => ask.json(body),
        None => ask,
    };
    let answer = ask.send().await;
    let status = answer.status.as_u16();
    let said = answer.text().await.unwrap();
    // Nothing is there that a change of the registry could be meant for.
    assert!(
        [200, 403, 404, 412].contains(&status),
        "{method} {path}: {said}"
    );
    status != 403
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_its_own_action_in_the_tenant_that_is_asked_about() {
    let rig = rig().await;
    let (get, delete) = (Method::GET, Method::DELETE);
    let (post, patch, put) = (Method::POST, Method::PATCH, Method::PUT);
    let forced = json!({ "forced": "open" });
    let (key, some) = (json!({ "name": "k" }), json!({}));
    let entry = json!({ "text": "x" });
    let somebody = json!({ "server": "up", "issuer": "https://idp.example", "subject": "bea" });
    let oneself = json!({ "server": "up" });
    for (method, path, body, needed) in [
        (&get, "keys", None, &["admin/keys/read"][..]),
        (&get, "keys/x", None, &["admin/keys/read"]),
        (&post, "keys", Some(&key), &["admin/keys/manage"]),
        (&delete, "keys/x", None, &["admin/keys/manage"]),
        (&patch, "keys/x", Some(&key), &["admin/keys/manage"]),
        (&post, "keys/x/rotate", Some(&some), &["admin/keys/manage"]),
        (&get, "grants", None, &["admin/grants/read"]),
        (&get, "grants/x", None, &["admin/grants/read"]),
        (&delete, "grants/x", None, &["admin/grants/manage"]),
        (
            &post,
            "grants/links",
            Some(&somebody),
            &["admin/grants/link"],
        ),
        (
            &post,
            "grants/links",
            Some(&oneself),
            &["admin/grants/link", "admin/grants/link-own"],
        ),
        (&get, "sessions", None, &["admin/sessions/read"]),
        (&get, "sessions/x", None, &["admin/sessions/read"]),
        (&delete, "sessions/x", None, &["admin/sessions/end"]),
        (&delete, "sessions?subject=x", None, &["admin/sessions/end"]),
        (&get, "blocks", None, &["admin/blocks/read"]),
        (&get, "blocks/x", None, &["admin/blocks/read"]),
        (&delete, "blocks/x", None, &["admin/blocks/manage"]),
        (&get, "breakers", None, &["admin/breakers/read"]),
        (&get, "breakers/up", None, &["admin/breakers/read"]),
        (
            &put,
            "breakers/up",
            Some(&forced),
            &["admin/breakers/force"],
        ),
        (&delete, "cache", None, &["admin/cache/purge"]),
        (
            &delete,
            "cache?server=fix&subject=x&issuer=y",
            None,
            &["admin/cache/purge"],
        ),
        (&get, "servers", None, &["admin/servers/read"]),
        (&get, "servers/fix", None, &["admin/servers/read"]),
        (&get, "servers/x/history", None, &["admin/servers/read"]),
        (&delete, "servers/x", None, &["admin/servers/manage"]),
        (&put, "servers/x", Some(&entry), &["admin/servers/manage"]),
        (&get, "policies", None, &["admin/policies/read"]),
        (&get, "policies/p", None, &["admin/policies/read"]),
        (&get, "policies/x/history", None, &["admin/policies/read"]),
        (&delete, "policies/x", None, &["admin/policies/manage"]),
        (&put, "policies/x", Some(&entry), &["admin/policies/manage"]),
        (&get, "flags", None, &["admin/flags/read"]),
        (&get, "flags/x", None, &["admin/flags/read"]),
        (&get, "flags/x/history", None, &["admin/flags/read"]),
        (&delete, "flags/x", None, &["admin/flags/manage"]),
        (&put, "flags/x", Some(&entry), &["admin/flags/manage"]),
        (&get, "tools", None, &["admin/tools/read"]),
        (&get, "tools/up/x", None, &["admin/tools/read"]),
        (&delete, "tools/up/x", None, &["admin/tools/approve"]),
        (&post, "tools/up/x/approve", None, &["admin/tools/approve"]),
    ] {
        let with = |path: &str, query: &str| {
            let sign = if path.contains('?') { '&' } else { '?' };
            format!("{path}{sign}{query}")
        };
        let path = format!("/api/v1/{path}");
        let path = if *method == get {
            path
        } else {
            with(&path, "dry_run=true")
        };
        for action in ACTIONS {
            let token = rig.token("acme", "ana", &[action]);
            let expected = needed.contains(&action);
            let found = may(&rig, &token, method, &path, body).await;
            assert_eq!(found, expected, "{action}: {method} {path}");
        }
        let of_gateway = ["/tools", "/breakers", "/servers", "/policies", "/flags"]
            .iter()
            .any(|one| path.contains(one));
        let of_tenants = !of_gateway && body != Some(&oneself);
        for action in needed.iter().filter(|_| of_tenants) {
            let token = rig.token("acme", "ana", &[action]);
            let other = with(&path, "tenant=other");
            let found = may(&rig, &token, method, &other, body).await;
            assert!(!found, "{action}: {method} {other}");
        }
    }
    // Nobody is blocked by who may end sessions alone, or block alone.
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    let path = format!(
        "/api/v1/sessions?subject=x&issuer=https://idp.example&block_until={until}&dry_run=true"
    );
    let (end, block) = ("admin/sessions/end", "admin/blocks/manage");
    for (roles, expected) in [
        (&[end][..], false),
        (&[block], false),
        (&[end, block], true),
    ] {
        let token = rig.token("acme", "ana", roles);
        let found = may(&rig, &token, &delete, &path, None).await;
        assert_eq!(found, expected, "{roles:?}");
    }
    // A link for oneself is of one's own tenant, also for who may make links in another one.
    let token = rig.token("acme", "ana", &["admin/grants/link-own"]);
    let ask = rig.ask(
        &token,
        post,
        "/api/v1/grants/links?tenant=other&dry_run=true",
    );
    let ask = ask.with("idempotency-key", "other").json(&oneself);
    assert_eq!(ask.problem(400).await, "invalid");
}
