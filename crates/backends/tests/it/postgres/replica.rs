//! What a replica answers, and what it does not.

use mcp_ultra_backends::sql::{Database, migrations};
use mcp_ultra_config::PostgresServer;
use mcp_ultra_domain::ports::KeyStore;
use mcp_ultra_testkit::stores::{Postgres, postgres::Options};

use super::key;
use crate::site::Site;

#[tokio::test]
async fn lists_may_be_behind_and_identification_may_not() {
    let server = Postgres::start().await.unwrap();
    let site = Site::on(&server).await;
    migrations::postgres::run(&site.settings).await.unwrap();
    let mut replica = server
        .standby("replica", &Options::default())
        .await
        .unwrap();
    let mut settings = site.settings.clone();
    settings.replica = Some(PostgresServer {
        host: "127.0.0.1".to_owned(),
        port: replica.admin().address.port(),
    });
    let store = Database::connect_postgres(&settings).await.unwrap();
    let listed = async || store.list("acme", None, 10).await.unwrap().len();
    store.add(&key("acme", "k1")).await.unwrap();
    while listed().await < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    replica
        .admin()
        .sql("select pg_wal_replay_pause()")
        .await
        .unwrap();
    let paused = "select pg_get_wal_replay_pause_state()";
    while replica.admin().sql(paused).await.unwrap() != "paused" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store.add(&key("acme", "k2")).await.unwrap();
    assert_eq!(listed().await, 1, "as the replica knows it");
    assert!(store.find("k2-a").await.unwrap().is_some());
    assert!(store.get("acme", "k2").await.unwrap().is_some());
    assert_eq!(store.list("other", None, 10).await.unwrap(), []);

    replica.server_mut().kill().await.unwrap();
    // One list may meet the end of the connection it has begun on.
    assert_eq!(listed().await, 2, "as the server knows it");
    assert_eq!(listed().await, 2);
    store.close().await;
}
