//! The tools: one a file, all in [`TOOLS`].

mod add_note;
mod echo;
mod export_customers;
mod find_customer;
mod flaky;
mod get_customer;
mod get_order;
mod list_orders;
mod shapes;
mod update_address;

use futures_util::future::BoxFuture;
use mcp_ultra_protocol::WireError;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    call::Call,
    dispatch::{Answer, Freshness},
    resources::page,
};

/// All tools, in the order in which they are listed.
pub(super) static TOOLS: &[Tool] = &[
    find_customer::TOOL,
    get_customer::TOOL,
    list_orders::TOOL,
    get_order::TOOL,
    add_note::TOOL,
    update_address::TOOL,
    export_customers::TOOL,
    flaky::TOOL,
    echo::TOOL,
];

/// A tool: what is said of it, and what it does.
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// The definition as it is listed, without the name.
    pub(super) definition: fn() -> Value,
    run: for<'a> fn(&'a Call, Value) -> Running<'a>,
}

/// A tool at work.
type Running<'a> = BoxFuture<'a, Result<Done, Failure>>;

/// What came of calling a tool.
pub(super) enum Done {
    /// A result.
    Result(Output),
    /// The result that asks for input.
    InputRequired(Value),
}

/// The result of a tool.
#[derive(Debug)]
pub(super) struct Output {
    content: Vec<Value>,
    structured: Option<Value>,
}

/// Why a tool gave no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something that the model can read and act on: a result with `isError`.
    Refused(String),
    /// An error of the request.
    Protocol(WireError),
}

impl Failure {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Protocol(error)
    }
}

impl Output {
    /// Text alone.
    fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![json!({"type": "text", "text": text.into()})],
            structured: None,
        }
    }

    /// Structured content, and the same as text for clients that know only text.
    fn structured(value: Value) -> Self {
        Self {
            content: vec![json!({"type": "text", "text": value.to_string()})],
            structured: Some(value),
        }
    }

    /// Another block of content.
    fn with(mut self, block: Value) -> Self {
        self.content.push(block);
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self::Result(output)
    }
}

/// `tools/list`.
pub(super) fn list(call: &Call) -> Result<Answer, WireError> {
    let tools = TOOLS.iter().map(definition).collect();
    Ok(Answer::fresh(page(call, "tools", tools)?, Freshness::FIXED))
}

/// The whole definition of a tool, the name first.
pub(super) fn definition(tool: &Tool) -> Value {
    let mut whole = Map::new();
    whole.insert("name".into(), tool.name.into());
    if let Value::Object(rest) = (tool.definition)() {
        whole.extend(rest);
    }
    Value::Object(whole)
}

#[derive(Deserialize)]
struct Params {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

/// `tools/call`.
pub(super) async fn call(call: &Call) -> Result<Answer, WireError> {
    let Params { name, arguments } = call.params()?;
    let tool = TOOLS.iter().find(|tool| tool.name == name).ok_or_else(|| {
        let shown: String = name.chars().take(100).collect();
        WireError::invalid_params(format!("Unknown tool: {shown}"))
    })?;
    let result = match (tool.run)(call, Value::Object(arguments)).await {
        Ok(Done::InputRequired(result)) => result,
        Ok(Done::Result(output)) => {
            let mut result = json!({"content": output.content});
            if let Some(structured) = output.structured {
                result["structuredContent"] = structured;
            }
            result
        }
        Err(Failure::Refused(why)) => {
            json!({"content": [{"type": "text", "text": why}], "isError": true})
        }
        Err(Failure::Protocol(error)) => return Err(error),
    };
    Ok(Answer::once(result))
}

/// Reads the arguments of a tool. What is wrong with them goes to the model, which can mend it
/// (2025-11-25, Tools, Error Handling).
fn arguments<T: DeserializeOwned>(arguments: Value) -> Result<T, Failure> {
    serde_json::from_value(arguments)
        .map_err(|error| Failure::refused(format!("The arguments do not fit: {error}.")))
}

/// No customer has this id.
fn unknown_customer(id: &str) -> Failure {
    let shown: String = id.chars().take(40).collect();
    Failure::refused(format!(
        "There is no customer {shown}. Find the id with find_customer."
    ))
}

#[cfg(test)]
mod tests {
    use mcp_ultra_protocol::param_headers;

    use super::*;

    #[test]
    fn every_definition_is_whole() {
        for tool in TOOLS {
            let whole = definition(tool);
            for key in ["title", "description", "inputSchema", "annotations"] {
                assert!(whole.get(key).is_some(), "{} has no {key}", tool.name);
            }
            assert_eq!(whole["inputSchema"]["type"], "object", "{}", tool.name);
            assert_eq!(
                whole["annotations"].as_object().unwrap().len(),
                4,
                "{}",
                tool.name
            );
            let schema = whole["inputSchema"].to_string();
            let headers = param_headers::of_schema(&schema).unwrap();
            assert_eq!(headers.len(), usize::from(tool.name == "list_orders"));
        }
    }
}
