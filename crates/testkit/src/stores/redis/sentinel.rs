//! A Redis with a replica, watched by three Sentinels that make the replica a master when it is lost.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use super::{
    CertificateFiles, Certificates, Folder, Launch, Login, Options, PASSWORD, Redis, Server,
    StoreError, USER, ports, tls, tool,
};

/// How many Sentinels there are, and how many must miss the master.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// The name of the master, as clients ask for it.
const MASTER: &str = "gateway";
/// How long all may take to know each other.
const KNOWN: Duration = Duration::from_secs(30);
/// How long a failover may take.
const FAILED_OVER: Duration = Duration::from_secs(30);

/// A running master, its replica and three Sentinels, which trust one authority.
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    nodes: Vec<Redis>,
}

struct Sentinel {
    server: Server,
    login: Login,
    _folder: Folder,
}

impl Sentinels {
    /// A new group; each Sentinel knows the replica and the other Sentinels.
    pub async fn start() -> Result<Self, StoreError> {
        let certificates = Certificates::new()?;
        let master = Redis::of(&certificates, &Options::default()).await?;
        let address = master.login().address;
        let replica = Options {
            settings: vec![format!("replicaof {} {}", address.ip(), address.port())],
            ..Options::default()
        };
        let replica = Redis::of(&certificates, &replica).await?;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(start(&certificates, address).await?);
        }
        let group = Self {
            sentinels,
            nodes: vec![master, replica],
        };
        group.all_known().await?;
        Ok(group)
    }

    async fn all_known(&self) -> Result<(), StoreError> {
        for sentinel in &self.sentinels {
            tool::until("that the Sentinels know all", KNOWN, async || {
                let answer = sentinel.login.ask(&["SENTINEL", "MASTER", MASTER]).await?;
                let replicas = field(&answer, "num-slaves") == Some("1");
                let others = field(&answer, "num-other-sentinels") == Some("2");
                if replicas && others && field(&answer, "flags") == Some("master") {
                    return Ok(());
                }
                Err(StoreError::Tool {
                    program: "SENTINEL MASTER".to_owned(),
                    output: answer,
                })
            })
            .await?;
        }
        tool::until("the replica's link", KNOWN, async || {
            let answer = self.nodes[1].login().ask(&["INFO", "replication"]).await?;
            if answer.contains("master_link_status:up") {
                return Ok(());
            }
            Err(StoreError::Tool {
                program: "INFO replication".to_owned(),
                output: answer,
            })
        })
        .await
    }

    /// The name of the master, as clients ask the Sentinels for it.
    pub fn name(&self) -> &'static str {
        MASTER
    }

    /// How the Sentinels are reached; user and password are the same at the nodes.
    pub fn logins(&self) -> Vec<Login> {
        let logins = self.sentinels.iter().map(|sentinel| sentinel.login.clone());
        logins.collect()
    }

    /// The Redis that began as master, and the one that began as its replica.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// One of these, to do something to it.
    pub fn node_mut(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }

    /// A Sentinel, to do something to it.
    pub fn sentinel_mut(&mut self, index: usize) -> &mut Server {
        &mut self.sentinels[index].server
    }

    /// Who is master, as the first Sentinel that answers says.
    pub async fn master(&self) -> Result<SocketAddr, StoreError> {
        let mut last = None;
        for sentinel in &self.sentinels {
            let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
            match sentinel.login.ask(&command).await {
                Ok(answer) => {
                    let address = answer.replace('\n', ":");
                    match address.parse() {
                        Ok(address) => return Ok(address),
                        Err(_) => last = Some(answer),
                    }
                }
                Err(error) => last = Some(error.to_string()),
            }
        }
        Err(StoreError::Tool {
            program: "SENTINEL GET-MASTER-ADDR-BY-NAME".to_owned(),
            output: last.unwrap_or_default(),
        })
    }

    /// Waits until this node is the master for the Sentinels and for itself.
    pub async fn failed_over_to(&self, index: usize) -> Result<(), StoreError> {
        let login = self.nodes[index].login();
        tool::until("the failover", FAILED_OVER, async || {
            let master = self.master().await?;
            let role = login.ask(&["ROLE"]).await?;
            if master == login.address && role.starts_with("master") {
                return Ok(());
            }
            Err(StoreError::Tool {
                program: "SENTINEL".to_owned(),
                output: format!("master {master}, {} is {role}", login.address),
            })
        })
        .await
    }
}

async fn start(certificates: &Certificates, master: SocketAddr) -> Result<Sentinel, StoreError> {
    let folder = Folder::new("sentinel")?;
    let files = certificates.write(&folder)?;
    let server =
        ports::on_a_free_port(async |address| launch(&folder, &files, address, master).await)
            .await?;
    let login = Login {
        address: server.address(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        authority: files.authority,
        certificate: None,
        cli: tool::find("redis-cli", &[], "redis-tools")?,
    };
    Ok(Sentinel {
        server,
        login,
        _folder: folder,
    })
}

async fn launch(
    folder: &Folder,
    files: &CertificateFiles,
    address: SocketAddr,
    master: SocketAddr,
) -> Result<Server, StoreError> {
    let mut text = tls(files, address, false);
    let (ip, port) = (master.ip(), master.port());
    let _ = write!(
        text,
        "user {USER} on >{PASSWORD} ~* &* +@all\n\
         sentinel sentinel-user {USER}\n\
         sentinel sentinel-pass {PASSWORD}\n\
         sentinel monitor {MASTER} {ip} {port} {QUORUM}\n\
         sentinel auth-user {MASTER} {USER}\n\
         sentinel auth-pass {MASTER} {PASSWORD}\n\
         sentinel down-after-milliseconds {MASTER} 1000\n\
         sentinel failover-timeout {MASTER} 5000\n"
    );
    // A Sentinel writes what it has learned into its configuration.
    let file = folder.write("sentinel.conf", &text)?;
    Server::start(Launch {
        program: tool::find("redis-sentinel", &[], "redis-sentinel")?,
        arguments: vec![file.into()],
        folder: folder.path().to_owned(),
        account: folder.account,
        address,
        ending: Signal::SIGTERM,
        abandoning: Signal::SIGTERM,
        ready: "+monitor master",
    })
    .await
}

/// A field of an answer that is names and values in turn, a line each.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.lines();
    while let (Some(found), Some(value)) = (lines.next(), lines.next()) {
        if found == name {
            return Some(value);
        }
    }
    None
}
