//! `mcp-ultra config` and `mcp-ultra import`.

use std::{fs, path::Path};

use serde_json::Value;

use crate::cli::{Run, command, finish, run};

const SMALLEST: &str = r#"server: { port: 8081 }
servers:
  - name: files
    command: npx
    args: ["-y", "@modelcontextprotocol/server-filesystem", "./data"]
  - name: crm
    url: https://crm.example.com/mcp
    prefix: none
    headers: { Authorization: "Bearer ${CRM_TOKEN}" }
"#;

async fn with_file(folder: &Path, text: &str, arguments: &[&str]) -> Run {
    fs::write(folder.join("gateway.yaml"), text).unwrap();
    let mut command = command(arguments);
    command.current_dir(folder).env("CRM_TOKEN", "segredo-123");
    finish(command).await
}

#[tokio::test]
async fn a_configuration_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let validate = ["config", "validate", "--config", "gateway.yaml"];
    let run = with_file(folder.path(), SMALLEST, &validate).await;
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "The configuration is valid: 2 servers.\n"),
        "{}",
        run.err
    );

    let broken = SMALLEST
        .replace("8081", "99999")
        .replace("command: npx", "comand: npx");
    let run = with_file(folder.path(), &broken, &validate).await;
    assert_eq!(run.code, 2);
    for word in [
        "gateway.yaml:1:17",
        "99999",
        "gateway.yaml:4:5",
        "comand: npx",
        "`command`",
    ] {
        assert!(run.err.contains(word), "{word} is missing:\n{}", run.err);
    }

    let run = with_file(
        folder.path(),
        &broken,
        &[&validate[..], &["--json"]].concat(),
    )
    .await;
    assert_eq!(run.code, 2);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["problems"][0]["origin"]["line"], 1);
}

#[tokio::test]
async fn its_policies_are_checked_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let policies = |text: &str| fs::write(folder.path().join("p.cedar"), text).unwrap();
    let validate = ["config", "validate", "--config", "gateway.yaml"];
    let text = format!("policy: {{ files: [p.cedar] }}\n{SMALLEST}");
    let run = with_file(folder.path(), &text, &validate).await;
    assert_eq!(run.code, 2, "{}", run.out);
    assert!(
        run.err.contains("p.cedar: the file can't be read"),
        "{}",
        run.err
    );
    policies("permit(principal, action, resource);\npermit(princpal, action, resource);");
    let run = with_file(folder.path(), &text, &validate).await;
    assert_eq!(run.code, 2, "{}", run.out);
    assert!(run.err.contains("p.cedar:2:8"), "{}", run.err);
    let without = [&validate[..], &["--without-policies"]].concat();
    assert_eq!(with_file(folder.path(), &text, &without).await.code, 0);
    let run = with_file(folder.path(), &text, &[&validate[..], &["--json"]].concat()).await;
    assert_eq!(run.code, 2);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["valid"], false);
    assert_eq!(report["problems"][0]["line"], 2);
    policies("permit(principal, action, resource);");
    let run = with_file(folder.path(), &text, &validate).await;
    assert_eq!(
        (run.code, &*run.err),
        (0, ""),
        "nobody is asked about administration"
    );
    // Who would administer everything, and who nothing, where there is something to administer.
    let admin = "admin: { port: 0 }\nstorage: { sqlite: s.db }\nauth: { resource: \"https://mcp.example.com/mcp\", api_keys: { enabled: true } }\n";
    let text = format!("{admin}{text}");
    for (policy, told) in [
        (
            "@id(\"wide\") permit(principal, action, resource);",
            "so the admin API too: wide",
        ),
        (
            "permit(principal, action in Action::\"tools\", resource);",
            "nobody may use it",
        ),
    ] {
        policies(policy);
        let run = with_file(folder.path(), &text, &validate).await;
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.err.contains(told), "{}", run.err);
    }
}

