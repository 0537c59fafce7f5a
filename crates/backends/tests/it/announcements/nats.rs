//! What only a connection can do: be refused, be lost, and come back.

use std::time::{Duration, Instant};

use mcp_ultra_backends::nats::Nats as Bus;
use mcp_ultra_config::Secret;
use mcp_ultra_domain::{Announcement, ports::Announcements as _};
use mcp_ultra_testkit::stores::{
    Fault, Nats,
    nats::{Cluster, Options},
};
use serde_json::Value;

use super::{Ears, connected, half, is_connected, key, settings, until};

/// What a server says of the stream.
async fn stream(server: &Nats) -> Value {
    let mut connection = server.login().connect().await.unwrap();
    let asked = connection.request("$JS.API.STREAM.INFO.mcp-ultra-announcements", "");
    asked.await.unwrap()
}

/// A server and a network before it, and two replicas of which the second is behind that.
struct Site {
    server: Nats,
    network: Fault,
    near: std::sync::Arc<dyn mcp_ultra_domain::ports::Announcements>,
    far: std::sync::Arc<dyn mcp_ultra_domain::ports::Announcements>,
}

impl Site {
    async fn new() -> Self {
        let server = Nats::start().await.unwrap();
        let network = Fault::before(server.login().address).unwrap();
        let near = connected(&settings(&[server.login()]), "near").await;
        let far = connected(&settings(&[&server.login().at(network.address())]), "far").await;
        Self {
            server,
            network,
            near,
            far,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_takes_the_place_of_a_password() {
    let server = Nats::start().await.unwrap();
    let mut by_key = settings(&[server.login()]);
    by_key.user = None;
    by_key.password = None;
    by_key.nkey = Some(Secret::literal(server.nkey().seed()));
    let (one, other) = (
        connected(&by_key, "one").await,
        connected(&settings(&[server.login()]), "other").await,
    );
    let ears = Ears::of(&*other);
    one.announce(Announcement::PinsChanged);
    ears.hears(&[Announcement::PinsChanged]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_is_used_for_the_next_connection() {
    let mut server = Nats::start().await.unwrap();
    let start = |name| Bus::start(&settings(&[server.login()]), name, half).unwrap();
    let (renewed, forgotten) = (start("renewed"), start("forgotten"));
    for bus in [&renewed, &forgotten] {
        until("a connection", || is_connected(bus)).await;
    }
    server.change_password("another").unwrap();
    for bus in [&renewed, &forgotten] {
        until("the loss", || !is_connected(bus)).await;
    }
    renewed.renew(&settings(&[server.login()]));
    until("a connection", || is_connected(&renewed)).await;
    assert!(!is_connected(&forgotten));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_shown_to_a_server_that_asks_for_one() {
    let options = Options {
        client_certificates: true,
    };
    let server = Nats::start_with(&options).await.unwrap();
    let shown = settings(&[server.login()]);
    let mut hidden = shown.clone();
    (hidden.tls.certificate, hidden.tls.key) = (None, None);
    let refused = Bus::start(&hidden, "hidden", half).unwrap();
    let (one, other) = (
        connected(&shown, "one").await,
        connected(&shown, "other").await,
    );
    let ears = Ears::of(&*other);
    one.announce(Announcement::PinsChanged);
    ears.hears(&[Announcement::PinsChanged]).await;
    assert!(!is_connected(&refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_not_prove_anything_is_not_connected_and_nobody_fails() {
    let (server, other) = (Nats::start().await.unwrap(), Nats::start().await.unwrap());
    let mut wrong = settings(&[server.login()]);
    wrong.password = Some(Secret::literal("wrong"));
    let mut untrusted = settings(&[server.login()]);
    untrusted.tls.ca_file = settings(&[other.login()]).tls.ca_file;
    let refused = [wrong, untrusted].map(|settings| Bus::start(&settings, "a", half).unwrap());
    connected(&settings(&[server.login()]), "b").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for bus in &refused {
        bus.announce(Announcement::PinsChanged);
        assert!(!is_connected(bus));
    }
    let mut missing = settings(&[server.login()]);
    missing.tls.ca_file = Some("/nowhere/ca.pem".into());
    let error = Bus::start(&missing, "a", half).err().unwrap().to_string();
    assert!(
        error.contains("messaging.nats.tls.ca_file") && error.contains("/nowhere/ca.pem"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_while_a_connection_was_lost_is_heard_in_order() {
    let site = Site::new().await;
    let (at_near, at_far) = (Ears::of(&*site.near), Ears::of(&*site.far));
    site.far.announce(key("far", 0));
    site.near.announce(key("near", 0));
    at_near.hears(&[key("far", 0)]).await;
    at_far.hears(&[key("near", 0)]).await;
    let missed = at_far.missed();
    site.network.cut();
    until("the loss", || !is_connected(&*site.far)).await;
    let begun = Instant::now();
    for number in 1..50 {
        site.far.announce(key("far", number));
        site.near.announce(key("near", number));
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "nobody waits");
    site.network.heal();
    let all = |sender| {
        (0..50)
            .map(|number| key(sender, number))
            .collect::<Vec<_>>()
    };
    at_far.hears(&all("near")).await;
    at_near.hears(&all("far")).await;
    assert!(
        at_far.missed() > missed,
        "and is told to look at everything"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_is_heard_once() {
    let site = Site::new().await;
    let at_near = Ears::of(&*site.near);
    site.far.announce(key("far", 0));
    at_near.hears(&[key("far", 0)]).await;
    // It is on its way, and nobody says whether it has arrived.
    site.network.lost();
    site.far.announce(key("far", 1));
    until("the loss", || !is_connected(&*site.far)).await;
    site.far.announce(key("far", 2));
    site.network.heal();
    at_near
        .hears(&[0, 1, 2].map(|number| key("far", number)))
        .await;
    until("a connection", || is_connected(&*site.far)).await;
    site.far.announce(key("far", 3));
    at_near
        .hears(&[0, 1, 2, 3].map(|number| key("far", number)))
        .await;
    assert_eq!(stream(&site.server).await["state"]["messages"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_has_what_it_had() {
    let mut site = Site::new().await;
    let (at_near, at_far) = (Ears::of(&*site.near), Ears::of(&*site.far));
    site.near.announce(key("near", 0));
    at_far.hears(&[key("near", 0)]).await;
    site.server.server_mut().kill().await.unwrap();
    until("the loss", || !is_connected(&*site.near)).await;
    site.near.announce(key("near", 1));
    site.far.announce(key("far", 1));
    site.server.restart().await.unwrap();
    at_far.hears(&[key("near", 0), key("near", 1)]).await;
    at_near.hears(&[key("far", 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_too_much_to_tell_tells_others_to_look_at_everything() {
    let site = Site::new().await;
    let at_near = Ears::of(&*site.near);
    site.network.cut();
    until("the loss", || !is_connected(&*site.far)).await;
    for number in 0..3000 {
        site.far.announce(key("far", number));
    }
    let state = site.far.state().unwrap();
    let keys = state
        .kinds
        .iter()
        .find(|one| one.kind == "key_changed")
        .unwrap();
    let dropped = u32::try_from(keys.dropped).unwrap();
    assert!((1900..2000).contains(&dropped), "{state:?}");
    let missed = at_near.missed();
    site.network.heal();
    until("word of it", || at_near.missed() > missed).await;
    let all: Vec<_> = (0..3000 - dropped)
        .map(|number| key("far", number))
        .collect();
    assert_eq!(at_near.announced(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_gone_is_made_again() {
    let site = Site::new().await;
    let at_far = Ears::of(&*site.far);
    let mut connection = site.server.login().connect().await.unwrap();
    let deleted = connection.request("$JS.API.STREAM.DELETE.mcp-ultra-announcements", "");
    assert_eq!(deleted.await.unwrap()["success"], true);
    site.near.announce(key("near", 1));
    until("word of it", || {
        at_far.missed() > 1 || !at_far.announced().is_empty()
    })
    .await;
    until("connections", || {
        is_connected(&*site.near) && is_connected(&*site.far)
    })
    .await;
    site.near.announce(key("near", 2));
    until("what comes after", || {
        at_far.announced().contains(&key("near", 2))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_told_at_the_end_is_told() {
    let server = Nats::start().await.unwrap();
    let leaving = Bus::start(&settings(&[server.login()]), "leaving", half).unwrap();
    let stays = connected(&settings(&[server.login()]), "stays").await;
    let ears = Ears::of(&*stays);
    until("a connection", || is_connected(&leaving)).await;
    let all: Vec<_> = (0..20).map(|number| key("leaving", number)).collect();
    for one in &all {
        leaving.announce(one.clone());
    }
    leaving.close().await;
    ears.hears(&all).await;
    leaving.announce(key("leaving", 99));
    assert!(!is_connected(&leaving));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_have_it_all_and_one_may_be_lost() {
    let mut servers = Cluster::start().await.unwrap();
    let logins: Vec<_> = servers
        .nodes()
        .iter()
        .map(|node| node.login().clone())
        .collect();
    let (a, b) = (
        connected(&settings(&logins.iter().collect::<Vec<_>>()), "a").await,
        connected(&settings(&[&logins[1], &logins[2]]), "b").await,
    );
    let at_b = Ears::of(&*b);
    a.announce(key("a", 1));
    at_b.hears(&[key("a", 1)]).await;
    let made = stream(&servers.nodes()[1]).await;
    assert_eq!(made["config"]["num_replicas"], 3, "{made}");
    servers.node_mut(0).server_mut().kill().await.unwrap();
    a.announce(key("a", 2));
    at_b.hears(&[key("a", 1), key("a", 2)]).await;
}

/// As if it had been made while there was one server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_one_server_is_on_three_when_there_are_as_many() {
    let servers = Cluster::start().await.unwrap();
    let [one, two, three] = servers.nodes() else {
        panic!("three servers");
    };
    let logins = settings(&[one.login(), two.login(), three.login()]);
    let (a, b) = (connected(&logins, "a").await, connected(&logins, "b").await);
    let at_b = Ears::of(&*b);
    a.announce(key("a", 1));
    at_b.hears(&[key("a", 1)]).await;
    let mut config = stream(one).await["config"].clone();
    config["num_replicas"] = 1.into();
    let mut connection = one.login().connect().await.unwrap();
    let subject = "$JS.API.STREAM.UPDATE.mcp-ultra-announcements";
    let fewer = connection.request(subject, &config.to_string()).await;
    assert_eq!(fewer.unwrap()["config"]["num_replicas"], 1);

    let _late = connected(&logins, "late").await;
    let begun = Instant::now();
    while stream(one).await["config"]["num_replicas"] != 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it stays on one");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    a.announce(key("a", 2));
    at_b.hears(&[key("a", 1), key("a", 2)]).await;
}
