//! What each client wants: the file, the key in it, the entry, and what to do then.
//!
//! As the clients document it: Claude Code (docs, "Connect Claude Code to tools via MCP"), Claude
//! Desktop (modelcontextprotocol.io, "Connect to local MCP servers"), VS Code ("MCP configuration
//! reference"), Cursor (docs, "Model Context Protocol") and the Inspector's README.

use std::path::PathBuf;

use serde_json::{Value, json};

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Host {
    /// Claude Code: .mcp.json of the project
    ClaudeCode,
    /// Claude Desktop, through the stdio bridge of this program
    ClaudeDesktop,
    /// VS Code: .vscode/mcp.json of the folder
    Vscode,
    /// Cursor: ~/.cursor/mcp.json
    Cursor,
    /// MCP Inspector: a command line, or mcp.json in this folder
    Inspector,
}

/// What the places of the files depend on.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) home: Option<PathBuf>,
    /// Where Claude Desktop keeps its folder.
    pub(super) application_data: Option<PathBuf>,
    /// This program.
    pub(super) program: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        let variable = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        let application_data = if cfg!(target_os = "macos") {
            home.as_ref()
                .map(|home| home.join("Library/Application Support"))
        } else if cfg!(windows) {
            variable("APPDATA")
        } else {
            variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")))
        };
        Self {
            home,
            application_data,
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("mcp-ultra")),
        }
    }
}

impl Host {
    /// The name of the client.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Vscode => "VS Code",
            Self::Cursor => "Cursor",
            Self::Inspector => "MCP Inspector",
        }
    }

    /// The file that the client reads; `None` where it can't be known.
    pub(super) fn path(self, surroundings: &Surroundings) -> Option<PathBuf> {
        match self {
            Self::ClaudeCode => Some(PathBuf::from(".mcp.json")),
            Self::Vscode => Some(PathBuf::from(".vscode/mcp.json")),
            Self::Inspector => Some(PathBuf::from("mcp.json")),
            Self::Cursor => Some(surroundings.home.as_ref()?.join(".cursor/mcp.json")),
            Self::ClaudeDesktop => {
                let folder = surroundings.application_data.as_ref()?;
                Some(folder.join("Claude/claude_desktop_config.json"))
            }
        }
    }

    /// The key of the object that holds the servers.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            _ => "mcpServers",
        }
    }

    /// What the client has to know about the server.
    pub(super) fn entry(self, target: &str, surroundings: &Surroundings) -> Value {
        match self {
            Self::ClaudeCode | Self::Vscode => json!({ "type": "http", "url": target }),
            Self::Cursor => json!({ "url": target }),
            Self::Inspector => json!({ "type": "streamable-http", "url": target }),
            // Its file knows only servers that it starts itself.
            Self::ClaudeDesktop => json!({
                "command": surroundings.program.to_string_lossy(),
                "args": ["stdio", "--target", target],
            }),
        }
    }

    /// A command that does the same, where the client has one.
    fn command(self, name: &str, target: &str) -> Option<String> {
        let word = quoted(target);
        match self {
            Self::ClaudeCode => Some(format!("claude mcp add --transport http {name} {word}")),
            Self::Vscode => {
                let entry = json!({ "name": name, "type": "http", "url": target });
                Some(format!("code --add-mcp {}", quoted(&entry.to_string())))
            }
            Self::Inspector => Some(format!(
                "npx @modelcontextprotocol/inspector --cli {word} --transport http --method tools/list"
            )),
            Self::ClaudeDesktop | Self::Cursor => None,
        }
    }

    /// What makes the client notice.
    pub(super) fn next_step(self, name: &str, place: &str) -> String {
        let step = match self {
            Self::ClaudeCode => {
                "Start `claude` in this folder and approve the server; /mcp shows it."
            }
            Self::ClaudeDesktop => "Quit Claude Desktop and start it again.",
            Self::Vscode => "Open this folder in VS Code and start the server from the file.",
            Self::Cursor => "Reload Cursor; its settings show the server under MCP.",
            Self::Inspector => {
                let place = quoted(place);
                return format!(
                    "Run: npx @modelcontextprotocol/inspector --config {place} --server {name}"
                );
            }
        };
        step.to_owned()
    }

    /// What a person pastes, and where.
    pub(super) fn explain(
        self,
        name: &str,
        target: &str,
        place: Option<&str>,
        surroundings: &Surroundings,
    ) -> String {
        let file = json!({ self.key(): { name: self.entry(target, surroundings) } });
        let place = place.unwrap_or("its configuration file");
        // Our own value: it always has a text.
        let file = serde_json::to_string_pretty(&file).unwrap_or_default();
        match self.command(name, target) {
            Some(command) => format!(
                "{}: run\n\n  {command}\n\nor put this into {place} (--write does it):\n\n{file}",
                self.title()
            ),
            None => format!(
                "{}: put this into {place} (--write does it):\n\n{file}",
                self.title()
            ),
        }
    }
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings() -> Surroundings {
        Surroundings {
            home: Some("/home/ana".into()),
            application_data: Some("/home/ana/.config".into()),
            program: "/opt/mcp-ultra".into(),
        }
    }

    #[test]
    fn each_client_has_its_place_and_its_words() {
        let target = "http://127.0.0.1:8080/mcp";
        let here = surroundings();
        let path = |host: Host| host.path(&here).unwrap().display().to_string();
        assert_eq!(path(Host::Cursor), "/home/ana/.cursor/mcp.json");
        assert_eq!(
            path(Host::ClaudeDesktop),
            "/home/ana/.config/Claude/claude_desktop_config.json"
        );
        let desktop = Host::ClaudeDesktop.entry(target, &here);
        assert_eq!(desktop["command"], "/opt/mcp-ultra");
        assert_eq!(desktop["args"], json!(["stdio", "--target", target]));
        let code = Host::ClaudeCode.explain("mcp-ultra", target, Some(".mcp.json"), &here);
        assert!(
            code.contains("claude mcp add --transport http mcp-ultra http://127.0.0.1:8080/mcp")
        );
    }

    #[test]
    fn a_shell_reads_back_what_is_printed() {
        assert_eq!(
            quoted("http://a/mcp?x=1&y='2'"),
            r"'http://a/mcp?x=1&y='\''2'\'''"
        );
        let command = Host::Vscode.command("m", "http://a/mcp?x=1&y=2").unwrap();
        assert!(
            command.contains(r#""url":"http://a/mcp?x=1&y=2""#),
            "{command}"
        );
    }
}
