//! How replicas reach one another: within one process, over one NATS, and over three. Beside that what only NATS
//! can do: be lost while a line is open, and come back.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_ultra_backends::nats::Nats as Bus;
use mcp_ultra_config::NatsSettings;
use mcp_ultra_domain::ports::{
    Guests, LONGEST_GREETING, Line, MemoryVenue, NotMet, Rendezvous, WAITING_MESSAGES,
};
use mcp_ultra_testkit::stores::{
    Nats,
    nats::{Cluster, Login},
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::timeout};

use crate::announcements::{SOON, is_connected, settings, until};

contracts_of_replicas!(
    MemoryVenue,
    a_line_carries_messages_of_any_size_both_ways_in_order,
    who_takes_nothing_slows_the_one_who_sends_and_nobody_else,
    an_end_that_is_dropped_is_noticed_at_the_other,
    who_is_not_there_or_takes_nobody_is_not_met,
    the_one_who_is_looked_for_is_found_and_all_others_are_told,
);

/// Where replicas find each other.
trait Place {
    /// One replica more.
    fn replica(&self) -> impl Future<Output = Arc<dyn Rendezvous>>;
}

impl Place for MemoryVenue {
    async fn replica(&self) -> Arc<dyn Rendezvous> {
        Arc::new(MemoryVenue::replica(self))
    }
}

impl Place for Nats {
    async fn replica(&self) -> Arc<dyn Rendezvous> {
        connected(&settings(&[self.login()])).await
    }
}

impl Place for Cluster {
    async fn replica(&self) -> Arc<dyn Rendezvous> {
        let logins: Vec<&Login> = self.nodes().iter().map(Nats::login).collect();
        connected(&settings(&logins)).await
    }
}

/// Numbers that are never the same.
fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn connected(settings: &NatsSettings) -> Arc<Bus> {
    let name = format!("replica{}", number());
    let bus = Bus::start(settings, &name, number).unwrap();
    until("a connection", || is_connected(&bus)).await;
    Arc::new(bus)
}

/// Who takes what is brought to a replica.
struct Host {
    visits: mpsc::UnboundedSender<(Vec<u8>, Line)>,
    is_asked_for: AtomicBool,
    told: Mutex<Vec<Vec<u8>>>,
}

type Visits = mpsc::UnboundedReceiver<(Vec<u8>, Line)>;

impl Host {
    fn of(replica: &dyn Rendezvous) -> (Arc<Self>, Visits) {
        let (visits, visited) = mpsc::unbounded_channel();
        let host = Arc::new(Self {
            visits,
            is_asked_for: false.into(),
            told: Mutex::default(),
        });
        replica.welcome(host.clone());
        (host, visited)
    }
}

impl Guests for Host {
    fn visited(&self, greeting: &[u8], line: Line) {
        let _ = self.visits.send((greeting.to_owned(), line));
    }

    fn is_asked_for(&self, question: &[u8]) -> bool {
        question == b"who?" && self.is_asked_for.load(Ordering::Relaxed)
    }

