//! A private PgBouncer in front of a private PostgreSQL.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::stores::{Fault, PASSWORD, PgBouncer, Postgres};

#[tokio::test]
async fn roles_of_the_server_are_let_in_by_their_passwords_and_share_connections() {
    let server = Postgres::shared().await.expect("a server");
    let database = server.database().await.expect("a database");
    let begun = Instant::now();
    let bouncer = PgBouncer::start(server).await.expect("a bouncer");
    println!("PgBouncer after {:?}", begun.elapsed());

    // A role that was made after it.
    let role = format!("late_{}", database.database);
    let make = format!("create role {role} login password 'secret-of-late'");
    database.sql(&make).await.expect("a role");
    let login = bouncer.login(&database.user(&role, "secret-of-late"));
    let encrypted = "select current_user, ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let answer = login.sql(encrypted).await.expect("an answer");
    assert_eq!(answer, format!("{role}|t"), "encrypted behind it too");
    let wrong = login.user(&role, PASSWORD).sql("select 1").await;
    assert!(wrong.is_err(), "another password");
    let plain = login.psql("select 1", "disable", "5").await;
    assert!(plain.is_err(), "no connection without TLS");

    let backend = "select pg_backend_pid()";
    let first = login.sql(backend).await.expect("an answer");
    let second = login.sql(backend).await.expect("an answer");
    assert_eq!(first, second, "two clients have one connection behind");
    let pools = bouncer.console().sql("show pools").await.expect("pools");
    assert!(pools.contains("transaction"), "{pools}");
}

#[tokio::test]
async fn a_server_behind_it_that_is_lost_comes_back() {
    let server = Postgres::shared().await.expect("a server");
    let database = server.database().await.expect("a database");
    let fault = Fault::before(server.admin().address).expect("a proxy");
    let bouncer = PgBouncer::start_before(server.admin(), fault.address())
        .await
        .expect("a bouncer");
    let login = bouncer.login(&database);
    login.sql("select 1").await.expect("an answer");
    fault.cut();
    let lost = login.sql("select 1").await;
    assert!(lost.is_err(), "an answer of a server that is cut off");
    fault.heal();
    let begun = Instant::now();
    while login.sql("select 1").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
