use std::{collections::BTreeMap, fmt::Write as _};

use mcp_ultra_protocol::json::quote;
use serde::Deserialize;

use super::Fingerprint;

/// The pins of a lock file: server, tool under the server's own name, fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The pins, by server and tool.
    pub servers: BTreeMap<String, BTreeMap<String, Fingerprint>>,
}

impl LockFile {
    /// The pin of a tool.
    pub fn pin(&self, server: &str, tool: &str) -> Option<Fingerprint> {
        self.servers.get(server)?.get(tool).copied()
    }

    /// The text of the file: YAML, sorted, a tool a line.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Tools that were agreed to, by the SHA-256 of their definitions.\n# Written by `mcp-ultra tools lock` and `mcp-ultra tools approve`.\n",
        );
        if self.servers.is_empty() {
            text.push_str("servers: {}\n");
            return text;
        }
        text.push_str("servers:\n");
        for (server, tools) in &self.servers {
            let none = if tools.is_empty() { " {}" } else { "" };
            // Writing into a string does not fail.
            let _ = writeln!(text, "  {}:{none}", quote(server));
            for (tool, fingerprint) in tools {
                let _ = writeln!(text, "    {}: {fingerprint}", quote(tool));
            }
        }
        text
    }
}
