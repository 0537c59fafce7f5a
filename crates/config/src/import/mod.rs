//! From the configuration of an MCP client to ours: `mcp-ultra import FILE`.
//!
//! Reads what Claude Desktop, Claude Code and Cursor keep under `mcpServers` and VS Code under
//! `servers` (with comments, trailing commas and `${input:…}`), and writes a `servers` list that
//! [`crate::load`] accepts. Secrets are not carried over: they become `${NAME}`, and the result
//! says which variables to set. What can't be carried is listed with the reason, never dropped
//! silently.

mod entry;
mod jsonc;
mod placeholder;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use thiserror::Error;

use crate::sections::is_name;

/// The client a configuration is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Claude Desktop or Claude Code.
    Claude,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    VsCode,
}

/// A configuration made from that of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The configuration file: YAML with a `servers` list.
    pub yaml: String,
    /// The names of the servers in it, in the client's order.
    pub servers: Vec<String>,
    /// The environment variables that must be set, and what for.
    pub variables: Vec<Variable>,
    /// Servers that can't be carried over.
    pub skipped: Vec<Skipped>,
    /// What was changed or left behind.
    pub notes: Vec<String>,
}

/// An environment variable that the imported configuration refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value is in the client's configuration, such as `github: env GITHUB_TOKEN`.
    pub source: String,
}

/// A server that can't be carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name in the client's configuration.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Why a text is no client's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// It is not JSON, not even with comments.
    #[error("line {line}, column {column}: {message}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is, but has no list of servers.
    #[error(
        "there are no MCP servers in it: expected `mcpServers` (Claude, Cursor) or `servers` (VS Code)"
    )]
    NoServers,
    /// It has one, and none of its servers can be carried over.
    #[error("no server can be carried over: {}", list(.0))]
    NothingLeft(Vec<Skipped>),
}

fn list(skipped: &[Skipped]) -> String {
    let parts: Vec<String> = skipped
        .iter()
        .map(|skipped| format!("{}: {}", skipped.name, skipped.reason))
        .collect();
    parts.join("; ")
}

/// Turns the configuration of an MCP client into ours. `hint` decides between `mcpServers` and
/// `servers` where a file has both; without it `mcpServers` wins.
///
/// # Errors
///
/// [`ImportError`] if the text is not JSON or has no server that can be carried over.
pub fn import_client_config(text: &str, hint: Option<Client>) -> Result<Imported, ImportError> {
    let document: Document = serde_json::from_str(&jsonc::to_json(text)).map_err(|error| {
        // A message about data repeats it, and it may be a secret.
        let message = match error.classify() {
            serde_json::error::Category::Data => "not the shape of a client's configuration".into(),
            _ => error
                .to_string()
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        ImportError::NotJson {
            line: error.line(),
            column: error.column(),
            message,
        }
    })?;
    let mut import = Import::default();
    let servers = document
        .servers(hint, &mut import)
        .ok_or(ImportError::NoServers)?;
    for (name, value) in servers.0 {
        match entry::convert(&name, value, &mut import) {
            Ok(server) => import.servers.push(server),
            Err(reason) => import.skipped.push(Skipped { name, reason }),
        }
    }
    if import.servers.is_empty() && !import.skipped.is_empty() {
        return Err(ImportError::NothingLeft(import.skipped));
    }
    Ok(import.finish())
}

/// The parts of a client's configuration that are about servers.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "mcpServers")]
    mcp_servers: Option<Ordered>,
    servers: Option<Ordered>,
    /// VS Code's settings.json has the list below this key.
    mcp: Option<Nested>,
    /// Claude Code keeps lists for single projects.
    projects: Option<BTreeMap<String, Nested>>,
}

#[derive(Deserialize)]
struct Nested {
    #[serde(rename = "mcpServers")]
    mcp_servers: Option<Ordered>,
    servers: Option<Ordered>,
}

impl Document {
    fn servers(self, hint: Option<Client>, import: &mut Import) -> Option<Ordered> {
        let projects = self.projects.into_iter().flatten();
        let own = projects.filter(|(_, nested)| {
            nested
                .mcp_servers
                .as_ref()
                .is_some_and(|servers| !servers.0.is_empty())
        });
        let count = own.count();
        if count > 0 {
            import.notes.push(format!(
                "{count} project(s) in this file have servers of their own, which are not imported"
            ));
        }
        let nested = self
            .mcp
            .and_then(|nested| nested.servers.or(nested.mcp_servers));
        let vs_code = self.servers.or(nested);
        match hint {
            Some(Client::VsCode) => vs_code.or(self.mcp_servers),
            _ => self.mcp_servers.or(vs_code),
        }
    }
}

