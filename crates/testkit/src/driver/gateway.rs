//! The real gateway, as a process with a configuration of its own.

use std::{env, fs, path::Path, process::Command, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use super::DriverError;
use crate::process::Process;

/// How long it may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(15);
/// The command that serves, and the option that names the configuration.
const ARGUMENTS: [&str; 2] = ["serve", "--config"];
/// Variables that the gateway would take for configuration.
const OWN_VARIABLES: &str = "MCP_ULTRA_";

/// A running gateway; dropping it ends it and removes its configuration.
pub(super) struct Gateway {
    url: String,
    process: Process,
    _folder: TempDir,
}

impl Gateway {
    /// Starts `binary` on a free port with `upstream` as its only server, names unchanged.
    pub(super) async fn start(binary: &Path, upstream: &str) -> Result<Self, DriverError> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("mcp-ultra.yaml");
        // JSON is YAML, and needs no care about quotes.
        let configuration = json!({
            "server": { "host": "127.0.0.1", "port": 0 },
            "servers": [{ "name": "suite", "url": upstream, "prefix": "none" }],
        });
        fs::write(&file, configuration.to_string())?;
        let mut command = Command::new(binary);
        command
            .args(ARGUMENTS)
            .arg(&file)
            .current_dir(folder.path());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        let mut process = Process::start_command(command)?;
        let url = process
            .line("the address of the gateway", READY_LIMIT, ready)
            .await?;
        Ok(Self {
            url,
            process,
            _folder: folder,
        })
    }

    pub(super) fn url(&self) -> &String {
        &self.url
    }

    /// All that it has written.
    pub(super) fn output(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }
}

/// The endpoint, from the line that says that the gateway is ready: the first line with a URL of
/// 127.0.0.1 and a port that it really took.
fn ready(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let port: u16 = rest
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|port| port.parse().ok())?;
    (port != 0).then(|| format!("http://127.0.0.1:{port}/mcp"))
}

#[cfg(test)]
mod tests {
    use super::ready;

    #[test]
    fn the_address_is_found_in_json_and_in_text() {
        let expected = Some("http://127.0.0.1:4711/mcp".to_owned());
        assert_eq!(
            ready(r#"{"listening":"http://127.0.0.1:4711/mcp"}"#),
            expected
        );
        assert_eq!(ready("ready: http://127.0.0.1:4711 (1 server)"), expected);
        assert_eq!(ready("configured: http://127.0.0.1:0/mcp"), None);
        assert_eq!(ready("starting"), None);
    }
}
