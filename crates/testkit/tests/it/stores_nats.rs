//! Private NATS servers and a cluster of them, asked by the first words of its protocol.

use std::time::{Duration, Instant};

use mcp_ultra_testkit::stores::{
    Nats,
    nats::{Cluster, Login, Options},
};
use serde_json::{Value, json};

/// Makes a stream with so many copies; the answer.
async fn stream(login: &Login, replicas: u32) -> Value {
    let stream = json!({
        "name": "S", "subjects": ["s.>"], "num_replicas": replicas, "storage": "file",
        "retention": "limits", "discard": "old", "max_consumers": -1, "max_msgs": -1,
        "max_bytes": -1, "max_age": 0,
    })
    .to_string();
    let mut connection = login.connect().await.expect("a connection");
    let made = connection.request("$JS.API.STREAM.CREATE.S", &stream);
    made.await.expect("an answer")
}

/// How many messages it has; what was answered, if it does not know.
async fn messages(login: &Login) -> Result<u64, String> {
    let mut connection = login.connect().await.map_err(|error| error.to_string())?;
    let info = connection.request("$JS.API.STREAM.INFO.S", "").await;
    let info = info.map_err(|error| error.to_string())?;
    info["state"]["messages"].as_u64().ok_or(info.to_string())
}

#[tokio::test]
async fn only_tls_and_the_right_password_are_let_in() {
    let begun = Instant::now();
    let server = Nats::start().await.expect("a server");
    println!("NATS after {:?}", begun.elapsed());
    let login = server.login();
    let connection = login.connect().await.expect("a connection");
    assert_eq!(connection.info["jetstream"], true);
    let wrong = login.user(&login.user, "wrong").connect().await;
    let refused = wrong.err().expect("another password").to_string();
    assert!(refused.contains("Authorization Violation"), "{refused}");
    login.connect_by(server.nkey()).await.expect("by its key");
    let other = Nats::start().await.expect("another server");
    let refused = login.connect_by(other.nkey()).await;
    let refused = refused.err().expect("another key").to_string();
    assert!(refused.contains("Authorization Violation"), "{refused}");
    let mut untrusted = other.login().clone();
    untrusted.authority.clone_from(&login.authority);
    let refused = untrusted.connect().await.err().expect("another authority");
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_certificate_is_asked_for_where_it_should_be() {
    let options = Options {
        client_certificates: true,
    };
    let server = Nats::start_with(&options).await.expect("a server");
    let mut without = server.login().clone();
    without.certificate = None;
    assert!(without.connect().await.is_err());
}

#[tokio::test]
async fn a_stream_survives_a_kill() {
    let mut server = Nats::start().await.expect("a server");
    let login = server.login().clone();
    let made = stream(&login, 1).await;
    assert!(made["error"].is_null(), "{made}");
    let mut connection = login.connect().await.expect("a connection");
    let kept = connection.request("s.one", "hello").await;
    assert_eq!(kept.expect("an answer")["seq"], 1);
    server.server_mut().kill().await.expect("killed");
    assert!(login.connect().await.is_err());
    server.restart().await.expect("restarted");
    assert_eq!(messages(&login).await, Ok(1));
}

#[tokio::test]
async fn three_nodes_keep_a_stream_when_one_is_lost() {
    let begun = Instant::now();
    let mut cluster = Cluster::start().await.expect("a cluster");
    println!("three NATS after {:?}", begun.elapsed());
    let made = stream(cluster.login(), 3).await;
    assert!(made["error"].is_null(), "{made}");
    let mut connection = cluster.login().connect().await.expect("a connection");
    let kept = connection.request("s.one", "hello").await;
    assert_eq!(kept.expect("an answer")["seq"], 1);
    cluster
        .node_mut(0)
        .server_mut()
        .kill()
        .await
        .expect("killed");
    let begun = Instant::now();
    let left = cluster.nodes()[1].login().clone();
    loop {
        let known = messages(&left).await;
        if known == Ok(1) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{known:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("without one node after {:?}", begun.elapsed());
    cluster.node_mut(0).restart().await.expect("restarted");
    cluster.agrees().await.expect("three again");
}
