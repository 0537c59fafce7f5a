//! The processes that are measured: each started privately (own folder, own configuration,
//! loopback, free port) and ended by its id, also when the run is interrupted.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::sleep,
};

use crate::{
    error::{Error, Result, io},
    process::Watched,
    wire::Connection,
};

/// How long nginx and the upstream may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// The gateway drains before it ends, which is not what is measured here; it holds nothing that
/// could be lost.
const GATEWAY_GRACE: Duration = Duration::from_millis(500);

/// A process that is asked to end (SIGTERM) when this is dropped.
#[derive(Debug)]
struct Running {
    name: &'static str,
    child: Child,
    pid: u32,
}

impl Running {
    fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().map_err(io(format!("starting {name}")))?;
        let pid = child
            .id()
            .ok_or_else(|| Error::Unusable(format!("{name} has no id")))?;
        Ok(Self { name, child, pid })
    }

    /// Fails if the process has ended, with the end of its log.
    fn still_there(&mut self, log: &Path) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Unusable(format!(
                "{} ended ({status}); the end of its log:\n{}",
                self.name,
                end_of(log)
            ))),
            Err(error) => Err(io(format!("asking for {}", self.name))(error)),
        }
    }

    /// Asks it to end, and kills it after this long.
    async fn stop(mut self, grace: Duration) {
        self.ask_to_end();
        if tokio::time::timeout(grace, self.child.wait())
            .await
            .is_err()
        {
            // Ending was all that was wanted of it.
            let _ = self.child.kill().await;
        }
    }

    /// SIGTERM, never SIGKILL at first: nginx's workers would outlive a killed master.
    fn ask_to_end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Ok(pid) = i32::try_from(self.pid)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_end();
    }
}

/// Our upstream, as a process of its own.
#[derive(Debug)]
pub(crate) struct Upstream {
    running: Running,
    ports: Vec<u16>,
}

impl Upstream {
    /// Starts it on free ports.
    pub(crate) async fn start(ports: u16, tools: usize) -> Result<Self> {
        let own = std::env::current_exe().map_err(io("finding this program"))?;
        let mut command = Command::new(own);
        command
            .args(["upstream", "--sessions", "--until-stdin-closes"])
            .arg(format!("--ports={ports}"))
            .arg(format!("--tools={tools}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running::start("the upstream", &mut command)?;
        let stdout = running.child.stdout.take();
        let stdout = stdout.ok_or_else(|| Error::Unusable("no pipe to the upstream".to_owned()))?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .await
            .map_err(io("reading its ports"))?;
        let ports: Vec<u16> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|port| port.parse().ok())
            .collect();
        if ports.is_empty() {
            return Err(Error::Unusable("the upstream did not start".to_owned()));
        }
        Ok(Self { running, ports })
    }

    /// Its first port.
    pub(crate) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }

    /// All its ports.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// What it costs.
    pub(crate) fn watched(&self) -> Watched {
        Watched::one(self.running.pid)
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.running.stop(GRACE).await;
    }
}

