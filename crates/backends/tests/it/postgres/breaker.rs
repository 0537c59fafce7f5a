//! A server that keeps failing is not asked for a while, and is asked again by itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcp_ultra_backends::sql::{Database, migrations};
use mcp_ultra_domain::{
    breaker::{State, Status},
    ports::{KeyStore, KeyStoreError},
};
use mcp_ultra_testkit::stores::{Fault, Postgres};

use super::{
    failures::{BOUND, Hold, quick},
    key,
};
use crate::site::Site;

/// Who is refused at once, on a machine that is busy. With [`quick`] a connection is waited for longer.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A store behind a network that can break.
struct Rig {
    site: Site,
    network: Fault,
    store: Database,
}

impl Rig {
    async fn new() -> Self {
        Self::on(Site::with_tables().await).await
    }

    async fn on(site: Site) -> Self {
        let network = Fault::before(site.admin.address).unwrap();
        let mut settings = quick(&site.settings);
        settings.port = network.address().port();
        let store = Database::connect_postgres(&settings).await.unwrap();
        store.add(&key("acme", "k1")).await.unwrap();
        Self {
            site,
            network,
            store,
        }
    }

    fn status(&self) -> Status {
        self.store.dependency().unwrap().breaker().0
    }

    /// Whether a key was read, and how long that took.
    async fn find(&self) -> (Result<bool, KeyStoreError>, Duration) {
        let begun = Instant::now();
        let found = self.store.find("k1-a").await;
        (found.map(|key| key.is_some()), begun.elapsed())
    }

    async fn open(&self) {
        let asked = join_all((0..6).map(|_| self.find())).await;
        assert!(asked.iter().all(|(found, _)| found.is_err()), "{asked:?}");
        assert_eq!(self.status().opened, 1);
    }

    async fn heals(&self) {
        let begun = Instant::now();
        while !matches!(self.find().await.0, Ok(true)) {
            assert!(begun.elapsed() < BOUND, "it does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.status().state, State::Closed);
        assert!(self.find().await.0.unwrap());
    }

    async fn end(self) {
        self.store.close().await;
        drop(self.network);
        self.site.remove().await;
    }
}

#[tokio::test]
async fn a_server_that_went_silent_is_asked_by_one_at_a_time_until_it_is_back() {
    let rig = Rig::new().await;
    rig.network.lost();
    rig.open().await;
    // Whatever it does, at most one waits at any moment, for 2 s.
    let begun = Instant::now();
    let (mut waited, mut refused) = (0, 0);
    while begun.elapsed() < Duration::from_secs(5) {
        let asked = join_all((0..20).map(|_| rig.find())).await;
        let slow = asked.iter().filter(|(_, took)| *took > AT_ONCE).count();
        assert!(slow <= 1, "{asked:?}");
        assert!(asked.iter().all(|(found, _)| found.is_err()), "{asked:?}");
        waited += slow;
        refused += asked.len() - slow;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        (1..=3).contains(&waited) && refused > 100,
        "{waited} {refused}"
    );
    assert_ne!(rig.status().state, State::Closed);
    rig.network.heal();
    rig.heals().await;
    rig.end().await;
}

#[tokio::test]
async fn a_server_whose_connections_break_at_once_counts_as_failing_too() {
    let mut server = Postgres::start().await.unwrap();
    let site = Site::on(&server).await;
    migrations::postgres::run(&site.settings).await.unwrap();
    let rig = Rig::on(site).await;
    // What is in front of it accepts connections all the same, and ends them.
    server.server_mut().kill().await.unwrap();
    rig.open().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert!(rig.find().await.0.is_err());
        assert_ne!(rig.status().state, State::Closed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.restart().await.unwrap();
    rig.heals().await;
    rig.store.close().await;
}

#[tokio::test]
async fn what_was_asked_for_wrongly_or_is_locked_opens_nothing() {
    let rig = Rig::new().await;
    for _ in 0..10 {
        let taken = rig.store.add(&key("acme", "k1")).await;
        assert!(matches!(taken, Err(KeyStoreError::Exists)), "{taken:?}");
    }
    let hold = Hold::start(&rig.site).await;
    let late = join_all((0..8).map(|_| rig.find())).await;
    assert!(late.iter().all(|(found, _)| found.is_err()), "{late:?}");
    hold.end().await;
    let Status {
        state,
        opened,
        tally,
        ..
    } = rig.status();
    assert_eq!((state, opened), (State::Closed, 0), "{tally:?}");
    assert!(rig.find().await.0.unwrap());
    rig.end().await;
}
