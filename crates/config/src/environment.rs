//! Environment variables: every single value of the schema has one, made from its path.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use crate::{error::Warning, nearest::nearest, schema::schema, secret::SECRET_VARIABLE_PREFIX};

/// What every variable of the gateway begins with.
pub const PREFIX: &str = "MCP_ULTRA_";

/// The variable that names the configuration file itself.
pub const CONFIG_VARIABLE: &str = "MCP_ULTRA_CONFIG";

/// Shorter names that stand for a value besides the one made from its path.
const SHORT: [(&str, &str); 1] = [("MCP_ULTRA_JWT_SECRET", "auth.jwt_secret")];

/// Name and path of every value that a variable can set: single values and lists of them (items
/// between commas). `server.port` is `MCP_ULTRA_SERVER_PORT`. Derived from the schema.
pub fn variables() -> &'static BTreeMap<String, String> {
    static VARIABLES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let root = schema().to_value();
        let mut paths = Vec::new();
        collect(&root, &root, "", &mut paths);
        paths
            .into_iter()
            .map(|path| (variable(&path), path))
            .chain(SHORT.map(|(name, path)| (name.to_owned(), path.to_owned())))
            .collect()
    });
    &VARIABLES
}

/// The name of the variable for a path.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase())
}

fn collect(root: &Value, schema: &Value, path: &str, paths: &mut Vec<String>) {
    let schema = resolve(root, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (key, property) in properties {
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            collect(root, property, &below, paths);
        }
    } else if is_single(root, schema) {
        paths.push(path.to_owned());
    }
}

/// Follows references and optional values to what they are about.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer));
        return target.map_or(schema, |target| resolve(root, target));
    }
    let null = |option: &&Value| option.get("type").is_some_and(|kind| kind == "null");
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(options) if options.iter().any(|option| null(&option)) => options
            .iter()
            .find(|option| !null(option))
            .map_or(schema, |option| resolve(root, option)),
        _ => schema,
    }
}

/// Whether a text can stand for the value: no group of keys, no list of groups.
fn is_single(root: &Value, schema: &Value) -> bool {
    let is = |kind: &str| match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    if is("array") {
        let group = |item: &Value| resolve(root, item).get("properties").is_some();
        return schema.get("items").is_some_and(|item| !group(item));
    }
    !is("object")
}