/// nginx as a plain proxy.
#[derive(Debug)]
pub(crate) struct Nginx {
    running: Running,
    port: u16,
    watched: Watched,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in front of an upstream on this port, with this many worker processes.
    pub(crate) async fn start(binary: &Path, upstream: u16, workers: &str) -> Result<Self> {
        let folder = private_folder()?;
        // Started as root, its workers are another user and must reach their folders.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(io("opening nginx's folder"))?;
        let port = free_port()?;
        let config = folder.path().join("nginx.conf");
        let text = nginx_config(folder.path(), port, upstream, workers);
        fs::write(&config, text).map_err(io("writing nginx's configuration"))?;
        let log = folder.path().join("error.log");
        let mut command = Command::new(binary);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(&log);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = Running::start("nginx", &mut command)?;
        let limit = Instant::now() + Duration::from_secs(10);
        while Connection::open(port).await.is_err() {
            running.still_there(&log)?;
            if Instant::now() > limit {
                return Err(Error::Unusable(
                    "nginx does not listen after 10 s".to_owned(),
                ));
            }
            sleep(Duration::from_millis(5)).await;
        }
        // The workers, all forked before the first of them accepts or shortly after.
        sleep(Duration::from_millis(100)).await;
        let watched = Watched::with_children(running.pid)?;
        if watched.count() < 2 {
            return Err(Error::Unusable("nginx runs without a worker".to_owned()));
        }
        Ok(Self {
            running,
            port,
            watched,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What master and workers cost together.
    pub(crate) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.running.stop(GRACE).await;
    }
}

/// A plain proxy with connections kept open on both sides. Buffering is left at its default;
/// what else is set keeps nginx from doing work that the gateway is not asked to do (access log,
/// new connections every thousand requests).
fn nginx_config(folder: &Path, port: u16, upstream: u16, workers: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream mcp {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}

/// What a gateway is configured with besides its port and servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// Whole sections.
    pub(crate) sections: String,
    /// Members of `limits`, each after a comma.
    pub(crate) limits: &'static str,
    /// Members of its server, where that is one, each after a comma.
    pub(crate) server: &'static str,
    /// The text of its policies.
    pub(crate) policies: Option<String>,
}

/// The gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    running: Running,
    port: u16,
    log: PathBuf,
    /// From start to the first 200 of `/readyz`.
    ready_after: Duration,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it with one server entry for each upstream port, and waits until it is ready. A
    /// single upstream keeps its names, several get prefixes.
    pub(crate) async fn start(binary: &Path, upstreams: &[u16]) -> Result<Self> {
        Self::start_with(binary, upstreams, &Extra::default()).await
    }

    /// Starts it with more than that.
    pub(crate) async fn start_with(
        binary: &Path,
        upstreams: &[u16],
        extra: &Extra,
    ) -> Result<Self> {
        let folder = private_folder()?;
        let port = free_port()?;
        let config = folder.path().join("gateway.yaml");
        let mut text = gateway_config(port, upstreams, extra);
        if let Some(policies) = &extra.policies {
            let file = folder.path().join("bench.cedar");
            fs::write(&file, policies).map_err(io("writing the gateway's policies"))?;
            let file = file.display();
            // A formatting error of a String does not exist.
            let _ = writeln!(text, "policy: {{ files: [\"{file}\"] }}");
        }
        fs::write(&config, text).map_err(io("writing the gateway's configuration"))?;
        let log = folder.path().join("gateway.log");
        let sink = fs::File::create(&log).map_err(io("creating the gateway's log"))?;
        let second = sink.try_clone().map_err(io("opening the gateway's log"))?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(sink).stderr(second);
        let started = Instant::now();
        let mut running = Running::start("the gateway", &mut command)?;
        let probe = format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        while !answers_200(port, probe.as_bytes()).await {
            running.still_there(&log)?;
            if started.elapsed() > Duration::from_secs(30) {
                return Err(Error::Unusable(format!(
                    "the gateway is not ready after 30 s; the end of its log:\n{}",
                    end_of(&log)
                )));
            }
            sleep(Duration::from_millis(1)).await;
        }
        let ready_after = started.elapsed();
        Ok(Self {
            running,
            port,
            log,
            ready_after,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// What it costs.
    pub(crate) fn watched(&self) -> Watched {
        Watched::one(self.running.pid)
    }

    /// Fails if it has ended, with the end of its log.
    pub(crate) fn still_there(&mut self) -> Result<()> {
        self.running.still_there(&self.log)
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.running.stop(GATEWAY_GRACE).await;
    }
}

fn gateway_config(port: u16, upstreams: &[u16], extra: &Extra) -> String {
    let Extra {
        sections,
        limits,
        server,
        ..
    } = extra;
    let mut text = format!(
        "server: {{ port: {port} }}\nlog: {{ level: warn }}\n{sections}\
         limits: {{ connections_per_client: 20000, streams_per_client: 10000{limits} }}\n\
         servers:\n"
    );
    for (number, upstream) in upstreams.iter().enumerate() {
        let url = format!("http://127.0.0.1:{upstream}/mcp");
        let entry = if upstreams.len() == 1 {
            format!("  - {{ name: bench, url: \"{url}\", prefix: none{server} }}\n")
        } else {
            format!("  - {{ name: bench{number}, url: \"{url}\" }}\n")
        };
        text.push_str(&entry);
    }
    text
}

async fn answers_200(port: u16, probe: &[u8]) -> bool {
    let Ok(mut connection) = Connection::open(port).await else {
        return false;
    };
    let asking = connection.exchange(probe);
    let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
    matches!(answer, Ok(Ok(response)) if response.status == 200)
}

fn private_folder() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("mcp-ultra-bench-")
        .tempdir()
        .map_err(io("creating a temporary folder"))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("finding a free port"))?;
    Ok(listener
        .local_addr()
        .map_err(io("finding a free port"))?
        .port())
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_upstream_keeps_its_names_and_many_get_prefixes() {
        let extra = Extra::default();
        let one = gateway_config(8080, &[9000], &extra);
        assert!(one.contains("port: 8080") && one.contains("prefix: none"));
        let many = gateway_config(8080, &[9000, 9001], &extra);
        assert!(many.contains("bench1") && !many.contains("prefix"));
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_named_with_its_log() {
        let folder = private_folder().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "the reason\n").unwrap();
        let mut running = Running::start("it", &mut Command::new("true")).unwrap();
        let mut seen = Ok(());
        for _ in 0..500 {
            seen = running.still_there(&log);
            if seen.is_err() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let error = seen.unwrap_err().to_string();
        assert!(
            error.contains("it ended") && error.contains("the reason"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_dropped_process_is_asked_to_end() {
        let running = Running::start("it", Command::new("sleep").arg("60")).unwrap();
        let pid = Pid::from_raw(i32::try_from(running.pid).unwrap());
        drop(running);
        for _ in 0..500 {
            if kill(pid, None).is_err() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("still there after 5 s");
    }
}
