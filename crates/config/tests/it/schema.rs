//! The committed schema is the one of the code, and says what people need.

use std::{env, fs, path::Path};

use mcp_ultra_config::{Config, load_str, schema, schema_text};
use serde_json::Value;

#[test]
fn the_committed_schema_is_up_to_date() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/config.schema.json");
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(&path, schema_text()).expect("write");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == schema_text(),
        "docs/reference/config.schema.json is out of date: run the tests with UPDATE_REFERENCE=1"
    );
}

#[test]
fn every_key_has_a_description_and_every_group_is_closed() {
    let schema = schema().to_value();
    let mut groups = vec![("", &schema)];
    let definitions = schema["$defs"].as_object().expect("definitions");
    groups.extend(
        definitions
            .iter()
            .map(|(name, schema)| (name.as_str(), schema)),
    );
    let mut keys = 0;
    for (name, group) in groups {
        let Some(properties) = group.get("properties").and_then(Value::as_object) else {
            continue;
        };
        assert_eq!(group["additionalProperties"], false, "{name}");
        for (key, property) in properties {
            keys += 1;
            assert!(
                property["description"].is_string(),
                "{name}.{key} has no description"
            );
        }
    }
    assert!(keys > 50, "{keys}");
}

#[test]
fn defaults_in_the_schema_are_those_of_the_code() {
    let schema = schema().to_value();
    let config = serde_json::to_value(Config::default()).expect("json");
    for section in ["server", "limits", "catalog", "session", "log"] {
        assert_eq!(
            schema["properties"][section]["default"], config[section],
            "{section}"
        );
    }
}

#[test]
fn the_schema_agrees_with_the_loader() {
    let validator = jsonschema::validator_for(&schema().to_value()).expect("a valid schema");
    for text in [
        "{}",
        r#"{"server":{"port":8080},"servers":[{"name":"files","command":"npx","args":["-y",5]},
            {"name":"crm","url":"https://crm.example.com/mcp","prefix":"none"}]}"#,
        r#"{"limits":{"body":"4MiB","result":65536,"call_timeout":"5m"},"log":{"level":"debug"}}"#,
        r#"{"server":{"allowed_hosts":["*"]},"extensions":["ui"],"environment":"staging"}"#,
    ] {
        let value: Value = serde_json::from_str(text).expect("json");
        assert!(validator.is_valid(&value), "the schema refuses {text}");
        assert!(
            load_str(text, "c.json").is_ok(),
            "the loader refuses {text}"
        );
    }
    for text in [
        r#"{"server":{"prot":1}}"#,
        r#"{"server":{"port":70000}}"#,
        r#"{"servers":[{"command":"x"}]}"#,
        r#"{"servers":[{"name":"A b","command":"x"}]}"#,
        r#"{"servers":[{"name":"a","url":"ftp://a.example"}]}"#,
        r#"{"limits":{"body":-1}}"#,
        r#"{"limits":{"connections":0}}"#,
        r#"{"limits":{"call_timeout":"5"}}"#,
        r#"{"log":{"level":"loud"}}"#,
        r#"{"extensions":["x"]}"#,
    ] {
        let value: Value = serde_json::from_str(text).expect("json");
        assert!(!validator.is_valid(&value), "the schema accepts {text}");
        assert!(
            load_str(text, "c.json").is_err(),
            "the loader accepts {text}"
        );
    }
}
