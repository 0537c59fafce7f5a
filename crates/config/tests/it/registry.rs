//! Servers of the registry beside those of the file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of tests are tests"
)]

use mcp_ultra_config::{Loaded, RegistryServer, SecretName, SourceFile, Sources, load};

const FILE: &str = "\
storage: { sqlite: s.db }
registry: { enabled: true, secrets: [crm-token] }
servers:
  - { name: files, url: 'https://files.example.com/mcp' }
";

fn sources(file: &str, servers: &[(&str, &str)]) -> Sources {
    let of = |(name, text): &(&str, &str)| RegistryServer {
        name: (*name).into(),
        place: format!("registry/servers/{name}"),
        text: (*text).into(),
    };
    let mut sources = Sources {
        file: Some(SourceFile {
            name: "c.yaml".into(),
            text: file.into(),
        }),
        registry: servers.iter().map(of).collect(),
        ..Sources::default()
    };
    sources.environment.insert("HOME".into(), "/root".into());
    for secret in ["crm-token", "other"] {
        let name = SecretName::parse(secret).unwrap();
        sources.secrets.insert(name, "canary".to_owned().into());
    }
    sources
}

fn loaded(file: &str, servers: &[(&str, &str)]) -> Loaded {
    load(&sources(file, servers)).unwrap()
}

/// What is said about a server called `crm`.
fn refused(text: &str) -> String {
    let error = load(&sources(FILE, &[("crm", text)])).expect_err(text);
    assert!(!error.detailed().contains("hunter2"), "{error}");
    error.to_string()
}

#[test]
fn servers_come_behind_those_of_the_file() {
    let crm = "url: https://crm.example.com/mcp\nheaders: { Authorization: 'Bearer ${secret:crm-token}' }\n";
    let json = r#"{"name": "json", "url": "https://json.example.com/mcp"}"#;
    for file in [
        FILE,
        &FILE.replace(
            "servers:\n  - { name: files, url: 'https://files.example.com/mcp' }\n",
            "",
        ),
        &FILE.replace(
            "\n  - { name: files, url: 'https://files.example.com/mcp' }",
            "",
        ),
    ] {
        let loaded = loaded(file, &[("crm", crm), ("json", json)]);
        let servers = &loaded.config.servers;
        let names: Vec<_> = servers
            .iter()
            .map(|one| (&*one.name, one.from_registry))
            .filter(|(name, _)| *name != "files")
            .collect();
        assert_eq!(names, [("crm", true), ("json", true)]);
        let crm = servers.iter().find(|one| one.name == "crm").unwrap();
        assert_eq!(crm.headers["Authorization"].expose(), "Bearer canary");
        assert!(loaded.shadowed.is_empty());
    }
    let loaded = loaded(FILE, &[("crm", crm)]);
    assert!(!loaded.config.servers[0].from_registry);
    let origin = loaded.origin("servers[1].url").to_string();
    assert_eq!(origin, "registry/servers/crm:1");
}

#[test]
fn the_file_wins_by_its_name() {
    let loaded = loaded(
        FILE,
        &[
            ("files", "url: https://evil.example.com/"),
            ("b", "url: https://b.example.com/"),
        ],
    );
    let names: Vec<_> = loaded.config.servers.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["files", "b"]);
    assert_eq!(loaded.shadowed, ["files"]);
    assert!(!loaded.config.servers[0].from_registry);
}

#[test]
fn less_may_stand_in_the_registry_than_in_the_file() {
    let at = "url: https://crm.example.com/mcp\n";
    for (text, said) in [
        (
            "command: npx\n",
            "registry/servers/crm:1:10: servers[1].command: a program may not be started",
        ),
        (
            &*format!("{at}headers: {{ X-Key: hunter2 }}\n"),
            "registry/servers/crm:2:19: servers[1].headers.X-Key: a value that may be a secret",
        ),
        (
            &format!("{at}headers: {{ X-Key: 'hunter2${{secret:crm-token}}' }}\n"),
            "a value that may be a secret",
        ),
        (
            &format!("{at}headers: {{ X-Key: '${{HOME}}' }}\n"),
            "no variables and no files",
        ),
        (
            &format!("{at}headers: {{ X-Key: '${{file:/etc/hostname}}' }}\n"),
            "no variables and no files",
        ),
        (
            &format!("{at}headers: {{ X-Key: '${{secret:other}}' }}\n"),
            "may not use the secret `other`; name it in registry.secrets",
        ),
        (
            "url: 'https://crm.example.com/?key=hunter2'\n",
            "servers[1].url: what follows `?`",
        ),
        ("url: 'https://${HOME}/'\n", "no variables and no files"),
        (
            &format!("{at}tls: {{ ca_file: /etc/ca.pem }}\n"),
            "servers[1].tls: files of the gateway's machine",
        ),
        (
            &format!(
                "{at}credentials: {{ kind: token_exchange, token_endpoint: 'https://idp.example.com/t', client_id: c, client_secret: '${{secret:crm-token}}' }}\n"
            ),
            "credentials.kind: tokens of callers",
        ),
        (
            &format!(
                "{at}credentials: {{ kind: client_credentials, token_endpoint: 'https://idp.example.com/t', client_id: c, client_secret: hunter2 }}\n"
            ),
            "client_secret: a value that may be a secret",
        ),
        (
            "name: other\nurl: https://crm.example.com/\n",
            "registry/servers/crm:1:7: name: the server is called `crm` here",
        ),
        ("[]", "expected the section of a server"),
        (
            "url: https://a/\nurl: https://b/\n",
            "registry/servers/crm:2:",
        ),
        ("url: https://a.example.com/\nprefix: files\n", "prefix"),
        (
            "urk: https://a/\n",
            "registry/servers/crm:1:1: servers[1].urk: unknown key `urk`; did you mean `url`?",
        ),
    ] {
        let found = refused(text);
        assert!(found.contains(said), "{text}: {found}");
    }
    // By the word of the file, programs may.
    let file = FILE.replace("enabled: true,", "enabled: true, allow_stdio: true,");
    let program = "command: server\nargs: [--port, '1', --token, '${secret:crm-token}']\nenv: { A: '${secret:crm-token}' }\n";
    loaded(&file, &[("crm", program)]);
    for (from, to) in [
        ("'${secret:crm-token}']", "hunter2]"),
        ("A: '${secret:crm-token}'", "A: hunter2"),
    ] {
        let text = program.replace(from, to);
        let error = load(&sources(&file, &[("crm", &text)]))
            .expect_err(&text)
            .to_string();
        assert!(
            error.contains("registry") && !error.contains("hunter2"),
            "{error}"
        );
    }
    // In the file all of this is fine.
    let here = format!(
        "{FILE}  - {{ name: crm, url: 'https://crm.example.com/?a=b', headers: {{ X: y }}, tls: {{ ca_file: /ca.pem }} }}\n"
    );
    loaded(&here, &[]);
}

#[test]
fn the_section_is_checked() {
    for (file, said) in [
        (
            "registry: { enabled: true }\n",
            "registry.enabled: the registry needs a place",
        ),
        ("registry: { poll: 0s }\n", "registry.poll"),
        ("registry: { secrets: ['a*b'] }\n", "registry.secrets[0]"),
    ] {
        let error = load(&sources(file, &[])).expect_err(file).to_string();
        assert!(error.contains(said), "{error}");
    }
}
