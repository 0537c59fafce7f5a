//! Private Redis servers, a cluster of them, and one under Sentinels, asked through `redis-cli`.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::stores::{
    Redis,
    redis::{Cluster, Options, Sentinels},
};

#[tokio::test]
async fn only_tls_and_a_user_with_the_right_password_are_let_in() {
    let begun = Instant::now();
    let server = Redis::start().await.expect("a server");
    println!("Redis after {:?}", begun.elapsed());
    let admin = server.login();
    let who = admin.ask(&["ACL", "WHOAMI"]).await.expect("an answer");
    assert_eq!(who, "admin");
    let wrong = admin.user("admin", "wrong").ask(&["PING"]).await;
    let wrong = wrong.unwrap_or_else(|error| error.to_string());
    assert!(
        wrong.contains("WRONGPASS") || wrong.contains("NOAUTH"),
        "{wrong}"
    );
    let default = admin.user("default", "").ask(&["PING"]).await;
    let default = default.unwrap_or_else(|error| error.to_string());
    assert!(!default.contains("PONG"), "{default}");
    assert!(plain_is_refused(admin.address).await);
}

/// Whether a command in the clear is not answered.
async fn plain_is_refused(address: std::net::SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    stream.write_all(b"PING\r\n").await.expect("written");
    let mut answer = Vec::new();
    // Closed, or an alert of TLS; never an answer of Redis.
    let _ = stream.read_to_end(&mut answer).await;
    !answer.starts_with(b"+") && !answer.starts_with(b"-")
}

#[tokio::test]
async fn what_was_written_is_there_after_a_kill_only_if_it_is_durable() {
    for durable in [false, true] {
        let options = Options {
            durable,
            ..Options::default()
        };
        let mut server = Redis::start_with(&options).await.expect("a server");
        let login = server.login().clone();
        login
            .expect(&["SET", "name", "value"], "OK")
            .await
            .expect("written");
        server.server_mut().kill().await.expect("killed");
        assert!(login.ask(&["PING"]).await.is_err());
        server.restart().await.expect("restarted");
        let kept = login.ask(&["GET", "name"]).await.expect("an answer");
        assert_eq!(kept, if durable { "value" } else { "" });
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_asked_for() {
    let options = Options {
        client_certificates: true,
        ..Options::default()
    };
    let server = Redis::start_with(&options).await.expect("a server");
    let mut login = server.login().clone();
    login.expect(&["PING"], "PONG").await.expect("an answer");
    login.certificate = None;
    let refused = login.ask(&["PING"]).await;
    let refused = refused.unwrap_or_else(|error| error.to_string());
    assert!(!refused.contains("PONG"), "{refused}");
}

#[tokio::test]
async fn a_cluster_shares_the_key_space_and_misses_a_lost_node() {
    let begun = Instant::now();
    let mut cluster = Cluster::start().await.expect("a cluster");
    println!("Redis Cluster after {:?}", begun.elapsed());
    // `foo` is in slot 12182, which is the third node's.
    let set = ["SET", "foo", "bar"];
    let third = cluster.nodes()[2].login().clone();
    let moved = cluster.login().ask(&set).await.expect("an answer");
    let elsewhere = format!("MOVED 12182 {}", third.address);
    assert!(moved.starts_with(&elsewhere), "{moved}, not {elsewhere}");
    third.expect(&set, "OK").await.expect("written");

    cluster
        .node_mut(2)
        .server_mut()
        .kill()
        .await
        .expect("killed");
    let begun = Instant::now();
    loop {
        let state = cluster.login().ask(&["CLUSTER", "INFO"]).await;
        if state.expect("an answer").contains("cluster_state:fail") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody saw it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.node_mut(2).restart().await.expect("restarted");
    cluster.agrees().await.expect("complete again");
}

#[tokio::test]
async fn sentinels_make_the_replica_a_master_when_the_master_is_lost() {
    let begun = Instant::now();
    let mut group = Sentinels::start().await.expect("a master and a replica");
    println!("Redis Sentinel after {:?}", begun.elapsed());
    let [master, replica] = [0, 1].map(|index| group.nodes()[index].login().clone());
    assert_eq!(group.master().await.expect("a master"), master.address);
    master
        .expect(&["SET", "name", "value"], "OK")
        .await
        .expect("written");
    let copied = master.ask(&["WAIT", "1", "5000"]).await.expect("an answer");
    assert_eq!(copied, "1");

    group.node_mut(0).server_mut().kill().await.expect("killed");
    let begun = Instant::now();
    group.failed_over_to(1).await.expect("a failover");
    println!("failed over after {:?}", begun.elapsed());
    let kept = replica.ask(&["GET", "name"]).await.expect("an answer");
    assert_eq!(kept, "value");
    replica
        .expect(&["SET", "name", "later"], "OK")
        .await
        .expect("written");
}
