//! Configurations of clients become ours: loadable, in order, without secrets.

use std::collections::BTreeMap;

use mcp_ultra_config::{
    ImportError, Imported, Loaded, SourceFile, Sources, Text, import::Client, import_client_config,
    load,
};

macro_rules! client_config {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/data/client-configs/", $name))
    };
}

fn import(text: &str) -> Imported {
    import_client_config(text, None).expect("imports")
}

/// Loads what was imported with every variable set to `value of NAME`.
fn load_imported(imported: &Imported) -> Loaded {
    let set = |variable: &mcp_ultra_config::import::Variable| {
        (variable.name.clone(), format!("value of {}", variable.name))
    };
    let mut environment: BTreeMap<String, String> = imported.variables.iter().map(set).collect();
    environment.insert("HOME".into(), "/home/ana".into());
    let file = SourceFile {
        name: "imported.yaml".into(),
        text: imported.yaml.clone(),
    };
    let sources = Sources {
        file: Some(file),
        environment,
        ..Sources::default()
    };
    load(&sources).unwrap_or_else(|error| panic!("{error}\n{}", imported.yaml))
}

fn variables(imported: &Imported) -> Vec<&str> {
    imported
        .variables
        .iter()
        .map(|variable| variable.name.as_str())
        .collect()
}

#[test]
fn claude_desktop() {
    let imported = import(client_config!("claude-desktop.json"));
    assert_eq!(
        imported.servers,
        ["filesystem", "github-issues", "accounting"]
    );
    assert_eq!(imported.skipped[0].reason, "it is MCP Ultra itself");
    assert_eq!(
        variables(&imported),
        [
            "GITHUB_PERSONAL_ACCESS_TOKEN",
            "ACCOUNTING_API_KEY",
            "ACCOUNTING_DB"
        ]
    );
    assert_eq!(
        imported.notes,
        ["GitHub Issues: the server is called `github-issues` now"]
    );
    let config = load_imported(&imported).config;
    assert_eq!(
        config.servers[1].env["GITHUB_PERSONAL_ACCESS_TOKEN"].expose(),
        "value of GITHUB_PERSONAL_ACCESS_TOKEN"
    );
    assert_eq!(config.servers[1].env["LOG_LEVEL"].expose(), "info");
    let accounting = &config.servers[2];
    assert!(!accounting.enabled);
    assert_eq!(
        accounting.env["YEAR"].expose(),
        "2026",
        "a text that looks like a number"
    );
    let args: Vec<&str> = accounting.args.iter().map(Text::as_str).collect();
    assert_eq!(
        args,
        [
            "--api-key",
            "value of ACCOUNTING_API_KEY",
            "--db=value of ACCOUNTING_DB",
            "--port",
            "9000"
        ]
    );
}

#[test]
fn claude_code() {
    let imported = import(client_config!("claude-code.json"));
    assert_eq!(imported.servers, ["tickets", "search"]);
    assert_eq!(imported.skipped[0].name, "old");
    assert!(imported.skipped[0].reason.contains("2024-11-05"));
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.starts_with("1 project(s)"))
    );
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("header Accept is left out"))
    );
    let config = load_imported(&imported).config;
    let tickets = &config.servers[0];
    assert_eq!(
        tickets.url.as_ref().map(|url| url.url().as_str()),
        Some("https://tickets.example.com/mcp")
    );
    assert_eq!(
        tickets.headers["Authorization"].expose(),
        "Bearer value of TICKETS_TOKEN"
    );
    assert_eq!(config.servers[1].env["CACHE"].expose(), "/home/ana/cache");
}

#[test]
fn cursor() {
    let imported = import(client_config!("cursor.json"));
    assert_eq!(imported.servers, ["notes", "calendar", "feed"]);
    assert_eq!(
        variables(&imported),
        ["NOTES_API_KEY", "NOTES_X_API_KEY", "CALENDAR_KEY"]
    );
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("ends with /sse"))
    );
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note == "calendar: not carried over: envFile")
    );
    let config = load_imported(&imported).config;
    assert_eq!(
        config.servers[0]
            .url
            .as_ref()
            .and_then(|url| url.url().query()),
        Some("api_key=value%20of%20NOTES_API_KEY&team=support")
    );
    assert_eq!(config.servers[1].args[0].as_str(), "./calendar.py");
    assert_eq!(
        config.servers[1].env["API_KEY"].expose(),
        "value of CALENDAR_KEY"
    );
}