#[tokio::test]
async fn two_servers_with_the_same_prefix_keep_the_gateway_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = "servers:\n  - { name: a, url: \"http://127.0.0.1:9/mcp\", prefix: same }\n  - name: b\n    url: \"http://127.0.0.1:9/mcp\"\n    prefix: same\n";
    let serve = ["serve", "--port", "0", "--config", "gateway.yaml"];
    let run = with_file(folder.path(), file, &serve).await;
    assert_eq!(run.code, 2, "{}", run.err);
    for word in ["gateway.yaml:5:13", "`same`", "`a`"] {
        assert!(run.err.contains(word), "{word} is missing:\n{}", run.err);
    }
    // A name is a prefix where none is written.
    let file = file
        .replacen("prefix: same", "prefix: b", 1)
        .replace("    prefix: same\n", "");
    let run = with_file(folder.path(), &file, &serve).await;
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("gateway.yaml:3:"), "{}", run.err);
}

#[tokio::test]
async fn every_value_is_explained_and_secrets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let explain = ["config", "explain", "--config", "gateway.yaml"];
    let run = with_file(folder.path(), SMALLEST, &explain).await;
    assert_eq!(run.code, 0, "{}", run.err);
    let port = run
        .out
        .lines()
        .find(|line| line.starts_with("server.port"))
        .unwrap();
    assert!(
        port.contains("8081") && port.ends_with("gateway.yaml:1"),
        "{port}"
    );
    assert!(!run.out.contains("segredo-123"));

    let run = with_file(
        folder.path(),
        SMALLEST,
        &[&explain[..], &["--json"]].concat(),
    )
    .await;
    let rows: Value = serde_json::from_str(&run.out).unwrap();
    assert!(
        rows.as_array()
            .unwrap()
            .iter()
            .any(|row| row["path"] == "server.port")
    );
    assert!(!run.out.contains("segredo-123"));
}

#[tokio::test]
async fn the_schema_is_a_schema() {
    let run = run(&["config", "schema"]).await;
    let schema: Value = serde_json::from_str(&run.out).unwrap();
    assert!(schema["properties"]["servers"].is_object());
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_configuration_error() {
    let run = run(&["config", "validate", "--config", "nowhere.yaml"]).await;
    assert_eq!(run.code, 2);
    assert!(run.err.contains("nowhere.yaml"), "{}", run.err);
}

#[tokio::test]
async fn a_clients_servers_become_ours() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ // mine
        "mcpServers": { "git": { "command": "git-mcp", "env": { "GIT_TOKEN": "segredo-123" } }, } }"#;
    fs::write(folder.path().join("mcp.json"), text).unwrap();
    let import = |more: &'static [&'static str]| {
        let mut command = command(&[&["import", "mcp.json"], more].concat());
        command.current_dir(folder.path());
        finish(command)
    };
    let run = import(&[]).await;
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.out.contains("name: git") && run.err.contains("set GIT_TOKEN"),
        "{}{}",
        run.out,
        run.err
    );
    assert!(!run.out.contains("segredo-123") && !run.err.contains("segredo-123"));

    let run = import(&["--output", "ours.yaml", "--format", "cursor"]).await;
    assert_eq!(run.code, 0, "{}", run.err);
    let mut validate = command(&["config", "validate", "--config", "ours.yaml"]);
    validate.current_dir(folder.path()).env("GIT_TOKEN", "x");
    assert_eq!(finish(validate).await.code, 0);
    let again = import(&["--output", "ours.yaml"]).await;
    assert_eq!(again.code, 1);
    assert!(again.err.contains("exists already"), "{}", again.err);

    for text in ["{", "{}", "[]"] {
        fs::write(folder.path().join("mcp.json"), text).unwrap();
        let run = import(&[]).await;
        assert_eq!(run.code, 2, "{text}: {}", run.err);
        assert!(run.err.contains("mcp.json"), "{}", run.err);
    }
}
