//! Transport, through the running gateway: TLS of both versions, certificates that are replaced
//! while calls are made, clients that are known by certificates, pages in browsers, and where the
//! gateway itself may connect to.

mod clients;
mod listener;
mod pages;
mod upstreams;

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use http::HeaderMap;
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    raw::{Answer, Client, modern::Caller},
    tls::{Authority, Pair, Trust},
};
use serde_json::json;
use tempfile::TempDir;

use crate::gateway_rig::{fixture, only};

const DAY: Duration = Duration::from_hours(24);
const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

fn in_future(time: Duration) -> Duration {
    SystemClock.now() + time
}

/// Files as Kubernetes mounts them: links through `..data`, which is swapped.
pub(crate) struct Mount {
    folder: TempDir,
    turn: usize,
}

impl Mount {
    fn new(pair: &Pair) -> Self {
        Self::of(&pair.certificate, &pair.key)
    }

    /// A certificate as `tls.crt` and its key as `tls.key`.
    pub(crate) fn of(certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Self { folder, turn: 0 };
        mount.put(certificate, key);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mount.folder.path().join(name)).unwrap();
        }
        mount
    }

    /// Another certificate and key.
    pub(crate) fn put(&mut self, certificate: &str, key: &str) {
        self.turn += 1;
        let base = self.folder.path();
        let version = format!("..version{}", self.turn);
        fs::create_dir(base.join(&version)).unwrap();
        fs::write(base.join(&version).join("tls.crt"), certificate).unwrap();
        fs::write(base.join(&version).join("tls.key"), key).unwrap();
        symlink(&version, base.join("..data_tmp")).unwrap();
        fs::rename(base.join("..data_tmp"), base.join("..data")).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

struct Rig {
    authority: Authority,
    mount: Mount,
    gateway: Gateway,
    _upstream: Running,
}

/// A gateway with TLS; `tls` is what else that section says, `rest` what the configuration does.
async fn rig(tls: &str, rest: &str) -> Rig {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    rig_of(authority, mount, tls, rest).await
}

async fn rig_of(authority: Authority, mount: Mount, tls: &str, rest: &str) -> Rig {
    let upstream = fixture(Era::Dual).await;
    let folder = mount.path().display();
    let section = format!(
        "log: {{ level: debug }}\nserver:\n  tls:\n    certificate: {folder}/tls.crt\n    key: {folder}/tls.key\n{tls}{rest}"
    );
    let binary = Path::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    let gateway = Gateway::launch(binary, &only(&upstream.url(), &section), &[])
        .await
        .unwrap();
    Rig {
        authority,
        mount,
        gateway,
        _upstream: upstream,
    }
}

impl Rig {
    fn client(&self, own: Option<&Pair>, tls13: bool, http2: bool) -> Client {
        let own = own.map(|pair| [&*pair.certificate, &*pair.key]);
        let trust = Trust::new(&self.authority.pem(), own, tls13, http2).unwrap();
        Client::trusting(self.gateway.url("/mcp"), &trust)
    }

    fn usual(&self, own: Option<&Pair>) -> Client {
        self.client(own, true, false)
    }

    async fn metric(&self, line: &str) -> u64 {
        let trust = Trust::new(&self.authority.pem(), None, true, false).unwrap();
        let client = Client::trusting(self.gateway.url("/metrics"), &trust);
        let answer = client.get(HeaderMap::new()).await.unwrap();
        let text = answer.text().await.unwrap();
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found
            .unwrap_or_else(|| panic!("no {line} in {text}"))
            .parse()
            .unwrap()
    }
}

/// Who clients are by their certificates.
fn rules(auth: &str) -> String {
    format!(
        "auth:\n  resource: https://mcp.example.com/mcp\n  required_scopes: [mcp:use]\n{auth}  certificates:\n    - {{ san: \"uri:spiffe://example.org/agents/*\", tenant: acme, scopes: [mcp:use] }}\n    - {{ san: \"dns:*.workers.example.com\", scopes: [mcp:use], kind: agent }}\n    - {{ san: \"email:*@example.com\", kind: user }}\n"
    )
}

async fn rig_with_clients(clients: &Authority, mode: &str, crl: Option<&str>, auth: &str) -> Rig {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(90 * DAY)).unwrap());
    let file = mount.file("clients.pem", &clients.pem());
    let mut tls = format!("    client_auth: {mode}\n    client_ca: {file}\n");
    if let Some(crl) = crl {
        let file = mount.file("clients.crl", crl);
        tls = format!(
            "{tls}    client_crl: {file}
"
        );
    }
    rig_of(authority, mount, &tls, &rules(auth)).await
}

async fn list(
    client: &Client,
    headers: HeaderMap,
) -> Result<Answer, mcp_ultra_testkit::raw::RawError> {
    let mut caller = Caller::new(client.clone());
    caller.extra_headers = headers;
    caller.send(caller.prepare("tools/list", json!({}))).await
}

async fn status(client: &Client) -> u16 {
    list(client, HeaderMap::new())
        .await
        .unwrap()
        .status
        .as_u16()
}
