//! What is kept is forgotten, by administrators and with those whose it is.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    PRIVATE,
    rig::{Answers, metric, read, reads},
    shared::in_redis,
    site::{ANNOUNCED, Site, other_than, reading, with_token},
};
use crate::{
    cli::{command, finish},
    gateway_rig::until,
};

async fn site() -> Site {
    Site::start(Answers::new(600_000, PRIVATE), "", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_forgotten_of_one_caller_is_so_everywhere_and_nothing_else() {
    let site = site().await;
    let bea = site.bea();
    let admin = site.token("acme", "tim", &["tenant-admin"]);
    let callers = |subject: &str| {
        let of = |gateway| site.caller(gateway, "acme", subject);
        [of(&site.here), of(&site.there)]
    };
    let (anas, beas) = (callers("ana"), callers(&bea));
    let ana = reading(&anas[0]).await;
    let others = reading(&beas[0]).await;
    until("both are in Redis, and the lists", async || {
        in_redis(&site.redis).await == 3
    })
    .await;
    assert_eq!(reading(&anas[1]).await, ana);
    assert_eq!(reading(&beas[1]).await, others);
    let asked = reads(&site.server);
    let query = format!("?subject=ana&issuer={}", site.issuer());
    let (status, said) = site.purge(&admin, &format!("{query}&dry_run=true")).await;
    assert_eq!((status, &said["answers"]), (200, &json!(1)), "{said}");
    assert_eq!(reading(&anas[0]).await, ana, "nothing was done");
    let (status, said) = site.purge(&admin, &query).await;
    assert_eq!((status, &said["answers"]), (200, &json!(1)), "{said}");
    // One that starts now has hers from nowhere, and the others' from Redis.
    let fresh = site.another().await;
    let hers = reading(&site.caller(&fresh, "acme", "ana")).await;
    assert_ne!(hers, ana);
    assert_eq!(reading(&site.caller(&fresh, "acme", &bea)).await, others);
    let took = other_than(&anas[1], &ana).await;
    println!("what was forgotten was forgotten elsewhere after {took:?}");
    assert!(took < ANNOUNCED, "{took:?}");
    assert_ne!(reading(&anas[0]).await, ana);
    for caller in &beas {
        assert_eq!(reading(caller).await, others, "somebody else's");
    }
    // Hers was asked for once more, and by the others taken from Redis.
    assert!(reads(&site.server) - asked <= 3, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_has_the_cache_of_their_tenant_forgotten_and_of_no_other() {
    let site = site().await;
    let admin = site.token("acme", "tim", &["tenant-admin"]);
    let there = site.caller(&site.there, "acme", "ana");
    let (ana, other) = (
        site.caller(&site.here, "acme", "ana"),
        site.caller(&site.here, "other", "ana"),
    );
    for (query, status, field) in [
        ("?server=nope", 400, Some("server")),
        ("?subject=ana", 400, Some("issuer")),
        ("?issuer=x", 400, Some("subject")),
        ("?tenant=other", 403, None),
        ("?everything=true", 400, None),
    ] {
        let (found, said) = site.purge(&admin, query).await;
        assert_eq!((found, said["field"].as_str()), (status, field), "{query}");
    }
    let path = "/cache";
    let (status, _) = site.ask(&admin, Method::DELETE, path, &[], None).await;
    assert_eq!(status, 428, "without If-Match");
    for query in ["", "?server=fix"] {
        let (own, elsewhere) = (reading(&ana).await, reading(&there).await);
        let others = reading(&other).await;
        read(&ana, "test://b").await;
        let (status, said) = site.purge(&admin, query).await;
        assert_eq!((status, &said["answers"]), (200, &json!(2)), "{said}");
        assert_ne!(reading(&ana).await, own);
        let took = other_than(&there, &elsewhere).await;
        assert!(took < ANNOUNCED, "{took:?}");
        assert_eq!(reading(&other).await, others, "of another tenant");
    }
    // By the command line.
    let before = reading(&ana).await;
    let run = async |arguments: &[&str]| {
        let all = [&["cache", "purge"], arguments, &["--admin", &site.admin]].concat();
        let mut command = command(&all);
        command.env("MCP_ULTRA_TOKEN", &admin);
        finish(command).await
    };
    let dry = run(&["--server", "fix", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("would be forgotten"), "{}", dry.out);
    assert_eq!(reading(&ana).await, before);
    let nameless = run(&["--subject", "ana"]).await;
    assert_eq!(nameless.code, 2, "{}", nameless.err);
    let subject = ["--subject", "ana", "--issuer", site.issuer(), "--json"];
    let purged = run(&subject).await;
    assert_eq!(purged.code, 0, "{}", purged.err);
    assert!(purged.out.contains(r#""answers":1"#), "{}", purged.out);
    assert_ne!(reading(&ana).await, before);
    for gateway in [&site.here, &site.there] {
        let output = gateway.output();
        assert!(!output.contains("\"ana\"") && !output.contains("test://a"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_for_whoever_is_blocked_or_whose_key_is_revoked() {
    let site = site().await;
    let admin = site.token("acme", "tim", &["tenant-admin"]);
    let kept = async || metric(&site.here, "mcp_cache_entries").await;
    reading(&site.caller(&site.here, "acme", "ana")).await;
    let named = json!({ "name": "reports" });
    let more = [
        ("idempotency-key", "one"),
        ("content-type", "application/json"),
    ];
    let (status, key) = site
        .ask(&admin, Method::POST, "/keys", &more, Some(named))
        .await;
    assert_eq!(status, 201, "{key}");
    let holder = with_token(&site.here, key["token"].as_str().unwrap());
    let before = reading(&holder).await;
    assert_eq!((reading(&holder).await, kept().await), (before, 2));
    let any = [("if-match", "*")];
    let path = format!("/keys/{}", key["id"].as_str().unwrap());
    let (status, said) = site.ask(&admin, Method::DELETE, &path, &any, None).await;
    assert_eq!((status, kept().await), (200, 1), "{said}");
    let end = Timestamp::now() + SignedDuration::from_hours(1);
    let path = format!(
        "/sessions?subject=ana&issuer={}&block_until={end}",
        site.issuer()
    );
    let (status, said) = site.ask(&admin, Method::DELETE, &path, &any, None).await;
    assert_eq!((status, kept().await), (200, 0), "{said}");
}
