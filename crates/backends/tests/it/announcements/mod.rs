//! What replicas tell each other: within one process, over one NATS, and over three. Beside that what only NATS can
//! do: be lost, and come back.

mod nats;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_ultra_backends::nats::Nats as Bus;
use mcp_ultra_config::{NatsSettings, Secret};
use mcp_ultra_domain::{
    Announcement,
    ports::{Announcements, Heard, MemoryAnnouncements},
};
use mcp_ultra_testkit::stores::{
    Nats,
    nats::{Cluster, Login},
};
use parking_lot::Mutex;

/// An upper bound for what should come at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

contracts_of_replicas!(
    MemoryAnnouncements,
    others_hear_each_once_in_order_and_the_sender_never,
    all_subscribers_of_a_replica_hear,
    what_was_before_is_not_heard,
);

/// Where replicas find each other.
trait Place {
    /// One replica more, which is named for failures.
    fn replica(&self, name: &str) -> impl Future<Output = Arc<dyn Announcements>>;
}

impl Place for MemoryAnnouncements {
    async fn replica(&self, _: &str) -> Arc<dyn Announcements> {
        Arc::new(MemoryAnnouncements::replica(self))
    }
}

impl Place for Nats {
    async fn replica(&self, name: &str) -> Arc<dyn Announcements> {
        connected(&settings(&[self.login()]), name).await
    }
}

impl Place for Cluster {
    async fn replica(&self, name: &str) -> Arc<dyn Announcements> {
        let logins: Vec<&Login> = self.nodes().iter().map(Nats::login).collect();
        connected(&settings(&logins), name).await
    }
}

pub(crate) fn settings(logins: &[&Login]) -> NatsSettings {
    let servers = logins.iter().map(|login| login.address.to_string());
    let mut settings = NatsSettings::new(servers);
    settings.user = Some(logins[0].user.clone());
    settings.password = Some(Secret::literal(&*logins[0].password));
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    settings.tls.ca_file = Some(text(&logins[0].authority));
    if let Some((certificate, key)) = &logins[0].certificate {
        settings.tls.certificate = Some(text(certificate));
        settings.tls.key = Some(text(key));
    }
    settings
}

/// Without spreading: tests are to be the same each time.
fn half() -> u64 {
    u64::MAX / 2
}

async fn connected(settings: &NatsSettings, name: &str) -> Arc<dyn Announcements> {
    let bus = Bus::start(settings, name, half).unwrap();
    until("a connection", || is_connected(&bus)).await;
    Arc::new(bus)
}

pub(crate) fn is_connected(bus: &dyn Announcements) -> bool {
    bus.state().is_some_and(|state| state.connected)
}

#[track_caller]
pub(crate) fn until(what: &str, mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !check() {
            assert!(begun.elapsed() < SOON, "{what} did not come about: {at}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What one subscriber has heard.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<Heard>>>);

impl Ears {
    fn of(replica: &dyn Announcements) -> Self {
        let ears = Self::default();
        let heard = ears.0.clone();
        replica.hear(Arc::new(move |what| heard.lock().push(what)));
        ears
    }

    /// The announcements among it.
    fn announced(&self) -> Vec<Announcement> {
        let heard = self.0.lock();
        let announced = heard.iter().filter_map(|heard| match heard {
            Heard::Announced(announcement) => Some(announcement.clone()),
            Heard::Missed => None,
        });
        announced.collect()
    }

    fn missed(&self) -> usize {
        let heard = self.0.lock();
        heard
            .iter()
            .filter(|heard| **heard == Heard::Missed)
            .count()
    }

    /// Waits until the last of these is heard; then it must be exactly these.
    async fn hears(&self, expected: &[Announcement]) {
        let last = expected.last().unwrap();
        until("the last announcement", || self.announced().contains(last)).await;
        assert_eq!(self.announced(), expected);
    }
}

fn key(sender: &str, number: u32) -> Announcement {
    let id = format!("{sender}_{number}");
    Announcement::KeyChanged { id }
}

async fn others_hear_each_once_in_order_and_the_sender_never(place: &impl Place) {
    let (a, b, c) = (
        place.replica("a").await,
        place.replica("b").await,
        place.replica("c").await,
    );
    let (at_a, at_b, at_c) = (Ears::of(&*a), Ears::of(&*b), Ears::of(&*c));
    for number in 0..100 {
        a.announce(key("a", number));
        if number % 10 == 0 {
            b.announce(key("b", number));
        }
    }
    let end = Announcement::GrantWithdrawn {
        server: "crm".into(),
        holder: "a digest".into(),
    };
    for one in [Announcement::BlocksChanged, Announcement::PinsChanged, end] {
        a.announce(one);
    }
    let of_b: Vec<_> = (0..100)
        .step_by(10)
        .map(|number| key("b", number))
        .collect();
    let mut of_a: Vec<_> = (0..100).map(|number| key("a", number)).collect();
    of_a.extend([
        Announcement::BlocksChanged,
        Announcement::PinsChanged,
        Announcement::GrantWithdrawn {
            server: "crm".into(),
            holder: "a digest".into(),
        },
    ]);
    at_b.hears(&of_a).await;
    at_a.hears(&of_b).await;
    until("all at the third", || {
        at_c.announced().len() == of_a.len() + of_b.len()
    })
    .await;
    let (from_b, from_a): (Vec<_>, Vec<_>) = at_c
        .announced()
        .into_iter()
        .partition(|one| of_b.contains(one));
    assert_eq!((from_a, from_b), (of_a, of_b));
}

async fn all_subscribers_of_a_replica_hear(place: &impl Place) {
    let (a, b) = (place.replica("a").await, place.replica("b").await);
    let (one, other) = (Ears::of(&*b), Ears::of(&*b));
    a.announce(Announcement::PinsChanged);
    for ears in [one, other] {
        ears.hears(&[Announcement::PinsChanged]).await;
    }
}

async fn what_was_before_is_not_heard(place: &impl Place) {
    let (a, b) = (place.replica("a").await, place.replica("b").await);
    let at_b = Ears::of(&*b);
    a.announce(key("a", 1));
    at_b.hears(&[key("a", 1)]).await;
    let c = place.replica("c").await;
    let at_c = Ears::of(&*c);
    a.announce(key("a", 2));
    at_c.hears(&[key("a", 2)]).await;
    at_b.hears(&[key("a", 1), key("a", 2)]).await;
}
