//! What happens when the server is not the right one, is slow, or is gone.

use std::time::{Duration, Instant};

use mcp_ultra_backends::sql::{Database, OpenError, migrations};
use mcp_ultra_config::{Period, PostgresSettings, Secret};
use mcp_ultra_domain::ports::{KeyStore, KeyStoreError};
use mcp_ultra_testkit::stores::{Postgres, StoreError, postgres::Login};
use tokio::task::JoinHandle;

use super::key;
use crate::site::Site;

/// What a call may take at most with the timeouts of [`quick`], on a machine that is busy.
pub(super) const BOUND: Duration = Duration::from_secs(8);

pub(super) fn quick(settings: &PostgresSettings) -> PostgresSettings {
    let mut settings = settings.clone();
    settings.statement_timeout = Period::from_secs(1);
    settings.pool.acquire_timeout = Period::from_secs(2);
    settings
}

#[tokio::test]
async fn another_authority_is_refused() {
    let site = Site::with_tables().await;
    let other = Postgres::start().await.unwrap();
    let mut settings = site.settings.clone();
    let authority = other.admin().authority.display().to_string();
    settings.tls.ca_file = Some(authority);
    let refused = Database::connect_postgres(&settings).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("certificate"), "{text}");
    assert!(!refused.may_pass(), "waiting does not mend it");
    settings.tls.ca_file = None;
    let refused = Database::connect_postgres(&settings).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    assert!(!refused.may_pass(), "waiting does not mend it");
    site.remove().await;
}

#[tokio::test]
async fn a_file_of_certificates_that_is_not_there_is_told_by_its_key() {
    let site = Site::with_tables().await;
    let mut settings = site.settings.clone();
    settings.tls.ca_file = Some("/nowhere/ca.pem".to_owned());
    let connected = Database::connect_postgres(&settings).await.unwrap_err();
    let migrated = migrations::postgres::run(&settings).await.unwrap_err();
    for error in [connected, migrated] {
        let text = error.to_string();
        let said = "storage.postgres.tls.ca_file: /nowhere/ca.pem can't be read";
        assert!(text.contains(said), "{text}");
        assert!(!error.may_pass(), "waiting does not mend it");
    }
    site.remove().await;
}

#[tokio::test]
async fn a_server_that_has_no_connection_left_is_waited_for() {
    let site = Site::with_tables().await;
    let name = &site.admin.database;
    let limit = async |most: i32| {
        let sql = format!("alter database {name} connection limit {most}");
        site.admin.database("postgres").sql(&sql).await.unwrap();
    };
    limit(0).await;
    let full = Database::connect_postgres(&site.settings)
        .await
        .unwrap_err();
    assert!(full.to_string().contains("too many connections"), "{full}");
    assert!(full.may_pass(), "others will give theirs back");
    limit(-1).await;
    site.store().await.close().await;
    site.remove().await;
}

#[tokio::test]
async fn another_password_is_refused_and_not_told() {
    let site = Site::with_tables().await;
    let mut settings = site.settings.clone();
    settings.password = Some(Secret::literal("something-else"));
    let refused = Database::connect_postgres(&settings).await.unwrap_err();
    assert!(matches!(refused, OpenError::Server { .. }), "{refused}");
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("authentication failed"), "{text}");
    assert!(!text.contains("something-else"), "{text}");
    site.remove().await;
}

/// Keeps everybody else from the table of keys until it is told to let go.
pub(super) struct Hold {
    admin: Login,
    holder: JoinHandle<Result<String, StoreError>>,
}

const HELD: &str = "from pg_locks where mode = 'AccessExclusiveLock' and granted \
    and relation = 'api_keys'::regclass";

impl Hold {
    pub(super) async fn start(site: &Site) -> Self {
        let admin = site.admin.clone();
        let holder = tokio::spawn(async move {
            let hold = "begin; lock table api_keys; select pg_sleep(60)";
            admin.sql(hold).await
        });
        let is_held = format!("select count(*) {HELD}");
        while site.admin.sql(&is_held).await.unwrap() == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let admin = site.admin.clone();
        Self { admin, holder }
    }

    pub(super) async fn end(self) {
        let end = format!("select pg_terminate_backend(pid) {HELD}");
        self.admin.sql(&end).await.unwrap();
        assert!(self.holder.await.unwrap().is_err(), "it is cut off");
    }
}

#[tokio::test]
async fn a_statement_has_its_time() {
    let site = Site::with_tables().await;
    let settings = quick(&site.settings);
    let store = Database::connect_postgres(&settings).await.unwrap();
    store.add(&key("acme", "k1")).await.unwrap();
    let hold = Hold::start(&site).await;
    let begun = Instant::now();
    let late = store.find("k1-a").await.unwrap_err();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let KeyStoreError::Failed(why) = late else {
        panic!("{late}");
    };
    assert!(why.contains("timeout"), "{why}");
    hold.end().await;
    assert!(store.find("k1-a").await.unwrap().is_some());
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_leaves_nothing_open() {
    let site = Site::with_tables().await;
    let mut settings = site.settings.clone();
    // The server would end it then, which would hide that nobody else has.
    settings.statement_timeout = Period::from_secs(60);
    let store = Database::connect_postgres(&settings).await.unwrap();
    store.add(&key("acme", "k1")).await.unwrap();
    let hold = Hold::start(&site).await;
    let waiting = tokio::time::timeout(Duration::from_millis(500), store.find("k1-a")).await;
    assert!(waiting.is_err(), "the table is held");
    hold.end().await;
    let open = "select count(*) from pg_stat_activity where usename = 'guest' \
        and datname = current_database() and xact_start is not null";
    let begun = Instant::now();
    while site.admin.sql(open).await.unwrap() != "0" {
        assert!(begun.elapsed() < BOUND, "a transaction is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(store.find("k1-a").await.unwrap().is_some());
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_of_in_time_and_comes_back() {
    let mut server = Postgres::start().await.unwrap();
    let site = Site::on(&server).await;
    migrations::postgres::run(&site.settings).await.unwrap();
    let store = Database::connect_postgres(&quick(&site.settings))
        .await
        .unwrap();
    store.add(&key("acme", "k1")).await.unwrap();

    server.server_mut().pause().unwrap();
    for _ in 0..2 {
        let begun = Instant::now();
        let silent = store.find("k1-a").await;
        assert!(silent.is_err());
        assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let opened = Database::connect_postgres(&quick(&site.settings))
        .await
        .unwrap_err();
    assert!(matches!(opened, OpenError::Silent { .. }), "{opened}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    server.server_mut().resume().unwrap();
    assert!(store.find("k1-a").await.unwrap().is_some());

    server.server_mut().kill().await.unwrap();
    let begun = Instant::now();
    let gone = store.add(&key("acme", "k2")).await;
    assert!(matches!(gone, Err(KeyStoreError::Failed(_))), "{gone:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    server.restart().await.unwrap();
    assert!(store.find("k1-a").await.unwrap().is_some());
    assert_eq!(store.find("k2-a").await.unwrap(), None);
    store.add(&key("acme", "k2")).await.unwrap();
    store.close().await;
}
