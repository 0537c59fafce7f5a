//! A network that breaks: a proxy for bytes in front of one address, which delays, swallows, ends and
//! resets what passes through it, as it is told and when; and counts how often anything is asked.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{StoreError, ports};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// How many of these wait in each direction of a connection; beyond, nothing is read.
const CHUNKS: usize = 64;
/// How long the proxy may take to do what it is told.
const DONE: Duration = Duration::from_secs(10);
/// Between two attempts to listen or to reach what is behind.
const POLL: Duration = Duration::from_millis(20);

/// A proxy in front of one address. It starts out as a network that works. It has a thread of its own,
/// so that it also works while a test blocks; dropping it ends all that passes through.
pub struct Fault {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<(Order, std_mpsc::Sender<()>)>,
    asked: Arc<AtomicUsize>,
}

/// What the proxy is told.
#[derive(Clone, Copy)]
enum Order {
    Pass(Passing),
    Cut,
    Reset,
}

/// How bytes pass.
#[derive(Clone, Copy)]
enum Passing {
    After(Duration),
    Never,
}

/// How a connection ends before its time.
#[derive(Clone, Copy, PartialEq)]
enum End {
    NotYet,
    Closed,
    Reset,
}

impl Fault {
    /// A proxy on a free port of 127.0.0.1 in front of `target`.
    pub fn before(target: SocketAddr) -> Result<Self, StoreError> {
        let (orders, received) = mpsc::unbounded_channel();
        let (listening, listens) = std_mpsc::channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let started = thread::Builder::new().name("fault".to_owned());
        let started = started.spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(target, received, &listening, counted)),
                // Whoever waits for the address gets the error.
                Err(error) => drop(listening.send(Err(error))),
            }
        });
        let address = started.and_then(|_| {
            let listens = listens.recv_timeout(DONE);
            listens.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        });
        let address = address.map_err(|source| StoreError::File {
            path: PathBuf::from("a port of a proxy"),
            source,
        })?;
        Ok(Self {
            address,
            orders,
            asked,
        })
    }

    /// How often clients have sent anything, on all connections: what is sent at once counts once.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes arrive this much later, in each direction, also on connections that are there.
    pub fn slow(&self, delay: Duration) {
        self.order(Order::Pass(Passing::After(delay)));
    }

    /// Nothing passes any more and nobody is told, as with a cable that is cut: connections stay, and new
    /// ones are accepted. What was sent meanwhile arrives after [`heal`](Self::heal), as TCP has it.
    pub fn lost(&self) {
        self.order(Order::Pass(Passing::Never));
    }

    /// Closes all connections and refuses new ones, as with a server that is not there.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Resets all connections on both sides (RST). New ones pass.
    pub fn reset(&self) {
        self.order(Order::Reset);
    }

    /// All passes again, without a delay.
    pub fn heal(&self) {
        self.order(Order::Pass(Passing::After(Duration::ZERO)));
    }

    /// Returns when it is done, so that what a test does next meets the new state.
    fn order(&self, order: Order) {
        let (done, is_done) = std_mpsc::channel();
        // Without its thread the proxy is a network that is cut; a test will see that.
        let _ = self.orders.send((order, done));
        let _ = is_done.recv_timeout(DONE);
    }
}

/// What a connection is told: how bytes pass, and when it is over.
#[derive(Clone)]
struct Told {
    passing: watch::Receiver<Passing>,
    end: watch::Receiver<End>,
    asked: Arc<AtomicUsize>,
}

