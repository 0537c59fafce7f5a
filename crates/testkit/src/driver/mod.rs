//! The client that the public conformance suite drives the gateway with (its `client` command).
//!
//! The suite starts a server of its own and this client with that server's URL. The client starts the
//! real gateway with that server as its only upstream, and does through the gateway what the scenario
//! wants to see: the suite then judges what the gateway, as a client, has sent to it. The way in is
//! [`run`]; the binary is `conformance-client`.

mod gateway;
mod legacy;
mod modern;

use std::{env, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use self::gateway::Gateway;
use crate::{
    process::ProcessError,
    raw::{Client, RawError, Reply, modern::VERSION},
};

/// How long the upstream's tools may take to appear at the gateway, which is ready before them.
const CATALOG_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at the catalog.
const CATALOG_POLL: Duration = Duration::from_millis(100);
/// How long the client stays after it has done its part, so that what the gateway does beside it
/// (discovery, say) still reaches the suite's server.
const LINGER: Duration = Duration::from_millis(500);

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The environment lacks what the suite or the caller should give.
    #[error("{0}")]
    Environment(String),
    /// The gateway did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The gateway's configuration could not be written.
    #[error("can't write the gateway's configuration: {0}")]
    Configuration(#[from] std::io::Error),
    /// The gateway did not answer.
    #[error("{doing}: {source}")]
    Call {
        /// What was tried.
        doing: String,
        /// What happened.
        source: RawError,
    },
    /// The gateway answered something else than the scenario needs.
    #[error("{0}")]
    Unexpected(String),
}

/// What the suite and the caller say.
#[derive(Debug, Clone)]
pub struct Setting {
    /// URL of the suite's own server.
    pub server: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Whether it is played at 2026-07-28, not at a revision with sessions.
    pub modern: bool,
    /// The revision to play it at.
    pub version: String,
    /// What the scenario hands over, for example the calls to make.
    pub context: Value,
    /// The gateway's binary; `None` to speak to the suite's server without a gateway, which tries
    /// this client itself.
    pub gateway: Option<PathBuf>,
}

impl Setting {
    /// Reads the variables that the suite sets (`MCP_CONFORMANCE_SCENARIO`,
    /// `MCP_CONFORMANCE_PROTOCOL_VERSION`, `MCP_CONFORMANCE_CONTEXT`) and `MCP_ULTRA_BIN`.
    pub fn from_environment(server: String, direct: bool) -> Result<Self, DriverError> {
        let variable = |name: &str| {
            env::var(name).map_err(|_| DriverError::Environment(format!("{name} is not set")))
        };
        let version = variable("MCP_CONFORMANCE_PROTOCOL_VERSION")?;
        let context = match env::var("MCP_CONFORMANCE_CONTEXT") {
            Ok(context) => serde_json::from_str(&context).map_err(|error| {
                DriverError::Environment(format!("MCP_CONFORMANCE_CONTEXT is not JSON: {error}"))
            })?,
            Err(_) => Value::Null,
        };
        let gateway = if direct {
            None
        } else {
            Some(variable("MCP_ULTRA_BIN")?.into())
        };
        Ok(Self {
            server,
            scenario: variable("MCP_CONFORMANCE_SCENARIO")?,
            modern: version.as_str() >= VERSION,
            version,
            context,
            gateway,
        })
    }
}

/// Plays the scenario.
pub async fn run(setting: &Setting) -> Result<(), DriverError> {
    let gateway = match &setting.gateway {
        Some(binary) => Some(Gateway::start(binary, &setting.server).await?),
        None => None,
    };
    let client = Client::new(gateway.as_ref().map_or(&setting.server, Gateway::url));
    let played = if setting.modern {
        modern::play(setting, client).await
    } else {
        legacy::play(setting, client).await
    };
    tokio::time::sleep(LINGER).await;
    if let (Err(_), Some(gateway)) = (&played, &gateway) {
        eprintln!("the gateway's output:\n{}", gateway.output());
    }
    played
}

fn unknown_scenario(setting: &Setting) -> DriverError {
    let (scenario, version) = (&setting.scenario, &setting.version);
    DriverError::Environment(format!(
        "this client does not know the scenario {scenario} at {version}"
    ))
}

/// The reply, if it is a result.
fn result(doing: &str, reply: Result<Reply, RawError>) -> Result<Value, DriverError> {
    let reply = reply.map_err(|source| DriverError::Call {
        doing: doing.to_owned(),
        source,
    })?;
    match reply.message.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(DriverError::Unexpected(format!(
            "{doing}: refused with {}",
            reply.message
        ))),
    }
}

/// The tool of this name from a `tools/list` result.
fn tool<'a>(listed: &'a Value, name: &str) -> Option<&'a Value> {
    listed["tools"]
        .as_array()?
        .iter()
        .find(|tool| tool["name"] == name)
}

fn no_tool(name: &str, listed: &Value) -> DriverError {
    DriverError::Unexpected(format!(
        "no tool {name} within {CATALOG_LIMIT:?} in {listed}"
    ))
}

/// An accepted form: its defaults (SEP-1034), and for required fields without one the plainest value
/// of their type.
fn accept(form: &Value) -> Value {
    let mut content = Map::new();
    let required = |name: &str| {
        form["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|one| one == name))
    };
    for (name, field) in form["properties"].as_object().into_iter().flatten() {
        let value = match field.get("default") {
            Some(default) => default.clone(),
            None if field["type"] == "boolean" => true.into(),
            None if !required(name) => continue,
            None if field["type"] == "integer" || field["type"] == "number" => 1.into(),
            None => "text".into(),
        };
        content.insert(name.clone(), value);
    }
    serde_json::json!({ "action": "accept", "content": content })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::accept;

    #[test]
    fn a_form_is_accepted_with_its_defaults() {
        let form = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "default": "Ana" },
                "sure": { "type": "boolean" },
                "count": { "type": "integer" },
                "free": { "type": "string" }
            },
            "required": ["count"]
        });
        let content = json!({ "name": "Ana", "sure": true, "count": 1 });
        assert_eq!(
            accept(&form),
            json!({ "action": "accept", "content": content })
        );
    }
}