/// An object in the order of the file.
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedVisitor;
        impl<'de> de::Visitor<'de> for OrderedVisitor {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of servers")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(OrderedVisitor)
    }
}

/// What has been gathered so far.
#[derive(Default)]
struct Import {
    servers: Vec<Written>,
    variables: Vec<Variable>,
    skipped: Vec<Skipped>,
    notes: Vec<String>,
    /// The value behind each variable, to tell whether two uses mean the same.
    values: BTreeMap<String, Option<String>>,
}

/// A server as it is written to the file.
#[derive(Serialize)]
struct Written {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
}

impl Import {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A valid name that no other server has.
    fn name(&mut self, wanted: &str) -> String {
        let mut name = String::new();
        for letter in wanted.chars() {
            if letter.is_ascii_alphanumeric() {
                name.push(letter.to_ascii_lowercase());
            } else if !name.is_empty() && !name.ends_with('-') {
                name.push('-');
            }
        }
        // Names begin with a letter.
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert_str(0, "server-");
        }
        // Room for a number behind it.
        name.truncate(28);
        let base = match name.trim_end_matches('-') {
            "" => "server".to_owned(),
            base => base.to_owned(),
        };
        let base = if is_name(wanted) {
            wanted.to_owned()
        } else {
            base
        };
        let taken = |name: &str| self.servers.iter().any(|server| server.name == name);
        let short: String = base.chars().take(28).collect();
        let numbered = (2..1000).map(|number| format!("{short}-{number}"));
        let name = std::iter::once(base.clone())
            .chain(numbered)
            .find(|name| !taken(name))
            .unwrap_or(base);
        if name != wanted {
            self.note(format!("{wanted}: the server is called `{name}` now"));
        }
        name
    }

    /// A reference to a variable for a value; the same variable only for the same value.
    fn variable(
        &mut self,
        server: &str,
        wanted: &str,
        value: Option<&str>,
        source: String,
    ) -> String {
        let plain = variable_name(wanted);
        let own = variable_name(&format!("{server}_{wanted}"));
        let numbered = (2..1000).map(|number| format!("{own}_{number}"));
        let same = |name: &String| match self.values.get(name) {
            None => true,
            Some(known) => known.as_deref() == value,
        };
        let name = [plain, own.clone()]
            .into_iter()
            .chain(numbered)
            .find(same)
            .unwrap_or(own);
        self.values.insert(name.clone(), value.map(str::to_owned));
        self.variables.push(Variable {
            name: name.clone(),
            source,
        });
        format!("${{{name}}}")
    }

    fn finish(self) -> Imported {
        #[derive(Serialize)]
        struct File<'a> {
            servers: &'a [Written],
        }
        let mut yaml =
            String::from("# Made by `mcp-ultra import` from the configuration of a client.\n");
        if !self.variables.is_empty() {
            yaml.push_str("# Set these environment variables:\n");
            for variable in &self.variables {
                yaml.push_str(&comment(&format!(
                    "  {} ({})",
                    variable.name, variable.source
                )));
            }
        }
        for skipped in &self.skipped {
            yaml.push_str(&comment(&format!(
                "Not imported: {}: {}",
                skipped.name, skipped.reason
            )));
        }
        // Texts, lists and maps of texts: there is nothing that YAML can't hold.
        yaml.push_str(
            &serde_saphyr::to_string(&File {
                servers: &self.servers,
            })
            .unwrap_or_default(),
        );
        Imported {
            yaml,
            servers: self.servers.into_iter().map(|server| server.name).collect(),
            variables: self.variables,
            skipped: self.skipped,
            notes: self.notes,
        }
    }
}

/// A comment line: names come from the client's file and must not end the line.
fn comment(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    // Line separators of Unicode end a line for some readers.
    format!(
        "# {}\n",
        clean.replace(['\u{2028}', '\u{2029}', '\u{feff}'], " ")
    )
}

/// A text as the name of an environment variable.
fn variable_name(text: &str) -> String {
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = text.trim_matches('-').chars().map(clean).collect();
    match name.chars().next() {
        None => "VALUE".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}
