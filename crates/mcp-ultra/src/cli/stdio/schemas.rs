//! Which arguments of which tools a modern call repeats in headers.

use std::collections::{HashMap, HashSet};

use mcp_ultra_protocol::{
    json::{self, Object},
    param_headers::{self, ParamHeader},
};
use parking_lot::Mutex;

/// What is known of the tools, from the lists that passed through.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    known: Mutex<HashMap<String, Vec<ParamHeader>>>,
    /// Tools that were left out, and said to be.
    left_out: Mutex<HashSet<String>>,
}

impl Schemas {
    /// The headers of a tool; `None` where it has not been seen.
    pub(super) fn of(&self, tool: &str) -> Option<Vec<ParamHeader>> {
        self.known.lock().get(tool).cloned()
    }

    /// Takes a tool that no list has as one without headers, so that it is not looked for at each
    /// call. Where it gets some later, the server's refusal leads to a new look.
    pub(super) fn settle(&self, tool: &str) -> Vec<ParamHeader> {
        self.known
            .lock()
            .entry(tool.to_owned())
            .or_default()
            .clone()
    }

    /// Reads the result of a `tools/list`. Tools that a client over HTTP must not offer are taken
    /// out of it (2026-07-28, Streamable HTTP, Schema Extension): the changed result, if any was.
    pub(super) fn learn(&self, result: &str) -> Option<String> {
        let object = Object::parse(result).ok()?;
        let tools = json::elements(object.get("tools")?)?;
        let count = tools.len();
        let kept: Vec<&str> = tools.into_iter().filter(|tool| self.keep(tool)).collect();
        (kept.len() < count).then(|| {
            object
                .edit()
                .set("tools", format!("[{}]", kept.join(",")))
                .finish()
        })
    }

    fn keep(&self, tool: &str) -> bool {
        let Ok(object) = Object::parse(tool) else {
            // Whoever reads it may judge it.
            return true;
        };
        let Some(name) = object.get_str("name") else {
            return true;
        };
        match param_headers::of_schema(object.get("inputSchema").unwrap_or("{}")) {
            Ok(headers) => {
                self.known.lock().insert(name.into_owned(), headers);
                true
            }
            Err(reason) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
                if self.left_out.lock().insert(name.clone()) {
                    eprintln!("mcp-ultra stdio: left out the tool {name}: {reason}");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_teach_headers_and_lose_what_is_against_the_rules() {
        let schemas = Schemas::default();
        let good = r#"{"name":"a","inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"R"}}}}"#;
        let plain = r#"{"name":"b","inputSchema":{}}"#;
        let bad = r#"{"name":"c","inputSchema":{"properties":{"r":{"x-mcp-header":"R"}}}}"#;
        let untouched = format!(r#"{{"tools":[{good},{plain}],"x":1e400}}"#);
        assert_eq!(schemas.learn(&untouched), None);
        let changed = schemas.learn(&format!(r#"{{"tools":[{good},{bad}],"x":1e400}}"#));
        assert_eq!(
            changed.unwrap(),
            format!(r#"{{"tools":[{good}],"x":1e400}}"#)
        );
        assert_eq!(schemas.of("a").unwrap().len(), 1);
        assert_eq!(schemas.of("b").unwrap().len(), 0);
        assert!(schemas.of("c").is_none());
    }
}
