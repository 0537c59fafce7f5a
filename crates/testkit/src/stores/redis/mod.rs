//! A private Redis: TLS alone, a user of an access list in place of the default one. Also as a
//! [`Cluster`] of three nodes, and as a master with a replica under [`Sentinels`].

mod cluster;
mod login;
mod sentinel;

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use super::{
    PASSWORD, StoreError,
    certificates::{CertificateFiles, Certificates},
    folder::Folder,
    ports,
    server::{Launch, Server},
    tool,
};
pub use cluster::Cluster;
pub use login::Login;
pub use sentinel::Sentinels;

/// The user that everything is allowed to.
const USER: &str = "admin";
/// How long it may take from the first line of the log to the first answer.
const ANSWERS: Duration = Duration::from_secs(10);

/// A running Redis; dropping it ends it and removes its data.
pub struct Redis {
    // Before the folder: a server ends before its data goes.
    server: Server,
    login: Login,
    _folder: Folder,
}

/// What may differ from one server to another.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lines of `redis.conf`.
    pub settings: Vec<String>,
    /// Whether clients have to show a certificate of the same authority.
    pub client_certificates: bool,
    /// Whether what was written is there again after a restart (AOF).
    pub durable: bool,
}

impl Redis {
    /// A new one.
    pub async fn start() -> Result<Self, StoreError> {
        Self::start_with(&Options::default()).await
    }

    /// A new one with other settings.
    pub async fn start_with(options: &Options) -> Result<Self, StoreError> {
        Self::of(&Certificates::new()?, options).await
    }

    async fn of(certificates: &Certificates, options: &Options) -> Result<Self, StoreError> {
        let folder = Folder::new("redis")?;
        let files = certificates.write(&folder)?;
        let server =
            ports::on_a_free_port(async |address| launch(&folder, &files, address, options).await)
                .await?;
        let redis = Self {
            login: Login {
                address: server.address(),
                user: USER.to_owned(),
                password: PASSWORD.to_owned(),
                authority: files.authority,
                certificate: options
                    .client_certificates
                    .then_some((files.client, files.client_key)),
                cli: tool::find("redis-cli", &[], "redis-tools")?,
            },
            server,
            _folder: folder,
        };
        redis.answers().await?;
        Ok(redis)
    }

    async fn answers(&self) -> Result<(), StoreError> {
        tool::until("an answer of Redis", ANSWERS, async || {
            self.login.expect(&["PING"], "PONG").await
        })
        .await
    }

    /// The user that everything is allowed to.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Its process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its process, to do something to it.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Starts it again on the same port with the same data; waits until it answers.
    pub async fn restart(&mut self) -> Result<(), StoreError> {
        self.server.restart().await?;
        self.answers().await
    }
}

async fn launch(
    folder: &Folder,
    files: &CertificateFiles,
    address: SocketAddr,
    options: &Options,
) -> Result<Server, StoreError> {
    let mut text = tls(files, address, options.client_certificates);
    let append = if options.durable { "yes" } else { "no" };
    let _ = writeln!(text, "save \"\"\nappendonly {append}\nappendfsync always");
    let _ = writeln!(text, "user {USER} on >{PASSWORD} ~* &* +@all");
    // A replica is served at once; by default a master waits five seconds for others.
    let _ = writeln!(text, "repl-diskless-sync-delay 0");
    let _ = writeln!(text, "masteruser {USER}\nmasterauth {PASSWORD}");
    for line in &options.settings {
        let _ = writeln!(text, "{line}");
    }
    let file = folder.write("redis.conf", &text)?;
    Server::start(Launch {
        program: tool::find("redis-server", &[], "redis-server")?,
        arguments: vec![file.into()],
        folder: folder.path().to_owned(),
        account: folder.account,
        address,
        ending: Signal::SIGTERM,
        abandoning: Signal::SIGTERM,
        ready: "Ready to accept connections",
    })
    .await
}

/// What a Redis and a Sentinel have in common: TLS alone, no default user, all in one folder.
fn tls(files: &CertificateFiles, address: SocketAddr, client_certificates: bool) -> String {
    let clients = if client_certificates { "yes" } else { "no" };
    format!(
        "bind {}\n\
         port 0\n\
         tls-port {}\n\
         tls-cert-file {}\n\
         tls-key-file {}\n\
         tls-ca-cert-file {}\n\
         tls-auth-clients {clients}\n\
         tls-replication yes\n\
         daemonize no\n\
         logfile \"\"\n\
         dir .\n\
         user default off\n",
        address.ip(),
        address.port(),
        files.server.display(),
        files.server_key.display(),
        files.authority.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Certificates, Folder, Options, StoreError, launch};

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let folder = Folder::new("redis").expect("a folder");
        let files = Certificates::new().and_then(|made| made.write(&folder));
        let files = files.expect("certificates");
        let started = launch(&folder, &files, address, &Options::default()).await;
        assert!(matches!(started, Err(StoreError::PortTaken(_))));
    }
}