#[test]
fn vs_code() {
    let imported = import(client_config!("vscode-mcp.json"));
    assert_eq!(imported.servers, ["crm", "crmtools"]);
    assert_eq!(imported.skipped[0].name, "legacy");
    let config = load_imported(&imported).config;
    assert_eq!(
        config.servers[0].headers["Authorization"].expose(),
        "Bearer value of CRM_KEY"
    );
    let args: Vec<&str> = config.servers[1].args.iter().map(Text::as_str).collect();
    assert_eq!(
        args,
        ["./tools.js", "--key=value of CRM_KEY", "// no comment"]
    );
    assert_eq!(config.servers[1].cwd.as_deref(), Some("/home/ana/tools"));
    let settings = import(client_config!("vscode-settings.json"));
    assert_eq!(settings.servers, ["memory"]);
}

#[test]
fn no_secret_is_carried_over() {
    for text in [
        client_config!("claude-desktop.json"),
        client_config!("claude-code.json"),
        client_config!("cursor.json"),
        client_config!("vscode-mcp.json"),
    ] {
        let imported = import(text);
        let shown = format!("{imported:?}");
        assert!(
            !shown.contains("made-up") && !shown.contains("madeUp"),
            "{shown}"
        );
    }
}

#[test]
fn names_are_made_valid_and_unique() {
    let text = r#"{"mcpServers":{"My Server":{"command":"a"},"my_server":{"command":"b"},
        "***":{"command":"c"},"a-very-long-name-that-goes-on-and-on-and-on":{"command":"d"},
        "1st":{"command":"e"}}}"#;
    let imported = import(text);
    assert_eq!(
        imported.servers,
        [
            "my-server",
            "my-server-2",
            "server",
            "a-very-long-name-that-goes-o",
            "server-1st"
        ]
    );
    assert_eq!(imported.notes.len(), 5);
    load_imported(&imported);
}

#[test]
fn the_same_variable_is_used_only_for_the_same_value() {
    let text = r#"{"mcpServers":{
        "a":{"command":"a","env":{"API_KEY":"one"}},
        "b":{"command":"b","env":{"API_KEY":"two"}},
        "c":{"command":"c","env":{"API_KEY":"one"}}}}"#;
    let config = load_imported(&import(text)).config;
    let values: Vec<&str> = config
        .servers
        .iter()
        .map(|s| s.env["API_KEY"].expose())
        .collect();
    assert_eq!(
        values,
        ["value of API_KEY", "value of B_API_KEY", "value of API_KEY"]
    );
}

#[test]
fn what_can_not_be_carried_has_a_reason() {
    for (server, reason) in [
        (
            r#"{"type":"sse","url":"https://a.example/sse"}"#,
            "2024-11-05",
        ),
        (
            r#"{"type":"ws","url":"https://a.example"}"#,
            "neither stdio nor http",
        ),
        (r#"{"url":"https://u:p@a.example"}"#, "credentials"),
        (r#"{"url":"ftp://a.example"}"#, "not http or https"),
        (r#"{"command":"x","url":"http://a.example"}"#, "both"),
        ("{}", "neither a command nor a url"),
        (r#"{"command":["x"]}"#, "not a text"),
        (r#"{"command":"x","args":"y"}"#, "not a list"),
        (r#"{"command":"x","env":["y"]}"#, "not a group"),
        (
            r#"{"url":"http://a.example","headers":{"A B":"c"}}"#,
            "impossible name",
        ),
        ("5", "not an object"),
    ] {
        let text = format!(r#"{{"mcpServers":{{"one":{server}}}}}"#);
        let Err(ImportError::NothingLeft(skipped)) = import_client_config(&text, None) else {
            panic!("{server} was imported")
        };
        assert!(
            skipped[0].reason.contains(reason),
            "{server}: {}",
            skipped[0].reason
        );
    }
}

#[test]
fn what_is_no_client_configuration_is_refused() {
    assert_eq!(
        import_client_config("{}", None),
        Err(ImportError::NoServers)
    );
    let Err(ImportError::NotJson { line, column, .. }) =
        import_client_config("{\n // x\n \"a\" 1}", None)
    else {
        panic!("not JSON")
    };
    assert_eq!((line, column), (3, 6));
    let error = import_client_config(r#"{"mcpServers":"hunter2"}"#, None).expect_err("a text");
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn the_hint_decides_between_two_lists() {
    let text = r#"{"mcpServers":{"a":{"command":"a"}},"servers":{"b":{"command":"b"}}}"#;
    assert_eq!(import(text).servers, ["a"]);
    let hinted = import_client_config(text, Some(Client::VsCode)).expect("imports");
    assert_eq!(hinted.servers, ["b"]);
}
