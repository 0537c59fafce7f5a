//! Circuit breakers of what the gateway itself needs: they are shown, and forced for a time; they keep
//! nobody out, or in, for longer than the failure does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::header;
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    stores::{Postgres, Redis},
};
use serde_json::Value;

use super::cli::{Run, command, finish, run};
use crate::{
    gateway_breaker_shared::with_admin,
    gateway_postgres::{self, status},
    gateway_rates::{configuration, token},
    gateway_redis::sections,
    gateway_rig::{fixture, until},
};

/// Runs `mcp-ultra breaker` as an operator.
async fn breaker(admin: &str, arguments: &[&str]) -> Run {
    let operator = token("acme", "olga", &["operator"]);
    let operator = operator[header::AUTHORIZATION].to_str().unwrap();
    let mut command = command(&[&["breaker"], arguments, &["--admin", admin]].concat());
    command.env("MCP_ULTRA_TOKEN", operator.strip_prefix("Bearer ").unwrap());
    finish(command).await
}

/// What `breaker list` shows of a dependency.
async fn state(admin: &str, of: &str) -> Value {
    let listed = breaker(admin, &["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let mut all = listed.as_array().unwrap().iter();
    let found = all.find(|one| one["server"] == of).unwrap();
    found["state"].clone()
}

async fn has_line(gateway: &Gateway, line: &str) -> bool {
    let metrics = gateway.get("/metrics").await.unwrap();
    let metrics = metrics.text().await.unwrap();
    metrics.lines().any(|said| said == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_shown_as_it_is() {
    let mut redis = Redis::start().await.unwrap();
    let upstream = fixture(Era::Dual).await;
    let folder = tempfile::tempdir().unwrap();
    let storage = format!(
        "storage:\n  sqlite: \"{}\"\n",
        folder.path().join("s.db").display()
    );
    let shared = sections(&redis).replace("storage:\n", &storage);
    let yaml = configuration(&upstream.url(), &format!("admin: {{ port: 0 }}\n{shared}"));
    let (gateway, admin) = with_admin(&yaml).await;
    assert_eq!(state(&admin, "dependency:redis").await, "closed");
    let closed = "mcp_dependency_breaker{dependency=\"redis\",state=\"closed\"} 1";
    assert!(has_line(&gateway, closed).await);
    redis.server_mut().kill().await.unwrap();
    until("it is open", async || {
        state(&admin, "dependency:redis").await == "open"
    })
    .await;
    let opened = "mcp_dependency_breaker_opened_total{dependency=\"redis\"} 1";
    assert!(has_line(&gateway, opened).await);
    assert!(!has_line(&gateway, closed).await);
    redis.restart().await.unwrap();
    until("it is closed", async || has_line(&gateway, closed).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_redis_and_postgres_out_of_use_and_back() {
    let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
    let (redis, postgres) = (redis.unwrap(), postgres.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (yaml, owner) = gateway_postgres::configuration(&postgres).await;
    let owners = folder.path().join("owner.yaml");
    std::fs::write(&owners, format!("{yaml}{owner}")).unwrap();
    let owners = owners.to_string_lossy();
    let ran = run(&["migrate", "--config", &owners]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let made = run(&["key", "create", "one", "--config", &owners]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let key = made.out.trim_end();
    let upstream = fixture(Era::Dual).await;
    let (_, storage) = yaml.split_once("storage:").unwrap();
    let shared = sections(&redis).replace("storage:\n", &format!("storage:{storage}"));
    let yaml = configuration(&upstream.url(), &format!("admin: {{ port: 0 }}\n{shared}"));
    let keys = "claims: { tenant: org }, api_keys: { enabled: true }";
    let yaml = yaml.replace("claims: { tenant: org }", keys);
    let (gateway, admin) = with_admin(&yaml).await;
    let force = async |of: &str, to: &str| {
        let forced = breaker(&admin, &["force", of, to]).await;
        assert_eq!(forced.code, 0, "{}", forced.err);
        forced.out
    };
    let said = force("dependency:redis", "open").await;
    assert!(
        said.contains("at this gateway, for an hour at most"),
        "{said}"
    );
    assert!(has_line(&gateway, "mcp_redis_up 0").await);
    assert_eq!(state(&admin, "dependency:redis").await, "open");
    // It tries to connect after a tenth of a second, and must not.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(has_line(&gateway, "mcp_redis_up 0").await);
    force("dependency:redis", "auto").await;
    until("Redis is used again", async || {
        has_line(&gateway, "mcp_redis_up 1").await
    })
    .await;

    force("dependency:postgres", "open").await;
    assert_eq!(status(&gateway, key).await, 503);
    force("dependency:postgres", "closed").await;
    assert_eq!(status(&gateway, key).await, 200);
    let unknown = breaker(&admin, &["force", "dependency:tape", "open"]).await;
    assert_ne!(unknown.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_left_alone_and_holds_nobodys_key_longer() {
    let mut server = Postgres::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (yaml, owner) = gateway_postgres::configuration(&server).await;
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_string_lossy().into_owned()
    };
    let owners = file("owner.yaml", &format!("{yaml}{owner}"));
    let offline = file("offline.yaml", &yaml);
    let ran = run(&["migrate", "--config", &owners]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let token = async |name: &str| {
        let made = run(&["key", "create", name, "--config", &offline]).await;
        assert_eq!(made.code, 0, "{}", made.err);
        made.out.trim_end().to_owned()
    };
    let (known, unknown) = (token("known").await, token("unknown").await);
    let upstream = fixture(Era::Dual).await;
    // Its operator comes with a token, and is not asked for by the database.
    let (_, storage) = yaml.split_once("storage:").unwrap();
    let yaml = configuration(
        &upstream.url(),
        &format!("admin: {{ port: 0 }}\nstorage:{storage}    pool: {{ acquire_timeout: 2s }}\n"),
    );
    let keys = "claims: { tenant: org }, api_keys: { enabled: true, recheck: 5s, max_age: 10s }";
    let yaml = yaml.replace("claims: { tenant: org }", keys);
    let (gateway, admin) = with_admin(&yaml).await;
    assert_eq!(state(&admin, "dependency:postgres").await, "closed");
    assert_eq!(status(&gateway, &known).await, 200);

    server.server_mut().kill().await.unwrap();
    let gone = Instant::now();
    let asked = join_all((0..8).map(|_| status(&gateway, &unknown))).await;
    assert_eq!(asked, [503; 8]);
    until("it is open", async || {
        state(&admin, "dependency:postgres").await == "open"
    })
    .await;
    let never = "mcp_dependency_breaker_opened_total{dependency=\"postgres\"} 0";
    assert!(!has_line(&gateway, never).await);
    let shown = breaker(&admin, &["list"]).await;
    assert!(shown.out.contains("dependency:postgres"), "{}", shown.out);
    // All but one are refused at once, and nobody is let in.
    let quickly = join_all((0..10).map(async |_| {
        let begun = Instant::now();
        assert_eq!(status(&gateway, &unknown).await, 503);
        begun.elapsed() < Duration::from_millis(1500)
    }));
    let quickly = quickly.await.into_iter().filter(|quick| *quick).count();
    assert!(quickly >= 9, "{quickly}");
    until("what was known of keys holds no more", async || {
        status(&gateway, &known).await == 503
    })
    .await;
    assert!(
        gone.elapsed() < Duration::from_secs(12),
        "{:?}",
        gone.elapsed()
    );

    server.restart().await.unwrap();
    until("it is closed", async || {
        status(&gateway, &known).await == 200 && status(&gateway, &unknown).await == 200
    })
    .await;
    assert_eq!(state(&admin, "dependency:postgres").await, "closed");
    let revoked = run(&["key", "revoke", "known", "--config", &offline]).await;
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    until("the key has ended", async || {
        status(&gateway, &known).await == 401
    })
    .await;
}