/// What the environment says: values by path with the name of their variable, and what is odd.
pub(crate) fn read(
    environment: &BTreeMap<String, String>,
) -> (Vec<(&'static str, &str, &str)>, Vec<Warning>) {
    let mut values = Vec::new();
    let mut warnings = Vec::new();
    for (name, value) in environment {
        // An empty variable is how compose files and manifests spell "not set".
        let ours = name.starts_with(PREFIX) && !name.starts_with(SECRET_VARIABLE_PREFIX);
        if !ours || name == CONFIG_VARIABLE || value.is_empty() {
            continue;
        }
        match variables().get(name) {
            Some(_) if is_service_link(value) => warnings.push(Warning {
                message: format!("the environment variable {name} is ignored: it holds an address"),
                help: Some(
                    "Kubernetes sets it for a Service of that name; set enableServiceLinks: false"
                        .into(),
                ),
            }),
            Some(path) => values.push((path.as_str(), name.as_str(), value.as_str())),
            None if is_service_name(name) => {}
            None => {
                let known = variables().keys().map(String::as_str);
                let known = known.chain([CONFIG_VARIABLE]);
                warnings.push(Warning {
                    message: format!("the environment variable {name} is unknown and ignored"),
                    help: nearest(name, known).map(|meant| format!("did you mean {meant}?")),
                });
            }
        }
    }
    (values, warnings)
}

/// Kubernetes hands `…_PORT=tcp://10.0.0.1:80` of every Service to every container.
fn is_service_link(value: &str) -> bool {
    value.starts_with("tcp://") || value.starts_with("udp://")
}

/// Whether the name is one of those that Kubernetes makes for a Service called `mcp-ultra…`.
fn is_service_name(name: &str) -> bool {
    let numbered_port = || {
        let (_, rest) = name.rsplit_once("_PORT_")?;
        let (number, rest) = rest.split_once('_')?;
        let protocol = rest.split('_').next()?;
        Some(number.parse::<u16>().is_ok() && matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name == "MCP_ULTRA_PORT"
        || numbered_port().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(name: &str, value: &str) -> (usize, Vec<Warning>) {
        let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let (values, warnings) = read(&environment);
        (values.len(), warnings)
    }

    #[test]
    fn the_flat_keys_of_the_deployment_checklist_are_variables() {
        for (name, path) in [
            ("MCP_ULTRA_SERVER_PORT", "server.port"),
            ("MCP_ULTRA_LOG_LEVEL", "log.level"),
            ("MCP_ULTRA_ENVIRONMENT", "environment"),
            (
                "MCP_ULTRA_SERVER_SHUTDOWN_DRAIN_DELAY",
                "server.shutdown.drain_delay",
            ),
            ("MCP_ULTRA_SERVER_ALLOWED_HOSTS", "server.allowed_hosts"),
            ("MCP_ULTRA_EXTENSIONS", "extensions"),
            ("MCP_ULTRA_LIMITS_BODY", "limits.body"),
            ("MCP_ULTRA_JWT_SECRET", "auth.jwt_secret"),
            ("MCP_ULTRA_AUTH_JWT_SECRET", "auth.jwt_secret"),
            ("MCP_ULTRA_AUTH_RESOURCE", "auth.resource"),
            ("MCP_ULTRA_AUTH_REQUIRED_SCOPES", "auth.required_scopes"),
        ] {
            assert_eq!(
                variables().get(name).map(String::as_str),
                Some(path),
                "{name}"
            );
        }
    }

    #[test]
    fn lists_of_groups_have_no_variable_and_names_are_unique() {
        assert!(
            variables()
                .keys()
                .all(|name| !name.starts_with("MCP_ULTRA_SERVERS"))
        );
        assert!(
            variables()
                .keys()
                .all(|name| !name.starts_with("MCP_ULTRA_SESSION_KEYS"))
        );
        let root = schema().to_value();
        let mut paths = Vec::new();
        collect(&root, &root, "", &mut paths);
        let long = variables().len() - SHORT.len();
        assert_eq!(paths.len(), long, "two paths share a variable");
    }

    #[test]
    fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
        let (values, warnings) = read_one("MCP_ULTRA_SERVER_PROT", "1");
        assert_eq!(values, 0);
        assert_eq!(
            warnings[0].help.as_deref(),
            Some("did you mean MCP_ULTRA_SERVER_PORT?")
        );
    }

    #[test]
    fn what_kubernetes_adds_does_no_harm() {
        assert_eq!(
            read_one("MCP_ULTRA_SERVICE_HOST", "10.0.0.1"),
            (0, Vec::new())
        );
        assert_eq!(
            read_one("MCP_ULTRA_PORT", "tcp://10.0.0.1:80"),
            (0, Vec::new())
        );
        assert_eq!(
            read_one("MCP_ULTRA_PORT_80_TCP_ADDR", "10.0.0.1"),
            (0, Vec::new())
        );
        let (values, warnings) = read_one("MCP_ULTRA_SERVER_PORT", "tcp://10.0.0.1:80");
        assert_eq!((values, warnings.len()), (0, 1));
    }

    #[test]
    fn an_empty_variable_and_a_foreign_one_count_as_not_set() {
        assert_eq!(read_one("MCP_ULTRA_SERVER_PORT", ""), (0, Vec::new()));
        assert_eq!(read_one("PATH", "/bin"), (0, Vec::new()));
        assert_eq!(read_one(CONFIG_VARIABLE, "x.yaml"), (0, Vec::new()));
    }
}