    fn told(&self, news: &[u8]) {
        self.told.lock().push(news.to_owned());
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it takes too long")
}

/// A line from one to the other, with both ends.
async fn line(from: &dyn Rendezvous, to: &dyn Rendezvous, visits: &mut Visits) -> (Line, Line) {
    let here = from.open(to.replica(), b"hello".to_vec()).await.unwrap();
    let (greeting, there) = soon(visits.recv()).await.unwrap();
    assert_eq!(greeting, b"hello");
    assert_eq!(here.id, there.id);
    (here, there)
}

async fn a_line_carries_messages_of_any_size_both_ways_in_order(place: &impl Place) {
    let (a, b) = (place.replica().await, place.replica().await);
    let (_host, mut visits) = Host::of(&*b);
    let (mut here, mut there) = line(&*a, &*b, &mut visits).await;
    let (_, other) = line(&*a, &*b, &mut visits).await;
    assert_ne!(here.id, other.id);
    let messages = [0, 1, 1000, 512 * 1024, 3 << 20, 7].map(|size| {
        (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect()
    });
    let messages: Vec<Vec<u8>> = messages.to_vec();
    let back = tokio::spawn(async move {
        while let Some(message) = there.receiver.recv().await {
            there.sender.send(message).await.unwrap();
        }
    });
    for message in &messages {
        here.sender.send(message.clone()).await.unwrap();
    }
    for message in messages {
        let echo = soon(here.receiver.recv()).await.unwrap();
        assert!(echo == message, "{} bytes", message.len());
    }
    drop(here.sender);
    assert_eq!(soon(here.receiver.recv()).await, None);
    soon(back).await.unwrap();
}

async fn who_takes_nothing_slows_the_one_who_sends_and_nobody_else(place: &impl Place) {
    let (a, b) = (place.replica().await, place.replica().await);
    let (_host, mut visits) = Host::of(&*b);
    let (slow, mut there) = line(&*a, &*b, &mut visits).await;
    let mut sent = 0u32;
    let moment = Duration::from_millis(500);
    while timeout(moment, slow.sender.send(sent.to_be_bytes().to_vec()))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "nothing holds it up");
    }
    assert!(sent >= u32::try_from(WAITING_MESSAGES).unwrap());
    let (quick, mut quick_there) = line(&*a, &*b, &mut visits).await;
    quick.sender.send(b"quick".to_vec()).await.unwrap();
    let heard = soon(quick_there.receiver.recv()).await;
    assert_eq!(heard.as_deref(), Some(&b"quick"[..]));
    drop(slow);
    for number in 0..sent {
        let heard = soon(there.receiver.recv()).await.unwrap();
        assert_eq!(heard, number.to_be_bytes());
    }
    assert_eq!(soon(there.receiver.recv()).await, None);
}

async fn an_end_that_is_dropped_is_noticed_at_the_other(place: &impl Place) {
    let (a, b) = (place.replica().await, place.replica().await);
    let (_host, mut visits) = Host::of(&*b);
    let (here, mut there) = line(&*a, &*b, &mut visits).await;
    drop(here);
    assert_eq!(soon(there.receiver.recv()).await, None);
    soon(there.sender.closed()).await;
    let (mut here, there) = line(&*a, &*b, &mut visits).await;
    there.sender.send(b"last".to_vec()).await.unwrap();
    drop(there);
    let heard = soon(here.receiver.recv()).await;
    assert_eq!(heard.as_deref(), Some(&b"last"[..]));
    assert_eq!(soon(here.receiver.recv()).await, None);
    soon(here.sender.closed()).await;
    // Half of it: who sends nothing more can still be told something.
    let (mut here, mut there) = line(&*a, &*b, &mut visits).await;
    drop(here.sender);
    assert_eq!(soon(there.receiver.recv()).await, None);
    there.sender.send(b"still".to_vec()).await.unwrap();
    let heard = soon(here.receiver.recv()).await;
    assert_eq!(heard.as_deref(), Some(&b"still"[..]));
}

async fn who_is_not_there_or_takes_nobody_is_not_met(place: &impl Place) {
    let (a, b) = (place.replica().await, place.replica().await);
    let open = async |name: &str, bytes: usize| {
        let opened = soon(a.open(name, vec![b'x'; bytes])).await;
        opened.map(drop).unwrap_err()
    };
    assert_eq!(open(b.replica(), 1).await, NotMet::Refused, "no host");
    assert_eq!(open("nobody", 1).await, NotMet::Gone);
    for bad in ["", "all", "*", ">", "a.b", "a b\r\n"] {
        assert_eq!(open(bad, 1).await, NotMet::Gone, "{bad:?}");
    }
    let (_host, mut visits) = Host::of(&*b);
    let too_long = LONGEST_GREETING + 1;
    assert_eq!(open(b.replica(), too_long).await, NotMet::TooLong);
    line(&*a, &*b, &mut visits).await;
    assert!(visits.try_recv().is_err(), "nobody else has come");
}

