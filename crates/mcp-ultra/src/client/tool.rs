//! A tool as a server describes it.

use mcp_ultra_protocol::{
    ByteString, Era,
    json::{self, Object},
    param_headers::{self, ParamHeader},
};

/// The definition of a tool.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// The whole definition, as it came.
    pub(crate) text: ByteString,
    /// The name to call it by.
    pub(crate) name: String,
    /// What it does, in words.
    pub(crate) description: Option<String>,
    /// The text of the schema of its arguments.
    pub(crate) input_schema: String,
    /// The arguments that a modern call repeats in headers.
    pub(crate) mirrored: Vec<ParamHeader>,
    /// Whether it says that it changes nothing.
    pub(crate) read_only: bool,
}

/// An argument of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// The key.
    pub(crate) name: String,
    /// The JSON type, where the schema names one.
    pub(crate) kind: Option<String>,
    /// Whether the call needs it.
    pub(crate) required: bool,
}

impl Tool {
    /// Reads a definition; the name and the reason where it can't be offered.
    pub(super) fn read(text: &ByteString, era: Era) -> Result<Self, (String, String)> {
        let object = Object::parse(text).map_err(|e| ("(unreadable)".to_owned(), e.to_string()))?;
        let Some(name) = object.get_str("name").map(String::from) else {
            return Err(("(unnamed)".to_owned(), "it has no name".to_owned()));
        };
        let input_schema = object.get("inputSchema").unwrap_or("{}").to_owned();
        let mirrored = match era {
            Era::Legacy => Vec::new(),
            Era::Modern => match param_headers::of_schema(&input_schema) {
                Ok(mirrored) => mirrored,
                Err(error) => return Err((name, error.to_string())),
            },
        };
        let annotations = object.get_object("annotations").ok().flatten();
        let read_only = annotations.is_some_and(|a| a.get("readOnlyHint") == Some("true"));
        let description = object
            .get_str("description")
            .or_else(|| object.get_str("title"));
        let description = description.map(String::from);
        Ok(Self {
            name,
            description,
            input_schema,
            mirrored,
            read_only,
            text: text.clone(),
        })
    }

    /// The arguments, in the order of the schema.
    pub(crate) fn arguments(&self) -> Vec<Argument> {
        let Ok(schema) = Object::parse(&self.input_schema) else {
            return Vec::new();
        };
        let required: Vec<_> = schema
            .get("required")
            .and_then(json::elements)
            .unwrap_or_default()
            .into_iter()
            .filter_map(json::as_str)
            .collect();
        let properties = schema.get_object("properties").ok().flatten();
        properties
            .iter()
            .flat_map(Object::members)
            .map(|member| Argument {
                name: member.key.to_string(),
                kind: Object::parse(member.value)
                    .ok()
                    .and_then(|schema| schema.get_str("type").map(String::from)),
                required: required.contains(&member.key),
            })
            .collect()
    }

    /// Whether it can be called without arguments.
    pub(crate) fn needs_nothing(&self) -> bool {
        // `required` may also name what `properties` does not.
        Object::parse(&self.input_schema)
            .ok()
            .and_then(|schema| schema.get("required").and_then(json::elements))
            .is_none_or(|required| required.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_read() {
        let text = r#"{"name":"soma","title":"Soma","inputSchema":{"type":"object",
            "properties":{"a":{"type":"integer"},"b":{}},"required":["a"]},
            "annotations":{"readOnlyHint":true}}"#;
        let tool = Tool::read(&text.into(), Era::Modern).unwrap();
        assert!(tool.read_only && !tool.needs_nothing());
        assert_eq!(tool.description.as_deref(), Some("Soma"));
        let arguments = tool.arguments();
        assert_eq!(arguments[0].kind.as_deref(), Some("integer"));
        assert!(arguments[0].required && !arguments[1].required);
    }

    #[test]
    fn a_definition_against_the_rules_is_refused_where_headers_exist() {
        let text = r#"{"name":"x","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}}"#;
        assert!(Tool::read(&text.into(), Era::Legacy).is_ok());
        let (name, _) = Tool::read(&text.into(), Era::Modern).unwrap_err();
        assert_eq!(name, "x");
    }
}
