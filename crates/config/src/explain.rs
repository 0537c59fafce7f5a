//! Every effective value and where it came from, secrets masked.

use serde::Serialize;
use serde_json::Value;

use crate::{
    load::Loaded,
    origin::Origin,
    rate::RateLimit,
    sections::{Config, Names, RatesSection},
};

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its path, such as `servers[0].url`.
    pub path: String,
    /// The value as it may be shown: references as written, secrets masked.
    pub value: String,
    /// What decided it.
    pub origin: Origin,
}

impl Loaded {
    /// Every effective value, sorted by path (list items by number).
    pub fn explain(&self) -> Vec<Row> {
        flatten(&self.config)
            .into_iter()
            .map(|(path, value)| {
                let origin = match (self.origin(&path), follows(&path)) {
                    (Origin::Default, Some(other)) => self.origin(other),
                    (origin, _) => origin,
                };
                Row {
                    path,
                    value,
                    origin,
                }
            })
            .collect()
    }

    /// What decided the value at a path; the value around it if that was written whole.
    pub fn origin(&self, path: &str) -> Origin {
        // A list from a variable is one text: its items have no origin of their own.
        let whole = path.split_once('[').map_or(path, |(list, _)| list);
        let exact = self.origins.get(path);
        let list = || {
            let origin = self.origins.get(whole)?;
            (!matches!(origin, Origin::File { .. })).then_some(origin)
        };
        exact.or_else(list).cloned().unwrap_or(Origin::Default)
    }
}

/// Path and shown value of everything in a configuration, defaults that depend on other values
/// worked out.
pub(crate) fn flatten(config: &Config) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    // Serialising our own types to JSON can't fail; if it did, there would be nothing to show.
    let tree = serde_json::to_value(config).unwrap_or_default();
    walk(&tree, "", &mut rows);
    for (path, value) in worked_out(config) {
        match rows.iter_mut().find(|(known, _)| *known == path) {
            Some(row) => row.1 = value,
            None => rows.push((path, value)),
        }
    }
    rows.sort_by_cached_key(|(path, _)| sort_key(path));
    rows
}

fn walk(value: &Value, path: &str, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(value, &below, rows);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{index}]"), rows);
            }
        }
        Value::String(text) => rows.push((path.to_owned(), text.clone())),
        Value::Null => rows.push((path.to_owned(), "(not set)".to_owned())),
        other => rows.push((path.to_owned(), other.to_string())),
    }
}

/// The path of the general value that holds where a special one is not set.
fn follows(path: &str) -> Option<&'static str> {
    let of_server = path
        .strip_prefix("servers[")
        .and_then(|rest| rest.split_once("]."));
    match (path, of_server) {
        ("limits.response_timeout", _) | (_, Some((_, "timeout"))) => Some("limits.call_timeout"),
        (_, Some((_, "extensions"))) => Some("extensions"),
        _ => None,
    }
}

/// Values that are not set and follow from others.
fn worked_out(config: &Config) -> Vec<(String, String)> {
    let names = |names: Names| match names {
        Names::Any => "any".to_owned(),
        Names::Only(list) if list.is_empty() => "none".to_owned(),
        Names::Only(list) => list.join(", "),
    };
    let server = &config.server;
    let mut values = vec![
        (
            "server.shutdown.drain_delay".to_owned(),
            config.drain_delay().to_string(),
        ),
        (
            "limits.response_timeout".to_owned(),
            config.limits.response_timeout().to_string(),
        ),
    ];
    if config.limits.rates.address.is_none() {
        let rate = RateLimit::At(RatesSection::UNSET_ADDRESS);
        let value = format!("{rate}, loopback addresses aside");
        values.push(("limits.rates.address".to_owned(), value));
    }
    if server.allowed_hosts.is_none() {
        values.push(("server.allowed_hosts".to_owned(), names(server.hosts())));
    }
    if server.allowed_origins.is_none() {
        values.push(("server.allowed_origins".to_owned(), names(server.origins())));
    }
    if config.log.format.is_none() {
        values.push((
            "log.format".to_owned(),
            "text on a terminal, else json".to_owned(),
        ));
    }
    for (index, server) in config.servers.iter().enumerate() {
        let prefix = server.effective_prefix().unwrap_or("none");
        values.push((format!("servers[{index}].prefix"), prefix.to_owned()));
        let timeout = config.call_timeout(server);
        values.push((format!("servers[{index}].timeout"), timeout.to_string()));
        if server.extensions.is_none() {
            let list: Vec<String> = config
                .extensions
                .iter()
                .map(|e| format!("{e:?}").to_lowercase())
                .collect();
            values.push((format!("servers[{index}].extensions"), list.join(", ")));
        }
    }
    values
}

/// Sorts `servers[10]` after `servers[9]`.
fn sort_key(path: &str) -> Vec<(String, usize)> {
    path.split('.')
        .map(|part| match part.split_once('[') {
            Some((name, number)) => (
                name.to_owned(),
                number.trim_end_matches(']').parse().unwrap_or(usize::MAX),
            ),
            None => (part.to_owned(), 0),
        })
        .collect()
}