async fn the_one_who_is_looked_for_is_found_and_all_others_are_told(place: &impl Place) {
    let (a, b, c) = (
        place.replica().await,
        place.replica().await,
        place.replica().await,
    );
    let (at_a, at_b, at_c) = (Host::of(&*a).0, Host::of(&*b).0, Host::of(&*c).0);
    let find = async || soon(a.find(b"who?".to_vec())).await;
    assert_eq!(find().await, None);
    at_a.is_asked_for.store(true, Ordering::Relaxed);
    assert_eq!(find().await, None, "not oneself");
    at_c.is_asked_for.store(true, Ordering::Relaxed);
    assert_eq!(find().await.as_deref(), Some(c.replica()));
    assert_eq!(soon(a.find(b"what?".to_vec())).await, None);
    a.tell(b"news".to_vec());
    for host in [&at_b, &at_c] {
        until("the news", || *host.told.lock() == [b"news"]).await;
    }
    assert!(at_a.told.lock().is_empty());
}

/// What is sent while NATS is away for a moment arrives once it is back, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_outlives_a_lost_connection() {
    let mut server = Nats::start().await.unwrap();
    let (a, b) = (Place::replica(&server).await, Place::replica(&server).await);
    let (_host, mut visits) = Host::of(&*b);
    let (here, mut there) = line(&*a, &*b, &mut visits).await;
    server.server_mut().kill().await.unwrap();
    for number in 0..5u8 {
        here.sender.send(vec![number]).await.unwrap();
    }
    server.restart().await.unwrap();
    for number in 0..5u8 {
        let heard = soon(there.receiver.recv()).await;
        assert_eq!(heard, Some(vec![number]));
    }
    there.sender.send(b"back".to_vec()).await.unwrap();
    drop(here.sender);
    assert_eq!(soon(there.receiver.recv()).await, None);
}

/// A replica that is gone ends its lines, and is not met, within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_gone_is_noticed() {
    let server = Nats::start().await.unwrap();
    let settings = settings(&[server.login()]);
    let (a, b) = (connected(&settings).await, connected(&settings).await);
    let (_host, mut visits) = Host::of(&*b);
    let (mut here, _there) = line(&*a, &*b, &mut visits).await;
    let name = b.replica().to_owned();
    drop(b);
    assert_eq!(soon(here.receiver.recv()).await, None);
    soon(here.sender.closed()).await;
    let met = soon(a.open(&name, b"hello".to_vec())).await;
    assert_eq!(met.map(drop), Err(NotMet::Gone));
}

/// One whose connection is just back does not take another, which may come back a little later, for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_back_yet_is_not_taken_for_gone() {
    let mut server = Nats::start().await.unwrap();
    let settings = settings(&[server.login()]);
    let (a, b) = (connected(&settings).await, connected(&settings).await);
    let name = b.replica().to_owned();
    server.server_mut().kill().await.unwrap();
    until("the loss", || !is_connected(&*a)).await;
    // It never comes back, which nobody can know yet.
    drop(b);
    server.restart().await.unwrap();
    until("a connection", || is_connected(&*a)).await;
    let mut met = Vec::new();
    while met.last() != Some(&NotMet::Gone) {
        let not_met = soon(a.open(&name, b"hello".to_vec())).await.map(drop);
        met.push(not_met.unwrap_err());
    }
    assert_eq!(met[0], NotMet::Unreachable, "{met:?}");
}

/// Nobody waits for a connection that is known to be lost: it is said at once that a replica can't be
/// reached, and it is met again once the connection is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_without_a_connection_meets_nobody_and_knows_at_once() {
    let mut server = Nats::start().await.unwrap();
    let (a, b) = (Place::replica(&server).await, Place::replica(&server).await);
    let (_host, mut visits) = Host::of(&*b);
    server.server_mut().kill().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let begun = tokio::time::Instant::now();
    let met = a.open(b.replica(), b"hello".to_vec()).await;
    assert_eq!(met.map(drop), Err(NotMet::Unreachable));
    assert!(begun.elapsed() < Duration::from_millis(500));
    // One that is back in a moment is waited for.
    let (met, ()) = tokio::join!(
        async {
            loop {
                if let Ok(line) = a.open(b.replica(), b"hello".to_vec()).await {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        },
        async { server.restart().await.unwrap() }
    );
    let (_, there) = soon(visits.recv()).await.unwrap();
    assert_eq!(met.id, there.id);
}
