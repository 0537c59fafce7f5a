//! Whatever is loaded or imported: a configuration or an error, never a panic, and soon.

use mcp_ultra_config::{
    ConfigError, Loaded, MissingReferences, SourceFile, Sources, Text, import_client_config, load,
    load_str, variables,
};
use proptest::prelude::*;

const VALID: &str = r#"# a comment
environment: production
auth:
  resource: https://mcp.example.com/mcp
  issuers: [{ issuer: "https://login.example.com", algorithms: [ES256, EdDSA], claims: { roles: a.b } }]
  jwt_secret: "${file:/nowhere}"
  jwks: { refresh: 5m, max_age: 1d }
policy: { files: [policies, "b.cedar"], time_zone: America/Sao_Paulo }
pinning: { mode: enforce, lock_file: tools.lock }
server:
  port: 8080
  host: "0.0.0.0"
  allowed_hosts: [a.example, "b.example:80"]
  cors: { origins: ["https://a.example"] }
  tls: { certificate: a.pem, key: b.pem, client_auth: optional, client_ca: c.pem, min_version: "1.3" }
outbound: { allow_addresses: [10.0.0.0/8], allow_hosts: [a.example] }
limits:
  body: 4MiB
  call_timeout: 90s
session:
  keys: [{ id: first, secret: "${file:/nowhere}" }]
servers:
  - &a
    name: files
    command: npx
    args: ["-y", "${A:-x}", 1.10, 0x1F, !!str 5]
    env: { KEY: "${KEY}", "a.b": yes }
  - { <<: *a, name: crm, prefix: none }
  - name: more
    url: http://[::1]:80/?x=é
    headers: { Authorization: "Bearer ${T}" }
    restart: { min: 1s, max: 2s }
    data_class: confidential
    data_classes: [{ names: ["get_*", é], class: personal }]
    pinning: off
"#;

#[test]
fn the_file_that_is_mutated_is_valid() {
    check_import(VALID);
}

/// Every way to read a text; what comes out can be shown in every way.
fn all(text: &str) {
    let accepting = Sources {
        file: Some(SourceFile {
            name: "c.yaml".into(),
            text: text.into(),
        }),
        missing: MissingReferences::Accept,
        ..Sources::default()
    };
    for result in [load_str(text, "c.yaml"), load(&accepting)] {
        show(result);
    }
    if let Ok(imported) = import_client_config(text, None)
        && !imported.servers.is_empty()
    {
        check_import(&imported.yaml);
    }
}

fn show(result: Result<Loaded, ConfigError>) {
    match result {
        Ok(loaded) => {
            let rows = loaded.explain();
            assert!(!rows.is_empty());
            let _ = format!("{loaded:?}");
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "an error says what is wrong");
            assert!(!error.to_string().is_empty() && !error.detailed().is_empty());
        }
    }
}

/// What is imported is loaded, whatever it was made of.
fn check_import(yaml: &str) {
    let sources = Sources {
        file: Some(SourceFile {
            name: "imported.yaml".into(),
            text: yaml.into(),
        }),
        missing: MissingReferences::Accept,
        ..Sources::default()
    };
    if let Err(error) = load(&sources) {
        panic!("{error}\n{yaml}");
    }
}

fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0_usize..6, prop::string::string_regex(
        "[ -~\n\t]{0,3}|[\"',:{}\\[\\]]|\\$\\{|\\}|: |- |\u{e9}|\u{0}|\u{feff}|\u{2028}|&a |\\*a|<<|!!|---\n|99999999999999999999|-1|~",
    ).expect("a pattern"));
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, removed, inserted) in edits {
            let start = place.index(letters.len() + 1).min(letters.len());
            let end = (start + removed).min(letters.len());
            letters.splice(start..end, inserted.chars());
        }
        letters.into_iter().collect()
    })
}

const CLIENT: &str = include_str!("../../../../tests/data/client-configs/vscode-mcp.json");
const DESKTOP: &str = include_str!("../../../../tests/data/client-configs/claude-desktop.json");

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(file) = SourceFile::from_bytes("c.yaml", bytes) {
            all(&file.text);
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        all(&text);
    }

    #[test]
    fn anything_that_looks_like_yaml(text in "([ ]{0,4}(-|[a-z]{1,6}:|\\{|\\}|\\[|\\]|,|\"|'|&a|\\*a|<<:|\\||>|#|!!?[a-z]*|\\?|[0-9]{1,3})[ \n]?){0,40}") {
        all(&text);
    }

    #[test]
    fn a_mutated_valid_file(text in mutated(VALID)) {
        all(&text);
    }

    #[test]
    fn a_mutated_client_configuration(text in mutated(CLIENT)) {
        all(&text);
    }

    #[test]
    fn another_mutated_client_configuration(text in mutated(DESKTOP)) {
        all(&text);
    }

    #[test]
    fn any_value_of_a_variable(value in "\\PC{0,30}|[0-9]{1,30}(ms|s|m|KiB|GiB)?") {
        for name in variables().keys() {
            let sources = Sources {
                environment: [(name.clone(), value.clone())].into(),
                ..Sources::default()
            };
            if let Err(error) = load(&sources) {
                prop_assert!(error.to_string().contains(name.as_str()), "{}", error);
            }
        }
    }

    #[test]
    fn any_texts_of_a_client_come_through_unchanged(
        args in prop::collection::vec("[^$\u{0}]{0,12}", 0..4),
        name in "\\PC{1,40}",
    ) {
        let client = serde_json::json!({ "mcpServers": { name: { "command": "run", "args": args } } });
        let imported = import_client_config(&client.to_string(), None);
        let Ok(imported) = imported else { return Ok(()) };
        let sources = Sources {
            file: Some(SourceFile { name: "imported.yaml".into(), text: imported.yaml.clone() }),
            missing: MissingReferences::Accept,
            ..Sources::default()
        };
        let loaded = load(&sources).map_err(|e| TestCaseError::fail(format!("{e}\n{}", imported.yaml)))?;
        if imported.variables.is_empty() {
            let found: Vec<&str> = loaded.config.servers[0].args.iter().map(Text::as_str).collect();
            prop_assert_eq!(found, args);
        }
    }
}
