//! Defaults, then file, environment, flags; and where each value came from.

use std::collections::BTreeMap;

use mcp_ultra_config::{
    AuthSection, Config, Environment, Loaded, LogLevel, MissingReferences, Origin, PolicySection,
    Secret, ServerSection, SourceFile, Sources, Terminator, Text, load,
};

fn sources(text: &str, environment: &[(&str, &str)]) -> Sources {
    Sources {
        file: Some(SourceFile {
            name: "gateway.yaml".into(),
            text: text.into(),
        }),
        environment: environment
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        ..Sources::default()
    }
}

fn row(loaded: &Loaded, path: &str) -> (String, String) {
    let rows = loaded.explain();
    let row = rows
        .iter()
        .find(|row| row.path == path)
        .unwrap_or_else(|| panic!("no row {path}"));
    (row.value.clone(), row.origin.to_string())
}

#[test]
fn later_sources_win_and_explain_says_which() {
    let file = "server:\n  port: 1000\n  host: 0.0.0.0\nlog: { level: warn }\n";
    let environment = [
        ("MCP_ULTRA_SERVER_PORT", "2000"),
        ("MCP_ULTRA_LOG_LEVEL", "debug"),
        ("MCP_ULTRA_ENVIRONMENT", "staging"),
    ];
    let sources = sources(file, &environment).with_flag("--port", "server.port", "3000");
    let loaded = load(&sources).expect("loads");
    assert_eq!(loaded.config.server.port, 3000);
    assert_eq!(loaded.config.log.level, LogLevel::Debug);
    assert_eq!(loaded.config.environment, Environment::Staging);
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(row(&loaded, "server.port"), pair("3000", "flag --port"));
    assert_eq!(
        row(&loaded, "log.level"),
        pair("debug", "env MCP_ULTRA_LOG_LEVEL")
    );
    assert_eq!(
        row(&loaded, "server.host"),
        pair("0.0.0.0", "gateway.yaml:3")
    );
    assert_eq!(row(&loaded, "limits.body"), pair("4MiB", "default"));
    assert_eq!(
        row(&loaded, "server.shutdown.drain_delay"),
        pair("5s", "default")
    );
    assert_eq!(
        row(&loaded, "server.allowed_origins"),
        pair("none", "default")
    );
}

