//! The standby of a private PostgreSQL.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::stores::{Postgres, postgres::Options};

#[tokio::test]
async fn a_synchronous_standby_has_what_was_committed_and_takes_over() {
    let mut primary = Postgres::start().await.expect("a primary");
    let begun = Instant::now();
    let standby = primary.standby("one", &Options::default()).await;
    let standby = standby.expect("a standby");
    println!("standby after {:?}", begun.elapsed());
    let admin = primary.admin();
    admin
        .sql("alter system set synchronous_standby_names = 'one'")
        .await
        .expect("set");
    admin.sql("select pg_reload_conf()").await.expect("read");
    let begun = Instant::now();
    let state = "select sync_state from pg_stat_replication";
    while admin.sql(state).await.expect("an answer") != "sync" {
        assert!(begun.elapsed() < Duration::from_secs(20), "never sync");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin.sql("create table t (n int)").await.expect("made");
    admin
        .sql("insert into t values (7)")
        .await
        .expect("written");
    primary.server_mut().kill().await.expect("killed");

    let refused = standby.admin().sql("insert into t values (8)").await;
    let refused = refused.expect_err("a standby takes no writes").to_string();
    assert!(refused.contains("read-only"), "{refused}");
    let begun = Instant::now();
    standby.promote().await.expect("promoted");
    println!("promoted after {:?}", begun.elapsed());
    let kept = standby
        .admin()
        .sql("insert into t values (8); select sum(n) from t");
    assert_eq!(kept.await.expect("written"), "15");

    let memory = || std::fs::read_to_string("/proc/sysvipc/shm").expect("a table");
    let pid = primary.server().id().to_string();
    // The fifth column says who has made it.
    let of_primary = |table: String| {
        let mut lines = table.lines();
        lines.any(|line| line.split_whitespace().nth(4) == Some(&pid))
    };
    assert!(of_primary(memory()), "a killed server leaves memory");
    drop(primary);
    assert!(!of_primary(memory()), "which goes with it");
}
