//! A private PgBouncer in front of a PostgreSQL: TLS on both sides, SCRAM, a server connection for as
//! long as a transaction takes.
//!
//! Debian's 1.18 keeps no prepared statements of the protocol in this mode, and what `set` has set is
//! left to the next client. That is what a gateway must live with.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;

use super::{
    PASSWORD, Postgres, StoreError,
    certificates::{CertificateFiles, Certificates},
    folder::Folder,
    ports,
    postgres::Login,
    server::{Launch, Server},
    tool,
};

/// How long it may take from the first line of the log to the first answer.
const ANSWERS: Duration = Duration::from_secs(10);
/// Connections to the server, for each database and role: few, so that clients do share them.
const POOL: usize = 4;
/// How many seconds a client waits for one of these, also for a server that is away: by default two
/// minutes, longer than any call has.
const WAIT: u64 = 3;

/// A running PgBouncer; dropping it ends it. The PostgreSQL behind may be lost and come back.
pub struct PgBouncer {
    // Before the folder: a server ends before its files go.
    server: Server,
    admin: Login,
    _folder: Folder,
}

impl PgBouncer {
    /// A new one in front of `postgres`, for all of its databases and roles, also later ones.
    pub async fn start(postgres: &Postgres) -> Result<Self, StoreError> {
        let behind = postgres.admin();
        Self::start_before(behind, behind.address).await
    }

    /// The same, reaching the server of `behind` at `address`, for example through a
    /// [`Fault`](super::Fault).
    pub async fn start_before(behind: &Login, address: SocketAddr) -> Result<Self, StoreError> {
        let folder = Folder::new("pgbouncer")?;
        let files = Certificates::new()?.write(&folder)?;
        let trusted = std::fs::read_to_string(&behind.authority);
        let trusted = trusted.map_err(|source| StoreError::File {
            path: behind.authority.clone(),
            source,
        })?;
        folder.write("postgres-authority.pem", &trusted)?;
        // Only this one is here; it asks PostgreSQL for the secrets of all others.
        folder.write(
            "users.txt",
            &format!("\"{}\" \"{}\"\n", behind.user, behind.password),
        )?;
        let server = ports::on_a_free_port(async |own| {
            launch(&folder, &files, own, address, &behind.user).await
        })
        .await?;
        let admin = Login {
            authority: files.authority,
            password: PASSWORD.to_owned(),
            ..behind.at(server.address())
        };
        let bouncer = Self {
            server,
            admin,
            _folder: folder,
        };
        bouncer.answers().await?;
        Ok(bouncer)
    }

    async fn answers(&self) -> Result<(), StoreError> {
        let asked = tool::until("an answer of PgBouncer", ANSWERS, async || {
            self.admin.sql("select 1").await
        });
        asked.await.map(drop)
    }

    /// The way of `login` through this: its role and database, the address and authority of this.
    pub fn login(&self, login: &Login) -> Login {
        Login {
            authority: self.admin.authority.clone(),
            ..login.at(self.admin.address)
        }
    }

    /// The administrator's login at its own console, for `show pools` and the like.
    pub fn console(&self) -> Login {
        self.admin.database("pgbouncer")
    }

    /// Its process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its process, to do something to it.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Starts it again on the same port; waits until it answers.
    pub async fn restart(&mut self) -> Result<(), StoreError> {
        self.server.restart().await?;
        self.answers().await
    }
}

async fn launch(
    folder: &Folder,
    files: &CertificateFiles,
    own: SocketAddr,
    behind: SocketAddr,
    admin: &str,
) -> Result<Server, StoreError> {
    let text = configuration(files, own, behind, admin);
    let file = folder.write("pgbouncer.ini", &text)?;
    Server::start(Launch {
        program: tool::find("pgbouncer", &[], "pgbouncer")?,
        arguments: vec![file.into()],
        folder: folder.path().to_owned(),
        account: folder.account,
        address: own,
        // SIGINT would wait for clients.
        ending: Signal::SIGTERM,
        abandoning: Signal::SIGTERM,
        ready: "process up",
    })
    .await
}

fn configuration(
    files: &CertificateFiles,
    own: SocketAddr,
    behind: SocketAddr,
    admin: &str,
) -> String {
    format!(
        "[databases]\n\
         * = host={} port={}\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {}\n\
         unix_socket_dir =\n\
         pool_mode = transaction\n\
         default_pool_size = {POOL}\n\
         max_client_conn = 400\n\
         auth_type = scram-sha-256\n\
         auth_file = users.txt\n\
         auth_user = {admin}\n\
         admin_users = {admin}\n\
         ignore_startup_parameters = extra_float_digits\n\
         client_tls_sslmode = require\n\
         client_tls_ca_file = {authority}\n\
         client_tls_cert_file = {}\n\
         client_tls_key_file = {}\n\
         server_tls_sslmode = verify-full\n\
         server_tls_ca_file = postgres-authority.pem\n\
         server_login_retry = 1\n\
         query_wait_timeout = {WAIT}\n",
        behind.ip(),
        behind.port(),
        own.ip(),
        own.port(),
        files.server.display(),
        files.server_key.display(),
        authority = files.authority.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Certificates, Folder, StoreError, launch};

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let folder = Folder::new("pgbouncer").expect("a folder");
        let files = Certificates::new().and_then(|made| made.write(&folder));
        for (name, content) in [("users.txt", ""), ("postgres-authority.pem", "")] {
            folder.write(name, content).expect("written");
        }
        let files = files.expect("certificates");
        let started = launch(&folder, &files, address, address, "admin").await;
        assert!(matches!(started, Err(StoreError::PortTaken(_))));
    }
}