async fn serve(
    target: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<(Order, std_mpsc::Sender<()>)>,
    listening: &std_mpsc::Sender<io::Result<SocketAddr>>,
    asked: Arc<AtomicUsize>,
) {
    let (address, mut listener) = match listen().await {
        Ok((address, listener)) => (address, Some(listener)),
        Err(error) => return drop(listening.send(Err(error))),
    };
    // Nobody waits for it only if the test is over.
    let _ = listening.send(Ok(address));
    let (passing, passing_told) = watch::channel(Passing::After(Duration::ZERO));
    let mut end = watch::channel(End::NotYet).0;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                match order {
                    Order::Pass(how) => {
                        passing.send_replace(how);
                        if listener.is_none() {
                            listener = listen_again(address).await;
                        }
                    }
                    Order::Cut | Order::Reset => {
                        let reset = matches!(order, Order::Reset);
                        if !reset {
                            listener = None;
                        }
                        end.send_replace(if reset { End::Reset } else { End::Closed });
                        while connections.join_next().await.is_some() {}
                        end = watch::channel(End::NotYet).0;
                        passing.send_replace(Passing::After(Duration::ZERO));
                    }
                }
                // A test that no longer waits needs no answer.
                let _ = done.send(());
            }
            client = accepted(listener.as_ref()) => {
                let told = Told {
                    passing: passing_told.clone(),
                    end: end.subscribe(),
                    asked: asked.clone(),
                };
                connections.spawn(connection(client, target, told));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn listen() -> io::Result<(SocketAddr, TcpListener)> {
    loop {
        let address = ports::free_address();
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok((address, listener)),
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// The port may be held for a moment by what was just closed.
async fn listen_again(address: SocketAddr) -> Option<TcpListener> {
    let until = Instant::now() + DONE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(_) if Instant::now() < until => sleep(POLL).await,
            Err(_) => return None,
        }
    }
}

async fn accepted(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Carries one connection until both sides have ended it, or it is ended.
async fn connection(mut client: TcpStream, target: SocketAddr, told: Told) {
    let Told {
        passing,
        mut end,
        asked,
    } = told;
    let counts = || {
        asked.fetch_add(1, Ordering::SeqCst);
    };
    let server = tokio::select! {
        server = reach(target, passing.clone()) => Ok(server),
        how = ended(&mut end) => Err(how),
    };
    let mut server = match server {
        Ok(Some(server)) => server,
        Ok(None) => return,
        Err(how) => return close(how, &[client]),
    };
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        tokio::join!(
            carry(from_client, to_server, passing.clone(), counts),
            carry(from_server, to_client, passing.clone(), || ()),
        );
        End::NotYet
    };
    let how = tokio::select! {
        how = both => how,
        how = ended(&mut end) => how,
    };
    close(how, &[client, server]);
}

/// The connection behind, once bytes pass at all.
async fn reach(target: SocketAddr, mut passing: watch::Receiver<Passing>) -> Option<TcpStream> {
    passes(&mut passing).await?;
    let server = TcpStream::connect(target).await.ok()?;
    let _ = server.set_nodelay(true);
    Some(server)
}

/// Passes on what comes from one side, when it is due. A side that has ended its half is told on.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    passing: watch::Receiver<Passing>,
    counts: impl Fn(),
) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let mut told = passing.clone();
    let read = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let Ok(1..) = from.read_buf(&mut chunk).await else {
                return;
            };
            counts();
            let delay = match *passing.borrow() {
                Passing::After(delay) => delay,
                Passing::Never => Duration::ZERO,
            };
            if queue.send((Instant::now() + delay, chunk)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            passes(&mut told).await?;
            to.write_all(&chunk).await.ok()?;
        }
        passes(&mut told).await?;
        to.shutdown().await.ok()
    };
    tokio::select! {
        // What was read is still written, so that only the writer ends both.
        _ = write => {}
        () = async { read.await; std::future::pending().await } => {}
    }
}

/// Waits until bytes pass; `None` when the proxy is gone.
async fn passes(passing: &mut watch::Receiver<Passing>) -> Option<()> {
    let passes = |how: &Passing| matches!(how, Passing::After(_));
    passing.wait_for(passes).await.ok().map(drop)
}

async fn ended(end: &mut watch::Receiver<End>) -> End {
    match end.wait_for(|end| *end != End::NotYet).await {
        Ok(how) => *how,
        Err(_) => End::Closed,
    }
}

/// Closes sockets by being dropped; one that does not linger sends RST.
fn close(how: End, sockets: &[TcpStream]) {
    if how == End::Reset {
        for socket in sockets {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}
