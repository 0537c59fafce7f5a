//! Two gateways on one PostgreSQL, from the first migration on.

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    stores::{PASSWORD, Postgres},
};
use serde_json::{Value, json};

use crate::{
    cli::run,
    gateway_rig::{fixture, gateway, only, until},
};

/// A configuration for a database of its own, and what the owner of its tables has besides.
pub(crate) async fn configuration(server: &Postgres) -> (String, String) {
    let admin = server.database().await.unwrap();
    let (database, port) = (&admin.database, admin.address.port());
    let roles = format!(
        "create role owner_of_{database} login password '{PASSWORD}'; \
         alter database {database} owner to owner_of_{database}"
    );
    admin.sql(&roles).await.unwrap();
    let yaml = format!(
        "auth:\n  resource: https://mcp.example.com/mcp\n  api_keys: {{ enabled: true, recheck: 100ms, max_age: 1m }}\n\
         storage:\n  postgres:\n    host: 127.0.0.1\n    port: {port}\n    database: {database}\n    user: guest\n    password: {PASSWORD}\n    tls: {{ ca_file: \"{}\" }}\n",
        admin.authority.display()
    );
    let owner = format!("    migrate: {{ user: owner_of_{database}, password: {PASSWORD} }}\n");
    (yaml, owner)
}

pub(crate) async fn status(gateway: &Gateway, token: &str) -> u16 {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let mut caller = gateway.caller();
    caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let answer = caller.send(caller.prepare("tools/list", json!({}))).await;
    answer.unwrap().status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_first_and_keys_are_known_to_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (owners, gateways) = (file("owner.yaml"), file("gateway.yaml"));
    let (yaml, owner) = configuration(Postgres::shared().await.unwrap()).await;
    std::fs::write(&owners, format!("{yaml}{owner}")).unwrap();
    std::fs::write(&gateways, &yaml).unwrap();

    let early = run(&["serve", "--port", "0", "--config", &gateways]).await;
    assert_eq!(early.code, 1, "{}", early.err);
    assert!(early.err.contains("mcp-ultra migrate"), "{}", early.err);
    assert!(!early.err.contains(PASSWORD), "{}", early.err);

    let nobody = run(&["migrate", "--config", &gateways]).await;
    assert_eq!(nobody.code, 2);
    let missing = "storage.postgres.migrate.user";
    assert!(nobody.err.contains(missing), "{}", nobody.err);
    for (arguments, states) in [
        (&["--dry-run"][..], "to be applied"),
        (&["--dry-run"], "to be applied"),
        (&[], "applied"),
        (&[], "applied before"),
        (&["--dry-run"], "applied before"),
    ] {
        let arguments = [&["migrate", "--json", "--config", &owners], arguments].concat();
        let ran = run(&arguments).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let said: Value = serde_json::from_str(&ran.out).unwrap();
        let steps = said["steps"].as_array().unwrap();
        assert!(
            steps.len() >= 6 && steps.iter().all(|step| step["state"] == states),
            "{said}"
        );
    }
    let told = run(&["migrate", "--config", &owners]).await;
    assert!(told.out.starts_with("   1  API keys"), "{}", told.out);

    let upstream = fixture(Era::Dual).await;
    let yaml = only(&upstream.url(), &yaml);
    let (one, other) = (gateway(&yaml).await, gateway(&yaml).await);
    let made = run(&["key", "create", "reports", "--config", &gateways]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let token = made.out.trim_end();
    for gateway in [&one, &other] {
        assert_eq!(status(gateway, token).await, 200);
    }
    let revoked = run(&["key", "revoke", "reports", "--config", &gateways]).await;
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    for gateway in [&one, &other] {
        until("the key has ended", async || {
            status(gateway, token).await == 401
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_migrated_too_and_looked_at_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yaml");
    let store = folder.path().join("state.db");
    std::fs::write(
        &config,
        format!("storage: {{ sqlite: \"{}\" }}\n", store.display()),
    )
    .unwrap();
    let config = config.to_string_lossy();
    let shown = run(&["migrate", "--dry-run", "--config", &config]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("to be applied"), "{}", shown.out);
    assert!(!store.exists());
    let ran = run(&["migrate", "--config", &config]).await;
    assert!(
        ran.code == 0 && ran.out.ends_with("applied\n"),
        "{}{}",
        ran.out,
        ran.err
    );
    let shown = run(&["migrate", "--dry-run", "--config", &config]).await;
    assert!(!shown.out.contains("to be applied"), "{}", shown.out);
    std::fs::write(&store, "no database".repeat(100)).unwrap();
    let broken = run(&["migrate", "--dry-run", "--config", &config]).await;
    assert_eq!(broken.code, 1, "{}", broken.out);
    assert!(broken.err.contains("state.db"), "{}", broken.err);
}
