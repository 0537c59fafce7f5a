//! A private NATS: TLS alone, one user with a password and one with a key, JetStream in a folder of its own. Also as a [`Cluster`] of
//! three, whose routes are TLS with certificates on both sides.

mod cluster;
mod login;
mod nkey;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    PASSWORD, StoreError,
    certificates::{CertificateFiles, Certificates},
    folder::Folder,
    ports,
    server::{Launch, Server},
    tool,
};
use crate::raw::Client;
pub use cluster::Cluster;
pub use login::{Connection, Login};
pub use nkey::NKey;

/// The user.
const USER: &str = "gateway";
/// The file of what it is configured with.
const CONFIGURATION: &str = "nats.conf";
/// How long it may take from the first line of the log to the first answer.
const ANSWERS: Duration = Duration::from_secs(10);

/// A running NATS; dropping it ends it and removes its data.
pub struct Nats {
    // Before the folder: a server ends before its data goes.
    server: Server,
    login: Login,
    nkey: Arc<NKey>,
    monitor: SocketAddr,
    folder: Folder,
}

/// What may differ from one server to another.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether clients have to show a certificate of the same authority.
    pub client_certificates: bool,
}

/// What a node of a cluster has more than one alone.
struct Node<'a> {
    name: &'a str,
    routes: SocketAddr,
    all_routes: &'a [SocketAddr],
}

impl Nats {
    /// A new one, alone.
    pub async fn start() -> Result<Self, StoreError> {
        Self::start_with(&Options::default()).await
    }

    /// A new one, alone, with other settings.
    pub async fn start_with(options: &Options) -> Result<Self, StoreError> {
        let (certificates, nkey) = (Certificates::new()?, Arc::new(NKey::new()?));
        let nats = Self::of(&certificates, &nkey, options, None).await?;
        nats.answers().await?;
        Ok(nats)
    }

    async fn of(
        certificates: &Certificates,
        nkey: &Arc<NKey>,
        options: &Options,
        node: Option<&Node<'_>>,
    ) -> Result<Self, StoreError> {
        let folder = Folder::new("nats")?;
        let files = certificates.write(&folder)?;
        folder.folder("jetstream")?;
        let (server, monitor) = ports::on_a_free_port(async |address| {
            let monitor = ports::free_address();
            let server = launch(&folder, &files, nkey, [address, monitor], options, node).await?;
            Ok((server, monitor))
        })
        .await?;
        Ok(Self {
            login: Login {
                address: server.address(),
                user: USER.to_owned(),
                password: PASSWORD.to_owned(),
                authority: files.authority,
                certificate: options
                    .client_certificates
                    .then_some((files.client, files.client_key)),
            },
            server,
            nkey: Arc::clone(nkey),
            monitor,
            folder,
        })
    }

    /// Waits until its user can log in and JetStream answers.
    async fn answers(&self) -> Result<(), StoreError> {
        tool::until("an answer of JetStream", ANSWERS, async || {
            let mut connection = self.login.connect().await?;
            let answer = connection.request("$JS.API.INFO", "").await?;
            if answer["error"].is_null() {
                return Ok(());
            }
            Err(StoreError::Tool {
                program: "JetStream".to_owned(),
                output: answer.to_string(),
            })
        })
        .await
    }

    /// The key of its other user.
    pub fn nkey(&self) -> &NKey {
        &self.nkey
    }

    /// Its user with a password.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// What it says of itself on a path of its monitoring port, for example `/jsz`.
    pub async fn monitor(&self, path: &str) -> Result<Value, StoreError> {
        let failed = |output: String| StoreError::Tool {
            program: format!("GET {path} of NATS"),
            output,
        };
        let client = Client::new(format!("http://{}{path}", self.monitor));
        let answer = client.request(Method::GET, HeaderMap::new(), Bytes::new());
        let answer = answer.await.map_err(|error| failed(error.to_string()))?;
        let text = answer.text().await;
        let text = text.map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|_| failed(text))
    }

    /// Its process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its process, to do something to it.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Gives its user another password. It ends the connections that were made with the old one.
    pub fn change_password(&mut self, password: &str) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Tool {
            program: format!("{CONFIGURATION} of NATS"),
            output: error.to_string(),
        };
        let file = self.folder.path().join(CONFIGURATION);
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        let (old, new) = (json!(self.login.password), json!(password));
        let text = text.replace(&old.to_string(), &new.to_string());
        std::fs::write(&file, text).map_err(failed)?;
        password.clone_into(&mut self.login.password);
        self.server.reload()
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
    nkey: &NKey,
    [address, monitor]: [SocketAddr; 2],
    options: &Options,
    node: Option<&Node<'_>>,
) -> Result<Server, StoreError> {
    let text = configuration(files, nkey, [address, monitor], options, node);
    let file = folder.write(CONFIGURATION, &text.to_string())?;
    Server::start(Launch {
        program: tool::find("nats-server", &[], "nats-server")?,
        arguments: vec!["-c".into(), file.into()],
        folder: folder.path().to_owned(),
        account: folder.account,
        address,
        // Without waiting for clients.
        ending: Signal::SIGINT,
        abandoning: Signal::SIGINT,
        ready: "Server is ready",
    })
    .await
}

/// The configuration file: JSON is what NATS reads too.
fn configuration(
    files: &CertificateFiles,
    nkey: &NKey,
    [address, monitor]: [SocketAddr; 2],
    options: &Options,
    node: Option<&Node<'_>>,
) -> Value {
    let tls = json!({
        "cert_file": files.server, "key_file": files.server_key, "ca_file": files.authority,
        "timeout": 5,
    });
    let mut clients_tls = tls.clone();
    clients_tls["verify"] = json!(options.client_certificates);
    let mut all = json!({
        "listen": address.to_string(),
        "http": monitor.to_string(),
        "tls": clients_tls,
        "authorization": {
            "users": [{ "user": USER, "password": PASSWORD }, { "nkey": nkey.public() }],
            "timeout": 5,
        },
        "jetstream": {
            "store_dir": "jetstream", "max_memory_store": 64 << 20, "max_file_store": 1 << 30,
        },
    });
    if let Some(node) = node {
        let mut routes_tls = tls;
        routes_tls["verify"] = json!(true);
        let route = |other: &SocketAddr| format!("tls://{USER}:{PASSWORD}@{other}");
        let routes: Vec<String> = node.all_routes.iter().map(route).collect();
        all["server_name"] = json!(node.name);
        all["cluster"] = json!({
            "name": "test", "listen": node.routes.to_string(), "tls": routes_tls,
            "routes": routes,
            "authorization": { "user": USER, "password": PASSWORD, "timeout": 5 },
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Certificates, Folder, NKey, Options, StoreError, launch, ports};

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let folder = Folder::new("nats").expect("a folder");
        let files = Certificates::new().and_then(|made| made.write(&folder));
        let files = files.expect("certificates");
        let nkey = NKey::new().expect("a key");
        let free = ports::free_address();
        for addresses in [[address, free], [free, address]] {
            let started =
                launch(&folder, &files, &nkey, addresses, &Options::default(), None).await;
            assert!(matches!(started, Err(StoreError::PortTaken(_))));
        }
    }
}
