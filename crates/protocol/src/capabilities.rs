//! Client capabilities: which server-to-client requests a client can answer.

use crate::json::{self, Object};

/// The prefix of the identifiers of the official extensions.
pub const EXTENSION_PREFIX: &str = "io.modelcontextprotocol/";

/// What a client declared, as far as the gateway decides by it. The declaration itself travels
/// on as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ClientCapabilities {
    /// Answers `roots/list`.
    pub roots: bool,
    /// Answers `sampling/createMessage`.
    pub sampling: bool,
    /// Answers `elicitation/create` in form mode.
    pub elicitation_form: bool,
    /// Answers `elicitation/create` in URL mode.
    pub elicitation_url: bool,
}

impl ClientCapabilities {
    /// Reads the text of a `ClientCapabilities` object. What is not understood is absent.
    ///
    /// An empty `elicitation` object means form mode (2025-11-25 and 2026-07-28, Elicitation,
    /// Capabilities).
    pub fn parse(text: &str) -> Self {
        let Ok(object) = Object::parse(text) else {
            return Self::default();
        };
        let has = |key: &str| object.get(key).is_some_and(json::is_object);
        let elicitation = object
            .get("elicitation")
            .and_then(|text| Object::parse(text).ok());
        let (form, url) = elicitation.map_or((false, false), |modes| {
            let url = modes.get("url").is_some();
            (modes.get("form").is_some() || !url, url)
        });
        Self {
            roots: has("roots"),
            sampling: has("sampling"),
            elicitation_form: form,
            elicitation_url: url,
        }
    }

    /// What is missing for the server-to-client request `method` with `params`: the text of a
    /// `ClientCapabilities` object that names it, or `None` where the client can answer.
    pub fn missing_for(self, method: &str, params: Option<&str>) -> Option<&'static str> {
        match method {
            "roots/list" if !self.roots => Some(r#"{"roots":{}}"#),
            "sampling/createMessage" if !self.sampling => Some(r#"{"sampling":{}}"#),
            "elicitation/create" => {
                let mode = params
                    .and_then(|params| Object::parse(params).ok())
                    .and_then(|params| params.get_str("mode").map(|mode| mode == "url"));
                match mode {
                    Some(true) if !self.elicitation_url => Some(r#"{"elicitation":{"url":{}}}"#),
                    Some(true) => None,
                    _ if !self.elicitation_form => Some(r#"{"elicitation":{}}"#),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The extensions that a capabilities object (of either side) declares: identifier and the text
/// of the settings.
pub fn extensions(capabilities: &str) -> Vec<(String, String)> {
    let Ok(object) = Object::parse(capabilities) else {
        return Vec::new();
    };
    let Ok(Some(extensions)) = object.get_object("extensions") else {
        return Vec::new();
    };
    extensions
        .members()
        .iter()
        .map(|member| (member.key.to_string(), member.value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_elicitation_means_form_mode() {
        let caps = ClientCapabilities::parse(r#"{"elicitation":{}}"#);
        assert!(caps.elicitation_form && !caps.elicitation_url);
        let caps = ClientCapabilities::parse(r#"{"elicitation":{"url":{}}}"#);
        assert!(!caps.elicitation_form && caps.elicitation_url);
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = ClientCapabilities::default();
        assert_eq!(
            none.missing_for("roots/list", None),
            Some(r#"{"roots":{}}"#)
        );
        assert_eq!(
            none.missing_for("elicitation/create", Some(r#"{"mode":"url"}"#)),
            Some(r#"{"elicitation":{"url":{}}}"#)
        );
        assert_eq!(none.missing_for("vendor/thing", None), None);
        let all = ClientCapabilities::parse(
            r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#,
        );
        for method in ["roots/list", "sampling/createMessage", "elicitation/create"] {
            assert_eq!(all.missing_for(method, None), None);
        }
    }

    #[test]
    fn nonsense_declares_nothing() {
        assert_eq!(
            ClientCapabilities::parse("[]"),
            ClientCapabilities::default()
        );
        assert_eq!(
            ClientCapabilities::parse(r#"{"roots":1}"#),
            ClientCapabilities::default()
        );
    }
}
