//! The filter of `subscriptions/listen`: what a client wants to hear of, and what it will.

use mcp_ultra_domain::catalog::Kind;
use mcp_ultra_protocol::{
    WireError,
    json::{self, Object},
};

/// The keys of the `notifications` filter.
pub(super) const RESOURCES: &str = "resourceSubscriptions";
pub(super) const TASKS: &str = "taskIds";

/// What a client wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub lists: Vec<Kind>,
    /// Public URIs.
    pub resources: Vec<String>,
    /// Sealed ids of tasks (Tasks extension, Task Status Notifications).
    pub tasks: Vec<String>,
}

/// How many resources and how many tasks one stream may be about.
const MAX_NAMES: usize = 1000;

impl Filter {
    pub(super) fn parse(params: Option<&str>) -> Result<Self, WireError> {
        let unreadable = |error: json::ObjectError| {
            WireError::invalid_params(format!("params.notifications: {error}"))
        };
        let Some(params) = params else {
            return Ok(Self::default());
        };
        let params = Object::parse(params).map_err(unreadable)?;
        let Some(wanted) = params.get_object("notifications").map_err(unreadable)? else {
            return Err(WireError::invalid_params(
                "params needs the object \"notifications\"",
            ));
        };
        let flags = [
            ("toolsListChanged", Kind::Tool),
            ("promptsListChanged", Kind::Prompt),
            ("resourcesListChanged", Kind::Resource),
        ];
        let lists = flags
            .into_iter()
            .filter(|(key, _)| wanted.get(key) == Some("true"))
            .map(|(_, kind)| kind)
            .collect();
        Ok(Self {
            lists,
            resources: names(&wanted, RESOURCES)?,
            tasks: names(&wanted, TASKS)?,
        })
    }

    /// The text of the filter.
    pub(super) fn to_json(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for kind in &self.lists {
            let key = match kind {
                Kind::Tool => "toolsListChanged",
                Kind::Prompt => "promptsListChanged",
                Kind::Resource | Kind::Template => "resourcesListChanged",
            };
            parts.push(format!("\"{key}\":true"));
        }
        for (key, names) in [(RESOURCES, &self.resources), (TASKS, &self.tasks)] {
            if !names.is_empty() {
                let quoted: Vec<String> = names.iter().map(|name| json::quote(name)).collect();
                parts.push(format!("\"{key}\":[{}]", quoted.join(",")));
            }
        }
        format!("{{{}}}", parts.join(","))
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        // Templates have no notification of their own.
        let kind = if kind == Kind::Template {
            Kind::Resource
        } else {
            kind
        };
        self.lists.contains(&kind)
    }
}

/// The strings of an array of the filter; none where it is absent.
fn names(wanted: &Object<'_>, key: &str) -> Result<Vec<String>, WireError> {
    let Some(raw) = wanted.get(key) else {
        return Ok(Vec::new());
    };
    let names = json::elements(raw).and_then(|names| {
        names
            .into_iter()
            .map(|raw| json::as_str(raw).map(std::borrow::Cow::into_owned))
            .collect::<Option<Vec<_>>>()
    });
    match names {
        Some(names) if names.len() <= MAX_NAMES => Ok(names),
        Some(_) => Err(WireError::invalid_params(format!(
            "{key} has more than {MAX_NAMES} elements"
        ))),
        None => Err(WireError::invalid_params(format!(
            "{key} must be an array of strings"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_read_and_written() {
        let filter = Filter::parse(Some(
            r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a://1"]}}"#,
        ))
        .unwrap();
        assert!(filter.wants(Kind::Tool) && !filter.wants(Kind::Prompt));
        assert_eq!(
            filter.to_json(),
            r#"{"toolsListChanged":true,"resourceSubscriptions":["a://1"]}"#
        );
    }

    #[test]
    fn bad_filters_are_refused() {
        for params in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
            r#"{"notifications":{"taskIds":"all"}}"#,
        ] {
            assert!(Filter::parse(Some(params)).is_err(), "{params}");
        }
    }
}
