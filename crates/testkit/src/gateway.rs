//! The real gateway as a process, with a configuration of a test's own: started on a free port,
//! waited for until it is ready, ended by its process id.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    process::{Process, ProcessError},
    raw::{Answer, Client, RawError, legacy::Session, modern::Caller},
};

/// How long it may take until it listens, and until it is ready after that.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(15);
/// Variables that the gateway would take for configuration.
const OWN_VARIABLES: &str = "MCP_ULTRA_";

/// What can go wrong with a gateway under test.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its configuration could not be written.
    #[error("the configuration can't be written: {0}")]
    Configuration(#[from] std::io::Error),
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It could not be asked.
    #[error(transparent)]
    Request(#[from] RawError),
    /// It did not become ready.
    #[error("not ready within {READY_LIMIT:?}; its output:\n{0}")]
    NotReady(String),
}

/// A running gateway; dropping it ends it and removes its configuration.
pub struct Gateway {
    base: String,
    process: Process,
    file: PathBuf,
    folder: TempDir,
}

impl Gateway {
    /// Starts `binary` with `yaml` as its configuration, on a free port whatever that says, and
    /// waits until it is ready.
    pub async fn start(binary: &Path, yaml: &str) -> Result<Self, GatewayError> {
        Self::start_with(binary, yaml, &[]).await
    }

    /// The same with `environment` on top of that of the test.
    pub async fn start_with(
        binary: &Path,
        yaml: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, GatewayError> {
        let gateway = Self::launch(binary, yaml, environment).await?;
        let begun = Instant::now();
        while gateway.get("/readyz").await?.status != http::StatusCode::OK {
            if begun.elapsed() > READY_LIMIT {
                return Err(GatewayError::NotReady(gateway.output()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(gateway)
    }

    /// The same, but waits only until it listens.
    pub async fn launch(
        binary: &Path,
        yaml: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, GatewayError> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("mcp-ultra.yaml");
        fs::write(&file, yaml)?;
        let mut command = Command::new(binary);
        command
            .args(["serve", "--port", "0", "--config"])
            .arg(&file)
            .current_dir(folder.path());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        let mut process = Process::start_command(command)?;
        let base = process
            .line("the endpoint of the gateway", READY_LIMIT, base_of)
            .await?;
        Ok(Self {
            base,
            process,
            file,
            folder,
        })
    }

    /// The URL of a path, for example `/mcp`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `127.0.0.1:port`
    pub fn authority(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let authority = self.authority();
        authority
            .parse()
            .unwrap_or_else(|error| unreachable!("{authority}: {error}"))
    }

    /// A client of the endpoint.
    pub fn client(&self) -> Client {
        Client::new(self.url("/mcp"))
    }

    /// A modern caller with form elicitation, sampling and roots.
    pub fn caller(&self) -> Caller {
        Caller::new(self.client())
    }

    /// A legacy session that declares `capabilities`.
    pub async fn session(&self, version: &str, capabilities: Value) -> Result<Session, RawError> {
        Session::open(self.client(), version, capabilities, HeaderMap::new()).await
    }

    /// Asks for a path beside the endpoint.
    pub async fn get(&self, path: &str) -> Result<Answer, RawError> {
        let client = Client::new(self.url(path));
        client
            .request(Method::GET, HeaderMap::new(), bytes::Bytes::new())
            .await
    }

    /// Writes another configuration in the place of the one it was started with: a new file that
    /// is renamed, as editors do.
    pub fn reconfigure(&self, yaml: &str) -> Result<(), GatewayError> {
        let new = self.folder.path().join("mcp-ultra.yaml.new");
        fs::write(&new, yaml)?;
        Ok(fs::rename(&new, &self.file)?)
    }

    /// Its configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A folder of its own, removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<(), GatewayError> {
        Ok(self.process.signal(signal)?)
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, GatewayError> {
        Ok(self.process.wait(limit).await?)
    }

    /// How it ended, or `None` while it runs.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, GatewayError> {
        Ok(self.process.status()?)
    }

    /// All that it has written.
    pub fn output(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Waits for a line of its log that contains all of `parts`; the line.
    pub async fn logged(
        &mut self,
        parts: &[&str],
        limit: Duration,
    ) -> Result<String, GatewayError> {
        let waiting_for = format!("a line with {parts:?}");
        let found = self.process.line(&waiting_for, limit, |line| {
            let fits = parts.iter().all(|part| line.contains(part));
            fits.then(|| line.to_owned())
        });
        Ok(found.await?)
    }
}

/// `http://address:port` from the line that says where it listens.
fn base_of(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let endpoint = line
        .pointer("/endpoint")
        .or(line.pointer("/fields/endpoint"))?;
    Some(endpoint.as_str()?.strip_suffix("/mcp")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::base_of;

    #[test]
    fn the_endpoint_is_read_from_its_line_only() {
        let line = r#"{"level":"INFO","endpoint":"http://127.0.0.1:4711/mcp"}"#;
        assert_eq!(base_of(line).as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(base_of(r#"{"level":"INFO"}"#), None);
        assert_eq!(base_of("starting"), None);
    }
}
