//! Private PostgreSQL servers, asked through `psql`.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{
    process::Process,
    stores::{PASSWORD, Postgres},
};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn databases_of_the_shared_server_know_nothing_of_each_other() {
    let begun = Instant::now();
    let server = Postgres::shared().await.expect("a server");
    let started = begun.elapsed();
    let begun = Instant::now();
    let one = server.database().await.expect("a database");
    let made = begun.elapsed();
    let other = server.database().await.expect("another database");
    println!("shared PostgreSQL after {started:?}, a database in {made:?}");
    one.sql("create table t (n int); insert into t values (7)")
        .await
        .expect("written");
    assert_eq!(one.sql("select n from t").await.expect("read"), "7");
    assert!(other.sql("select n from t").await.is_err());
}

#[tokio::test]
async fn only_tls_and_the_right_password_are_let_in() {
    let server = Postgres::shared().await.expect("a server");
    let admin = server.admin();
    let how = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(admin.sql(how).await.expect("an answer"), "t|TLSv1.3");
    let plain = admin.psql("select 1", "disable", "5").await;
    let refused = plain.expect_err("no connection without TLS").to_string();
    assert!(refused.contains("rejects connection"), "{refused}");
    let wrong = admin.user(&admin.user, "wrong").sql("select 1").await;
    let refused = wrong.expect_err("another password").to_string();
    assert!(refused.contains("authentication failed"), "{refused}");
    let stored = "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'guest'";
    assert_eq!(admin.sql(stored).await.expect("an answer"), "t");
    assert_eq!(
        admin.sql("show data_checksums").await.expect("an answer"),
        "on"
    );
}

#[tokio::test]
async fn the_guest_owns_nothing_and_may_make_nothing() {
    let server = Postgres::shared().await.expect("a server");
    let database = server.database().await.expect("a database");
    let guest = database.user("guest", PASSWORD);
    assert_eq!(guest.user, server.guest().user);
    let may = "select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole \
               from pg_roles where rolname = current_user";
    assert_eq!(guest.sql(may).await.expect("an answer"), "f");
    let refused = guest.sql("create table t (n int)").await;
    let refused = refused.expect_err("no table of a guest").to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_a_pause_ends() {
    let begun = Instant::now();
    let mut server = Postgres::start().await.expect("a server");
    println!("PostgreSQL of one's own after {:?}", begun.elapsed());
    let database = server.database().await.expect("a database");
    database
        .sql("create table t (n int); insert into t values (7)")
        .await
        .expect("written");
    let before = server.server().id();

    server.server_mut().kill().await.expect("killed");
    assert!(database.sql("select n from t").await.is_err());
    let begun = Instant::now();
    server.restart().await.expect("restarted");
    println!("restarted after SIGKILL in {:?}", begun.elapsed());
    assert_ne!(server.server().id(), before);
    assert_eq!(database.sql("select n from t").await.expect("read"), "7");

    // An open session: its process is a child, and has to stop as well.
    let asleep = database.clone();
    let session = tokio::spawn(async move { asleep.sql("select pg_sleep(1), 'woken'").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.server_mut().pause().expect("paused");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!session.is_finished(), "a paused server has answered");
    let refused = database.psql("select 1", "verify-full", "2").await;
    let refused = refused.expect_err("a paused server answers").to_string();
    assert!(refused.contains("timeout expired"), "{refused}");
    server.server_mut().resume().expect("resumed");
    let woken = session.await.expect("it ends").expect("an answer");
    assert_eq!(woken, "|woken");
}

/// Runs in a process of its own, below: uses the shared server and says where it is.
#[tokio::test]
#[ignore = "started by no_server_outlives_the_process_that_shared_it"]
async fn a_process_that_shares_a_server() {
    let server = Postgres::shared().await.expect("a server");
    let data = server.admin().authority.display().to_string();
    println!("\nserver {} {data}", server.server().id());
    if std::env::var_os("STORES_STAY").is_some() {
        tokio::time::sleep(LIMIT).await;
    }
}

#[tokio::test]
async fn no_server_outlives_the_process_that_shared_it() {
    for stays in [false, true] {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--ignored", "--exact", "--nocapture"]);
        command.arg("stores_postgres::a_process_that_shares_a_server");
        if stays {
            command.env("STORES_STAY", "1");
        }
        let mut process = Process::start_command(command).expect("it starts");
        let said = process.line("its server", LIMIT, |line| {
            let (id, file) = line.strip_prefix("server ")?.split_once(' ')?;
            Some((id.to_owned(), file.to_owned()))
        });
        let (id, file) = said.await.expect("a server");
        if stays {
            process
                .signal(nix::sys::signal::Signal::SIGKILL)
                .expect("killed");
        }
        process.wait(LIMIT).await.expect("it ends");
        let begun = Instant::now();
        let folder = Path::new(&file).parent().expect("a folder");
        while runs(&id) || folder.exists() {
            assert!(
                begun.elapsed() < LIMIT,
                "server {id} is there after its test, or its folder {}",
                folder.display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("gone {:?} after its test", begun.elapsed());
    }
}

/// Whether a process is there; one that nobody has waited for is not.
fn runs(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.starts_with(" Z"))
    })
}
