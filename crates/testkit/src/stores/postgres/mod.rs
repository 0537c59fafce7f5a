//! A private PostgreSQL: TLS alone, SCRAM, page checksums, an administrator and a role that owns
//! nothing.
//!
//! [`Postgres::shared`] is one server for all tests of a process, each with a
//! [`database`](Postgres::database) of its own; [`Postgres::start`] is one that a test may kill.
//! Roles belong to the whole server: name those of a test after its database.

mod installation;
mod login;
mod settings;
mod standby;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::{
    PASSWORD, StoreError,
    certificates::{CertificateFiles, Certificates},
    folder::Folder,
    ports,
    server::{Launch, Server},
    tool,
};
use installation::Installation;
pub use login::Login;
pub use settings::Options;

/// The administrator, a superuser: no row-level security holds them back.
const ADMIN: &str = "admin";
/// A role without any rights but those of everybody.
const GUEST: &str = "guest";
/// How long it may take from the first line of the log to the first answer.
const ANSWERS: Duration = Duration::from_secs(20);

/// A running PostgreSQL; dropping it ends it and removes its data.
pub struct Postgres {
    // Before the folder: a server ends before its data goes.
    server: Server,
    admin: Login,
    installation: Installation,
    certificates: Certificates,
    folder: Folder,
}

impl Postgres {
    /// The one that all tests of this process share. It ends with the process.
    pub async fn shared() -> Result<&'static Self, StoreError> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// A new one of the caller's own.
    pub async fn start() -> Result<Self, StoreError> {
        Self::start_with(&Options::default()).await
    }

    /// A new one with other settings.
    pub async fn start_with(options: &Options) -> Result<Self, StoreError> {
        let installation = Installation::find()?;
        let folder = Folder::new("postgres")?;
        let certificates = Certificates::new()?;
        let files = certificates.write(&folder)?;
        installation.create(&folder).await?;
        let server = ports::on_a_free_port(async |address| {
            launch(&installation, &folder, &files, options, address).await
        })
        .await?;
        let admin = Login {
            address: server.address(),
            user: ADMIN.to_owned(),
            password: PASSWORD.to_owned(),
            database: "postgres".to_owned(),
            authority: files.authority,
            psql: installation.program("psql"),
        };
        let postgres = Self {
            server,
            admin,
            installation,
            certificates,
            folder,
        };
        postgres.answers().await?;
        let guest = format!("create role {GUEST} login password '{PASSWORD}'");
        postgres.admin.sql(&guest).await?;
        Ok(postgres)
    }

    /// Waits until it answers its administrator.
    async fn answers(&self) -> Result<(), StoreError> {
        let asked = tool::until("an answer of PostgreSQL", ANSWERS, async || {
            self.admin.sql("select 1").await
        });
        asked.await.map(drop)
    }

    /// The administrator in the database `postgres`. Tests on a shared server leave that one alone.
    pub fn admin(&self) -> &Login {
        &self.admin
    }

    /// A role that owns nothing and is held back by row-level security, in the same database.
    pub fn guest(&self) -> Login {
        self.admin.user(GUEST, PASSWORD)
    }

    /// A new, empty database; its administrator's login. Nobody removes it before the server ends.
    pub async fn database(&self) -> Result<Login, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Nobody may connect to template0, so that many can copy it at once.
        self.admin
            .sql(&format!("create database {name} template template0"))
            .await?;
        Ok(self.admin.database(&name))
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

impl Drop for Postgres {
    fn drop(&mut self) {
        if !self.server.runs() {
            installation::remove_shared_memory(&self.folder.file("data"));
        }
    }
}

/// Starts a server on what is in `data` of its folder.
async fn launch(
    installation: &Installation,
    folder: &Folder,
    files: &CertificateFiles,
    options: &Options,
    address: SocketAddr,
) -> Result<Server, StoreError> {
    folder.write("data/pg_hba.conf", settings::CLIENTS)?;
    folder.write(
        "data/postgresql.conf",
        &settings::of(files, options, address),
    )?;
    Server::start(Launch {
        program: installation.program("postgres"),
        arguments: vec!["-D".into(), folder.file("data").into()],
        folder: folder.path().to_owned(),
        account: folder.account,
        address,
        // The "fast" shutdown: sessions are ended, then all is written.
        ending: Signal::SIGINT,
        // The "immediate" one: nothing is written.
        abandoning: Signal::SIGQUIT,
        ready: "database system is ready to accept",
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::{Certificates, Folder, Installation, Options, StoreError, launch};

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let folder = Folder::new("postgres").expect("a folder");
        let files = Certificates::new().and_then(|made| made.write(&folder));
        let files = files.expect("certificates");
        let programs = Installation::find().expect("PostgreSQL");
        programs.create(&folder).await.expect("a data folder");
        let options = Options::default();
        let started = launch(&programs, &folder, &files, &options, address).await;
        assert!(matches!(started, Err(StoreError::PortTaken(_))));
    }
}
