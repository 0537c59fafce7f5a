//! `haproxy` in front of the replicas: round robin, no affinity, `/readyz` asked all the time.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::stores::{
    Server, StoreError,
    private::{Folder, Launch, on_a_free_port},
    tool,
};

/// How many replicas there can be.
const SLOTS: usize = 8;
/// How long the balancer may take to use what it is told to.
const LIMIT: Duration = Duration::from_secs(10);
/// The socket that it is told by.
const SOCKET: &str = "haproxy.sock";

pub(super) struct Balancer {
    // Before the folder: it ends before its files go.
    server: Server,
    folder: Folder,
    /// The replica of each of its servers.
    slots: [Option<SocketAddr>; SLOTS],
}

impl Balancer {
    /// A new one in front of nothing.
    pub(super) async fn start() -> Result<Self, StoreError> {
        let folder = Folder::new("haproxy")?;
        let server = on_a_free_port(async |own| {
            let file = folder.write("haproxy.cfg", &configuration(&folder, own))?;
            Server::start(Launch {
                program: tool::find("haproxy", &[], "haproxy")?,
                arguments: vec!["-V".into(), "-db".into(), "-f".into(), file.into()],
                folder: folder.path().to_owned(),
                account: folder.account,
                address: own,
                // SIGUSR1 would wait for clients.
                ending: Signal::SIGTERM,
                abandoning: Signal::SIGTERM,
                ready: "Using epoll() as the polling mechanism",
            })
            .await
        })
        .await?;
        let balancer = Self {
            server,
            folder,
            slots: [None; SLOTS],
        };
        // It says that it serves before it has this.
        let answers = async || balancer.told("show info").await;
        tool::until("the socket of the balancer", LIMIT, answers).await?;
        Ok(balancer)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Passes requests on to these, and to no others. Waits until it does.
    pub(super) async fn use_only(&mut self, replicas: &[SocketAddr]) -> Result<(), StoreError> {
        // Each stays in its place: one that serves already is never out of use.
        for slot in &mut self.slots {
            slot.take_if(|at| !replicas.contains(at));
        }
        for replica in replicas {
            let is_there = self.slots.contains(&Some(*replica));
            if let Some(free) = self
                .slots
                .iter_mut()
                .find(|slot| !is_there && slot.is_none())
            {
                *free = Some(*replica);
            }
        }
        let commands = self.slots.iter().enumerate().map(|(number, at)| {
            let set = format!("set server fleet/r{number}");
            match at {
                Some(at) => format!(
                    "{set} addr {} port {};{set} state ready",
                    at.ip(),
                    at.port()
                ),
                None => format!("{set} state maint"),
            }
        });
        self.told(&commands.collect::<Vec<_>>().join(";")).await?;
        tool::until("the balancer uses all replicas", LIMIT, async || {
            let state = self.told("show stat -1 4 -1").await?;
            let up = state.lines().filter(|line| line.contains(",UP,")).count();
            if up == replicas.len() {
                return Ok(());
            }
            Err(StoreError::Tool {
                program: "haproxy".to_owned(),
                output: state,
            })
        })
        .await
    }

    /// What it says to commands of its socket.
    async fn told(&self, commands: &str) -> Result<String, StoreError> {
        let path = self.folder.path().join(SOCKET);
        let told = async {
            let mut stream = UnixStream::connect(&path).await?;
            stream.write_all(format!("{commands}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        told.await.map_err(|source| StoreError::File {
            path: path.clone(),
            source,
        })
    }
}

fn configuration(folder: &Folder, own: SocketAddr) -> String {
    let socket = folder.path().join(SOCKET);
    let text = format!(
        "global\n\
         \x20 stats socket {} mode 600 level admin\n\
         \x20 maxconn 4000\n\
         defaults\n\
         \x20 mode http\n\
         \x20 timeout connect 1s\n\
         \x20 timeout client 1h\n\
         \x20 timeout server 1h\n\
         \x20 timeout check 1s\n\
         \x20 option abortonclose\n\
         \x20 option redispatch 1\n\
         \x20 retries 3\n\
         frontend clients\n\
         \x20 bind {own}\n\
         \x20 default_backend fleet\n\
         backend fleet\n\
         \x20 balance roundrobin\n\
         \x20 http-reuse always\n\
         \x20 option httpchk GET /readyz\n\
         \x20 default-server check inter 100ms fall 1 rise 1\n",
        socket.display()
    );
    let slots = (0..SLOTS).map(|slot| format!("  server r{slot} 127.0.0.1:9 disabled\n"));
    text + &slots.collect::<String>()
}
