use crate::policy::{Annotations, Pattern};

/// What calling a tool does, as far as its operator believes what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing changes.
    ReadOnly,
    /// A second call with the same arguments changes nothing more.
    Idempotent,
    /// Anything may happen.
    Any,
}

/// Whose word on the effects of a server's tools counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The server's own names of tools that change nothing, by the operator's word. `*` stands for
    /// any text.
    pub read_only: Vec<String>,
    /// What the server says in annotations of its tools is believed. MCP lets clients take them for
    /// hints only, unless the server is trusted (2026-07-28, Tools, `ToolAnnotations`).
    pub annotations: bool,
}

impl Trust {
    /// What calling the tool of that name does, which says so of itself.
    pub fn effect(&self, original: &str, stated: Annotations) -> Effect {
        let names = |pattern: &String| Pattern::with_stars(pattern).fits(original);
        if self.read_only.iter().any(names) || (self.annotations && stated.read_only) {
            Effect::ReadOnly
        } else if self.annotations && stated.idempotent {
            Effect::Idempotent
        } else {
            Effect::Any
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_own_word_counts_where_it_is_trusted() {
        let stated = |read_only, idempotent| Annotations {
            read_only,
            idempotent,
            ..Annotations::default()
        };
        let trust = |annotations| Trust {
            read_only: vec!["get_*".to_owned()],
            annotations,
        };
        for (annotations, name, stated, effect) in [
            (false, "get_one", stated(false, false), Effect::ReadOnly),
            (false, "set_one", stated(true, true), Effect::Any),
            (true, "set_one", stated(true, false), Effect::ReadOnly),
            (true, "set_one", stated(false, true), Effect::Idempotent),
            (true, "set_one", stated(false, false), Effect::Any),
        ] {
            assert_eq!(trust(annotations).effect(name, stated), effect, "{name}");
        }
    }
}