#[test]
fn the_config_map_of_the_deployment_checklist_works() {
    let environment = [
        ("MCP_ULTRA_SERVER_PORT", "8080"),
        ("MCP_ULTRA_LOG_LEVEL", "info"),
        ("MCP_ULTRA_ENVIRONMENT", "production"),
        ("MCP_ULTRA_SERVER_TLS_TERMINATED_BY", "mesh"),
        ("MCP_ULTRA_AUTH_RESOURCE", "https://mcp.example.com/mcp"),
        ("MCP_ULTRA_POLICY_FILES", "/etc/mcp-ultra/policies"),
        // from the Secret beside it
        ("MCP_ULTRA_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    let mut sources = sources("", &environment);
    sources.file = None;
    let loaded = load(&sources).expect("loads");
    let expected = Config {
        environment: Environment::Production,
        server: ServerSection {
            tls_terminated_by: Some(Terminator::Mesh),
            ..ServerSection::default()
        },
        auth: AuthSection {
            resource: Some("https://mcp.example.com/mcp".into()),
            jwt_secret: Some(Secret::literal("0123456789abcdef0123456789abcdef")),
            ..AuthSection::default()
        },
        policy: PolicySection {
            files: vec!["/etc/mcp-ultra/policies".into()],
            ..PolicySection::default()
        },
        ..Config::default()
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(
        row(&loaded, "auth.jwt_secret"),
        ("***".to_owned(), "env MCP_ULTRA_JWT_SECRET".to_owned())
    );
}

#[test]
fn lists_are_settable_with_commas() {
    let loaded = load(&sources(
        "",
        &[
            ("MCP_ULTRA_SERVER_ALLOWED_HOSTS", "a.example, b.example:80"),
            ("MCP_ULTRA_EXTENSIONS", "ui"),
        ],
    ))
    .expect("loads");
    let hosts = loaded.config.server.allowed_hosts.as_deref().expect("set");
    assert_eq!(hosts, ["a.example", "b.example:80"]);
    assert_eq!(row(&loaded, "extensions[0]").1, "env MCP_ULTRA_EXTENSIONS");
}

#[test]
fn a_bad_value_names_its_variable_or_flag() {
    let error = load(&sources("", &[("MCP_ULTRA_SERVER_PORT", "70000")])).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "environment variable MCP_ULTRA_SERVER_PORT: server.port: expected a whole number from 0 \
         to 65535, found `70000`, a number"
    );
    let error =
        load(&sources("", &[]).with_flag("--drain", "server.shutdown.drain_deadline", "0s"))
            .expect_err("nothing");
    assert!(
        error
            .to_string()
            .starts_with("flag --drain: server.shutdown.drain_deadline: 0s")
    );
    let error =
        load(&sources("", &[]).with_flag("--set", "server.prot", "1")).expect_err("unknown");
    assert!(
        error.to_string().ends_with("did you mean `server.port`?"),
        "{error}"
    );
}

const SECRETS: &str = "servers:
  - name: crm
    url: https://crm.example.com/mcp?key=hunter2
    headers:
      Authorization: Bearer ${CRM_TOKEN}
      X-Literal: hunter2
  - name: files
    command: ${RUNNER:-npx}
    args: [--token, '${CRM_TOKEN}', 8080, 1.10, --key=hunter2, --password, hunter2]
    env: { PIN: 0042, TOKEN: 'hunter2' }
session:
  keys: [{ id: first, secret: hunter2-hunter2-hunter2-hunter2-hunter2 }]
";

#[test]
fn references_are_replaced_and_secrets_never_shown() {
    let loaded = load(&sources(SECRETS, &[("CRM_TOKEN", "hunter2")])).expect("loads");
    let [crm, files] = loaded.config.servers.as_slice() else {
        panic!("two servers")
    };
    assert_eq!(crm.headers["Authorization"].expose(), "Bearer hunter2");
    let args: Vec<&str> = files.args.iter().map(Text::as_str).collect();
    assert_eq!(
        args,
        [
            "--token",
            "hunter2",
            "8080",
            "1.10",
            "--key=hunter2",
            "--password",
            "hunter2"
        ],
        "spelled as in the file"
    );
    assert_eq!(files.command.as_deref(), Some("npx"));
    assert_eq!(files.env["PIN"].expose(), "0042");
    assert_eq!(
        row(&loaded, "servers[0].headers.Authorization").0,
        "Bearer ${CRM_TOKEN}"
    );
    assert_eq!(row(&loaded, "servers[1].args[1]").0, "${CRM_TOKEN}");
    assert_eq!(row(&loaded, "servers[1].args[3]").0, "1.10");
    assert_eq!(row(&loaded, "servers[1].args[4]").0, "--key=***");
    assert_eq!(row(&loaded, "servers[1].args[6]").0, "***");
    assert_eq!(row(&loaded, "servers[1].env.TOKEN").0, "***");
    let shown = format!("{loaded:?} {:?} {:?}", loaded.explain(), crm.transport());
    let json = serde_json::to_string(&loaded.explain()).expect("json");
    assert!(
        !shown.contains("hunter2") && !json.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn a_reference_that_leads_nowhere_is_refused_or_accepted_as_asked() {
    let error = load(&sources(SECRETS, &[])).expect_err("no CRM_TOKEN");
    assert_eq!(error.problems().len(), 2);
    assert_eq!(
        error.problems()[0].to_string(),
        "gateway.yaml:5:22: servers[0].headers.Authorization: the environment variable CRM_TOKEN \
         is not set"
    );
    let accepting = Sources {
        missing: MissingReferences::Accept,
        ..sources(SECRETS, &[])
    };
    assert!(load(&accepting).is_ok());
    let address = "servers: [{ name: a, url: '${CRM_URL}/mcp' }]";
    assert!(load(&sources(address, &[])).is_err());
    let accepting = Sources {
        missing: MissingReferences::Accept,
        ..sources(address, &[])
    };
    assert!(load(&accepting).is_ok());
}

#[test]
fn a_value_that_follows_from_another_has_its_origin() {
    let file = "limits: { call_timeout: 7s }\nservers:\n  - { name: a, command: x }\n";
    let loaded = load(&sources(file, &[("MCP_ULTRA_EXTENSIONS", "ui")])).expect("loads");
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(
        row(&loaded, "servers[0].timeout"),
        pair("7s", "gateway.yaml:1")
    );
    assert_eq!(
        row(&loaded, "limits.response_timeout"),
        pair("7s", "gateway.yaml:1")
    );
    assert_eq!(
        row(&loaded, "servers[0].extensions"),
        pair("ui", "env MCP_ULTRA_EXTENSIONS")
    );
}

#[test]
fn origins_of_the_file_count_lines_and_columns() {
    let loaded = load(&sources("server:\n  port: 1000\n", &[])).expect("loads");
    let Origin::File { file, line, column } = loaded.origin("server.port") else {
        panic!("from the file")
    };
    assert_eq!((&*file, line, column), ("gateway.yaml", 2, 9));
}

#[test]
fn explain_is_sorted_and_has_a_row_for_every_value() {
    let loaded = load(&sources(SECRETS, &[("CRM_TOKEN", "x")])).expect("loads");
    let rows: BTreeMap<String, String> = loaded
        .explain()
        .into_iter()
        .map(|row| (row.path, row.value))
        .collect();
    for path in mcp_ultra_config::variables().values() {
        let found = rows.iter().any(|(row, value)| {
            // A group that is not there is one row.
            let group = value == "(not set)" && path.starts_with(&format!("{row}."));
            row == path || row.starts_with(&format!("{path}[")) || group
        });
        assert!(found, "no row for {path}");
    }
}
