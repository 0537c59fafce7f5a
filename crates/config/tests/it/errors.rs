//! What is said about a file that can't be used: where, what, and what would be right.

use mcp_ultra_config::load_str;

/// The lines of the error for a text, without the name of the file.
fn refuse(text: &str) -> Vec<String> {
    let error = load_str(text, "c.yaml").expect_err(text);
    let line = |problem: &mcp_ultra_config::Problem| problem.to_string().replace("c.yaml:", "");
    error.problems().iter().map(line).collect()
}

/// Each text has exactly one problem, and this is it.
fn refused_with(cases: &[(&str, &str)]) {
    let found: Vec<String> = cases
        .iter()
        .map(|(text, _)| refuse(text).join("\n"))
        .collect();
    let expected: Vec<&str> = cases.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(found, expected);
}

#[test]
fn unknown_keys_come_with_the_nearest_known_one() {
    refused_with(&[
        (
            "server:\n  prot: 1\n",
            "2:3: server.prot: unknown key `prot`; did you mean `port`?",
        ),
        (
            "Server: {}\n",
            "1:1: Server: unknown key `Server`; did you mean `server`?",
        ),
        (
            "servers:\n  - name: a\n    url: http://a.example\n    header: {}\n",
            "4:5: servers[0].header: unknown key `header`; did you mean `headers`?",
        ),
        (
            "log: { zzz: 1 }\n",
            "1:8: log.zzz: unknown key `zzz`; known keys: level, format",
        ),
        (
            "server: { path: /mcp }",
            "1:11: server.path: unknown key `path`; known keys: host, port, allowed_hosts, \
             allowed_origins, cors, tls, tls_terminated_by, trusted_proxies, metrics, shutdown",
        ),
    ]);
}

#[test]
fn wrong_types_say_what_was_expected() {
    refused_with(&[
        (
            "server: { port: \"8080\" }",
            "1:17: server.port: expected a whole number from 0 to 65535, found `8080`, a text; \
             remove the quotes",
        ),
        (
            "server: { metrics: yes }",
            "1:20: server.metrics: expected true or false, found `yes`, a text; write true",
        ),
        (
            "server: 5",
            "1:9: server: expected a group of keys, found `5`, a number; write `key: value` lines \
             below it",
        ),
        (
            "servers: { name: a }",
            "1:10: servers: expected a list, found a group of keys; write `[a, b]`, or one \
             `- item` a line",
        ),
        (
            "server: { port: }",
            "1:15: server.port: expected a whole number from 0 to 65535, found nothing",
        ),
        (
            "- a",
            "1:1: expected a group of keys, found a list; write `key: value` lines below it",
        ),
        (
            "log: { level: inof }",
            "1:15: log.level: `inof` is not possible here; did you mean `info`? use one of off, \
             error, warn, info, debug, trace",
        ),
        (
            "server: { host: localhost }",
            "1:17: server.host: not an IP address; use 127.0.0.1 for this machine only, 0.0.0.0 \
             or :: for all; names are not looked up",
        ),
        (
            "server: { port: '${PORT}' }",
            "1:17: server.port: expected a whole number from 0 to 65535, found `${PORT}`, a text; \
             references work in command, args, env, cwd, url, headers and secrets; set other \
             values with MCP_ULTRA_… environment variables",
        ),
    ]);
}

#[test]
fn impossible_values_are_refused() {
    refused_with(&[
        (
            "server: { port: 70000 }",
            "1:17: server.port: expected a whole number from 0 to 65535, found `70000`, a number",
        ),
        (
            "limits: { body: -1 }",
            "1:17: limits.body: `-1` is not a size such as 65536, 64KiB, 4MiB or 1GiB",
        ),
        (
            "limits: { body: 1 }",
            "1:17: limits.body: 1B is not between 1KiB and 1GiB; use a size from 1KiB to 1GiB",
        ),
        (
            "limits: { connections: 0 }",
            "1:24: limits.connections: expected a whole number of at least 1, found `0`, a number",
        ),
        (
            "limits: { call_timeout: 30 }",
            "1:25: limits.call_timeout: `30` has no unit: expected a time with its unit, such as \
             250ms, 30s, 5m or 1h",
        ),
        (
            "limits: { call_timeout: 0s }",
            "1:25: limits.call_timeout: 0s would end everything at once; use a period such as 30s",
        ),
        (
            "session: { keys: [{ id: a, secret: short }] }",
            "1:36: session.keys[0].secret: the secret is shorter than 32 bytes; make one with: \
             openssl rand -base64 32",
        ),
        (
            "catalog: { refresh: 10ms }",
            "1:21: catalog.refresh: 10ms is shorter than 1s and would keep every server busy; use \
             at least 1s",
        ),
        (
            "extensions: [ui, tasks, ui]",
            "1:25: extensions[2]: this extension is listed twice; remove one of the two",
        ),
        (
            "server: { allowed_origins: ['https://a.example/x'] }",
            "1:29: server.allowed_origins[0]: `https://a.example/x` is not an origin; write \
             scheme and name without a path, such as https://app.example.com, or `*`",
        ),
    ]);
}

#[test]
fn impossible_servers_are_refused() {
    refused_with(&[
        (
            "servers:\n  - { name: a, url: http://a.example, command: x }\n",
            "2:21: servers[0].url: a server has either a command or a url, this one has both; \
             remove `url` to start a program, or `command` to use the address",
        ),
        (
            "servers:\n  - name: a\n",
            "2:5: servers[0]: this server has neither a command nor a url; add `command: PROGRAM` \
             (and `args`), or `url: https://…`",
        ),
        (
            "servers:\n  - command: x\n",
            "2:5: servers[0]: `name` is missing; add `name: …`",
        ),
        (
            "servers: [{ name: a, url: ftp://a.example }]",
            "1:27: servers[0].url: the scheme `ftp` is not http or https",
        ),
        (
            "servers: [{ name: My Files, command: x, prefix: f }]",
            "1:19: servers[0].name: `My Files` can't be the name of a server; use 1 to 32 of a–z, \
             0–9 and dash, beginning with a letter, such as `files`",
        ),
        (
            "servers: [{ name: 1st, command: x }]",
            "1:19: servers[0].name: `1st` can't be the name of a server; use 1 to 32 of a–z, 0–9 \
             and dash, beginning with a letter, such as `files`",
        ),
        (
            "servers: [{ name: a, command: x }, { name: a, command: y }]",
            "1:44: servers[1].name: two servers have the name `a`; give each server a name of its \
             own",
        ),
        (
            "servers: [{ name: a, command: x }, { name: b, command: y, prefix: a }]",
            "1:67: servers[1].prefix: the prefix `a` is already that of the server `a`; give each \
             server a prefix of its own, or `none`",
        ),
        (
            "servers: [{ name: a, command: x, prefix: a.b }]",
            "1:42: servers[0].prefix: `a.b` can't be a prefix; use 1 to 32 of a–z, 0–9 and dash, \
             beginning with a letter; or `none`",
        ),
        (
            "servers: [{ name: a, command: x, prefix: A_b }]",
            "1:42: servers[0].prefix: `A_b` can't be a prefix; use 1 to 32 of a–z, 0–9 and dash, \
             beginning with a letter; or `none`",
        ),
        (
            "servers: [{ name: a, command: x, headers: { A: b } }]",
            "1:43: servers[0].headers: `headers` is for a server that is an address; remove it",
        ),
        (
            "servers: [{ name: a, url: http://a.example, headers: { Mcp-Method: b } }]",
            "1:68: servers[0].headers.Mcp-Method: `Mcp-Method` is set by the gateway itself; \
             remove it",
        ),
        (
            "servers: [{ name: a, url: http://a.example, headers: { X.Y: \"a\\nb\" } }]",
            "1:61: servers[0].headers.X.Y: the value contains a line break or another control \
             character; remove it; `${file:…}` drops only the last line break of a file",
        ),
        (
            "servers: [{ name: a, command: x, restart: { min: 5s, max: 1s } }]",
            "1:59: servers[0].restart.max: 1s is shorter than min, 5s; make max at least min",
        ),
    ]);
}

#[test]
fn servers_without_a_prefix_may_be_several() {
    let text =
        "servers: [{ name: a, command: x, prefix: none }, { name: b, command: y, prefix: none }]";
    assert!(load_str(text, "c.yaml").is_ok());
}

#[test]
fn all_problems_are_told_at_once_with_their_own_numbers() {
    let text = "\
server: { prot: 1, port: 70000 }
servers:
  - command: broken
  - name: a
    url: ftp://a.example
  - name: a
    command: x
    era: modem
  - name: Upper
    command: x
log: { level: loud }
";
    let problems = refuse(text);
    let heads: Vec<&str> = problems
        .iter()
        .map(|problem| problem.split(": ").nth(1).unwrap_or_default())
        .collect();
    assert_eq!(
        heads,
        [
            "server.prot",
            "server.port",
            "servers[0]",
            "servers[1].url",
            "servers[2].name",
            "servers[2].era",
            "servers[3].name",
            "log.level",
        ],
        "{problems:#?}"
    );
}

#[test]
fn broken_yaml_says_where() {
    for (text, head, part) in [
        ("server: { port: [", "1:17: ", "unclosed"),
        ("server:\n  port: 1\n  port: 2\n", "3:3: ", "duplicate"),
        ("a: *nothing\n", "1:4: ", ""),
        ("server: {}\n---\nserver: {}\n", "2:1: ", ""),
        ("server: \"", "1:9: ", ""),
    ] {
        let problems = refuse(text);
        assert!(
            problems[0].starts_with(head) && problems[0].contains(part),
            "{problems:?}"
        );
        assert_eq!(problems.len(), 1);
    }
}

#[test]
fn aliases_work_and_are_bounded() {
    let text = "
servers:
  - &base { name: a, command: x, timeout: 5s }
  - { <<: *base, name: b }
";
    let config = load_str(text, "c.yaml").expect("merge keys").config;
    assert_eq!(config.servers[1].timeout, config.servers[0].timeout);

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let items = [below.as_str(); 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{items}]\n");
    }
    assert_eq!(
        refuse(&bomb).len(),
        1,
        "the bomb ends in one error, not in ten billion nodes"
    );
    assert_eq!(refuse(&"[".repeat(100_000)).len(), 1);
    assert_eq!(refuse(&"- ".repeat(100_000)).len(), 1);
    assert_eq!(
        refuse(&"x".repeat(5 << 20)),
        [" the file is larger than 4MiB"]
    );
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "servers: [{ name: a, command: x, env: hunter2 }]",
        "servers:\n  - name: a\n    command: x\n    env:\n      KEY: [hunter2]\n",
        "servers:\n  - name: a\n    command: x\n    env:\n      KEY: hunter2\n     : [\n",
        "servers: [{ name: a, url: 'https://user:hunter2@a.example' }]",
        "servers: [{ name: a, url: http://a.example, headers: { X: \"hunter2\\n\" } }]",
        "servers: [{ name: a, url: http://a.example, headers: { X: '${hunter 2}' } }]",
        "session: { keys: [{ id: a, secret: hunter2 }] }",
        "servers: [{ name: a, command: x, credentials: { kind: token_exchange, client_id: g, client_secret: hunter2 } }]",
        "session: { keys: [{ id: a, secret: { x: hunter2 } }] }",
    ] {
        let error = load_str(text, "c.yaml").expect_err(text);
        let shown = format!("{error} {error:?} {}", error.detailed());
        let allowed = shown.replace("${hunter 2}", "");
        assert!(!allowed.contains("hunter"), "{shown}");
    }
}

#[test]
fn the_detailed_form_points_at_the_place() {
    let error = load_str("log:\n  level: inof\n", "c.yaml").expect_err("bad level");
    assert_eq!(
        error.detailed(),
        "c.yaml:2:10: log.level: `inof` is not possible here\n 2 |   level: inof\n   |          \
         ^^^^\n  help: did you mean `info`? use one of off, error, warn, info, debug, trace\n"
    );
}

#[test]
fn authentication_that_would_let_everyone_or_nobody_in_is_refused() {
    let on = "auth:\n  resource: https://a.example/mcp\n  issuers:\n";
    let issuer = |rest: &str| format!("{on}    - issuer: https://b.example\n{rest}");
    for (text, part) in [
        ("auth: { required_scopes: [a] }\n".to_owned(), "everyone would be answered"),
        ("auth: { resource: https://a.example/mcp }\n".to_owned(), "everyone would be answered"),
        ("auth: { issuers: [{ issuer: https://b.example }] }\n".to_owned(), "auth.resource: it is missing"),
        (issuer("      algorithms: []\n"), "no algorithm is allowed"),
        (issuer("      algorithms: [none]\n"), "auth.issuers[0].algorithms"),
        (issuer("      algorithms: [HS256]\n"), "auth.issuers[0].algorithms"),
        (issuer("      jwks_uri: http://c.example/keys\n"), "is not an https URL"),
        (issuer("    - issuer: https://b.example\n"), "is there twice"),
        (issuer("  jwt_issuer: https://b.example\n"), "auth.jwt_issuer"),
        (issuer("  clock_skew: 1h\n"), "auth.clock_skew"),
        (issuer("  required_scopes: ['a\"b']\n"), "is not a scope"),
        (issuer("  acr_values: ['a b']\n"), "auth.acr_values[0]"),
        (issuer("  max_age: 0s\n"), "auth.max_age"),
        ("auth: { resource: https://a.example/mcp, api_keys: { enabled: true }, max_age: 5m }\nstorage: { sqlite: a.db }\n".to_owned(), "no access tokens that could tell of a login"),
        (issuer("  jwks: { max_age: 1m }\n"), "auth.jwks.max_age"),
        (issuer("  api_keys: { enabled: true }\n"), "API keys need a place"),
        (issuer("  api_keys: { recheck: 1h }\n"), "auth.api_keys.max_age"),
        (issuer("admin: { port: 1 }\n"), "needs a place where things are kept"),
        (issuer("admin: { port: 1, host: 0.0.0.0 }\n"), "in the clear"),
        ("admin: { port: 1 }\n".to_owned(), "the admin API needs authentication"),
        (issuer("admin: { operator_role: 'a b' }\n"), "is not a role"),
        (issuer("admin: { operator_role: tenant-admin }\n"), "the role of operators too"),
        (issuer("storage: { sqlite: '' }\n"), "storage.sqlite: the name of the file is empty"),
        (format!("{on}    - issuer: http://b.example\n"), "is not an https URL"),
        (format!("{on}    - issuer: https://b.example?x\n"), "is not an https URL"),
        (
            "auth: { resource: 'https://a.example/mcp#x', jwt_secret: 0123456789abcdef0123456789abcdef }\n".to_owned(),
            "is not the URL of an endpoint",
        ),
    ] {
        let said = refuse(&text).join("\n");
        assert!(said.contains(part), "{text}\n{said}");
    }
    let short = refuse("auth: { resource: https://a.example/mcp, jwt_secret: canary-5150 }\n");
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(short[0].contains("auth.jwt_secret: the secret is shorter than 32 bytes"));
    assert!(!short[0].contains("canary"), "{short:?}");
    for text in [
        format!("{on}    - issuer: http://127.0.0.1:9000/x\n"),
        format!(
            "{on}    - issuer: https://b.example/\n      jwks_uri: https://c.example/keys?v=1\n"
        ),
    ] {
        assert!(load_str(&text, "c.yaml").is_ok(), "{text}");
    }
}

#[test]
fn credentials_that_would_be_sent_astray_or_to_nobody_are_refused() {
    let good = "kind: token_exchange, issuer: https://b.example, client_id: g, client_secret: s";
    let with = |credentials: &str, rest: &str| {
        format!(
            "servers: [{{ name: a, url: https://a.example/mcp, credentials: {{ {credentials} }}{rest} }}]\n"
        )
    };
    assert!(load_str(&with(good, ""), "c.yaml").is_ok());
    let here = with(good, "").replace("https://a.example/", "http://127.0.0.1:8000/");
    assert!(load_str(&here, "c.yaml").is_ok());
    let own = good.replace("token_exchange", "client_credentials");
    assert!(load_str(&with(&own, ", shared: true"), "c.yaml").is_ok());
    let given = good.replace(
        "issuer: https://b.example",
        "token_endpoint: http://127.0.0.1:9/t?x=1",
    );
    assert!(load_str(&with(&given, ""), "c.yaml").is_ok());
    for (text, part) in [
        ("servers: [{ name: a, command: x, credentials: { kind: token_exchange, issuer: https://b.example, client_id: g, client_secret: s } }]\n".to_owned(), "for a server that is an address"),
        (with(good, "").replace("url: https://a", "url: http://a"), "servers[0].url: access tokens would cross the network in the clear"),
        (with(&own, "").replace("url: https://a", "url: http://a"), "in the clear"),
        (with(good, ", headers: { authorization: x }"), "headers.authorization: the header carries"),
        (with(good, ", shared: true"), "they can't share a session"),
        (with(&good.replace("token_exchange", "password"), ""), "servers[0].credentials.kind"),
        (with(&good.replace("issuer: https://b.example, ", ""), ""), "this has neither"),
        (with(&format!("{good}, token_endpoint: https://b.example/t"), ""), "this has both"),
        (with(&good.replace("https://b", "http://b"), ""), "is not an https URL"),
        (with(&good.replace("b.example", "b.example/?x"), ""), "is not an https URL"),
        (with(&good.replace("https://b.example", "https://u:p@b.example"), ""), "is not an https URL"),
        (with(&given.replace("127.0.0.1", "b.example"), ""), "is not an https URL"),
        (with(&good.replace("client_id: g", "client_id: ''"), ""), "credentials.client_id"),
        (with(&good.replace(", client_secret: s", ""), ""), "credentials.client_secret: it is missing"),
        (with(&good.replace("client_secret: s", "client_secret: ''"), ""), "credentials.client_secret: it is missing"),
        (with(&format!("{good}, scopes: ['a b']"), ""), "is not a scope"),
        (with(&format!("{good}, resource: 'https://a.example/#x'"), ""), "is not an absolute URI"),
        (with(&format!("{good}, requested_token_type: jwt"), ""), "is not a type of token"),
        (with(&format!("{good}, timeout: 0s"), ""), "credentials.timeout"),
        (with(&format!("{own}, audience: crm"), ""), "`audience` is for the kind token_exchange"),
        (with(&format!("{own}, subject_issuers: [x]"), ""), "`subject_issuers` is for the kind token_exchange"),
        (with(&format!("{own}, step_up_scopes: [x]"), ""), "`step_up_scopes` is for the kind authorization_code"),
        (with(&format!("{own}, catalog: none"), ""), "`catalog` is for the kind token_exchange"),
        (with(&format!("{good}, catalog: first_grant"), ""), "`first_grant` is for the kind authorization_code"),
        (with(&format!("{good}, catalog_of: [{{ issuer: i, subject: s }}]"), ""), "write `catalog: first_grant`"),
        (with(&format!("{good}, catalog_of: [{{ issuer: i, subject: \"\" }}]"), ""), "it names nobody"),
    ] {
        let said = refuse(&text).join("\n");
        assert!(said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn proofs_and_the_admin_api_are_configured_in_a_way_that_can_work() {
    let resource = "resource: https://mcp.example.com/mcp";
    let secret = "jwt_secret: \"a secret of thirty-two bytes and more\"";
    let with =
        |auth: &str, dpop: &str| format!("auth: {{ {resource}, {auth}, dpop: {{ {dpop} }} }}\n");
    for fine in [
        "required: true",
        "max_age: 10m",
        "max_proofs: 1",
        "required: false",
    ] {
        assert!(load_str(&with(secret, fine), "c.yaml").is_ok(), "{fine}");
    }
    let keys = "api_keys: { enabled: true }";
    let stored = |text: String| format!("storage: {{ sqlite: s.db }}\n{text}");
    for (text, part) in [
        (with(secret, "max_age: 0s"), "auth.dpop.max_age"),
        (with(secret, "max_age: 601s"), "is longer than 10m"),
        (with(secret, "max_proofs: 0"), "auth.dpop.max_proofs"),
        (with(secret, "max_proofs: many"), "auth.dpop.max_proofs"),
        (with(secret, "require: true"), "`required`"),
        (
            stored(with(keys, "required: true")),
            "there are no access tokens that could be bound",
        ),
        (
            stored(format!(
                "auth: {{ {resource}, {keys} }}\nadmin: {{ port: 1, url: \"https://a.example.com/x\" }}\n"
            )),
            "is not the URL of a host alone",
        ),
        (
            stored(format!(
                "auth: {{ {resource}, {keys} }}\nadmin: {{ port: 1, url: \"a.example.com\" }}\n"
            )),
            "is not the URL of a host alone",
        ),
    ] {
        let said = refuse(&text).join("\n");
        assert!(said.contains(part), "{text}\n{said}");
    }
}

#[test]
fn production_names_what_is_missing() {
    let said = refuse("environment: production\n");
    for (what, help) in [
        ("authentication", "auth.issuers"),
        ("TLS", "server.tls_terminated_by"),
        ("a policy", "policy.files"),
    ] {
        let missing = format!("`environment: production` needs {what}, which is missing");
        let line = said.iter().find(|line| line.contains(&missing));
        assert!(line.is_some_and(|line| line.contains(help)), "{said:?}");
    }
}

#[test]
fn production_sends_nothing_in_the_clear() {
    let text = |environment: &str, outbound: &str, url: &str| {
        format!(
            "environment: {environment}\n{outbound}servers: [{{ name: crm, url: \"{url}\" }}]\n"
        )
    };
    let finds = |text: &str| {
        let said = refuse(text);
        said.iter().any(|line| {
            line.contains("servers[0].url: ") && line.contains("outbound.plain_http: true")
        })
    };
    let plain = "http://crm.example/mcp";
    assert!(finds(&text("production", "", plain)));
    assert!(finds(&text(
        "production",
        "outbound: { plain_http: false }\n",
        plain
    )));
    assert!(!finds(&text(
        "production",
        "outbound: { plain_http: true }\n",
        plain
    )));
    assert!(finds(&text(
        "development",
        "outbound: { plain_http: false }\n",
        plain
    )));
    for safe in [
        "https://crm.example/mcp",
        "http://127.0.0.1:1/mcp",
        "http://[::1]:1/mcp",
    ] {
        assert!(!finds(&text("production", "", safe)), "{safe}");
    }
    load_str(&text("staging", "", plain), "c.yaml").unwrap();
}

#[test]
fn what_is_enforced_must_outlive_a_restart() {
    let server = "servers: [{ name: crm, url: \"http://crm.example/mcp\", pinning: enforce }]\n";
    for (text, path) in [
        ("pinning: { mode: enforce }\n", "pinning.mode"),
        (server, "servers[0].pinning"),
    ] {
        let said = refuse(text);
        let found = said
            .iter()
            .any(|line| line.contains(&format!("{path}: ")) && line.contains("storage.sqlite"));
        assert!(found, "{said:?}");
        let kept = format!("storage: {{ sqlite: state.db }}\n{text}");
        assert!(load_str(&kept, "c.yaml").is_ok(), "{kept}");
    }
    let locked = "pinning: { mode: enforce, lock_file: tools.lock }\n";
    assert!(load_str(locked, "c.yaml").is_ok());
    let said = refuse("pinning: { lock_file: \"\" }\n");
    assert!(said.iter().any(|line| line.contains("pinning.lock_file")));
    let said = refuse("pinning: { forget_after: 23h }\n");
    assert!(
        said.iter()
            .any(|line| line.contains("pinning.forget_after: "))
    );
    assert!(load_str("pinning: { forget_after: 1d }\n", "c.yaml").is_ok());
    for mode in ["off", "warn"] {
        let text = format!("pinning: {{ mode: {mode} }}\n");
        assert!(load_str(&text, "c.yaml").is_ok(), "{text}");
    }
}

#[test]
fn tls_certificates_and_pages_are_checked() {
    for (text, expected) in [
        ("server: { tls: { certificate: a.pem } }", "server.tls.key"),
        (
            "server: { tls: { min_version: \"1.3\" } }",
            "server.tls.certificate",
        ),
        (
            "server: { tls: { certificate: a, key: b, client_auth: required } }",
            "server.tls.client_ca",
        ),
        (
            "server: { tls: { certificate: a, key: b, client_ca: c } }",
            "server.tls.client_auth",
        ),
        (
            "server: { tls: { certificate: a, key: b }, tls_terminated_by: proxy }",
            "server.tls_terminated_by",
        ),
        (
            "server: { cors: { origins: [\"*\"] } }",
            "server.cors.origins[0]",
        ),
        (
            "server: { cors: { origins: [\"https://A.example\"] } }",
            "server.cors.origins[0]",
        ),
        (
            "auth: { resource: \"https://a.example/mcp\", certificates: [{ san: \"dns:a.example\" }] }",
            "auth.certificates",
        ),
        (
            "auth: { resource: \"https://a.example/mcp\", certificates: [{ san: a.example }] }",
            "auth.certificates[0].san",
        ),
        (
            "server: { tls: { certificate: '${secret:crt}', key: '${secret:key}' } }",
            "server.tls.key: this is the path of a file",
        ),
        (
            "servers: [{ name: a, url: \"https://a.example\", tls: { ca_file: '${secret:ca}' } }]",
            "servers[0].tls.ca_file: this is the path of a file",
        ),
        (
            "outbound: { ca_file: \"-----BEGIN CERTIFICATE-----\" }",
            "outbound.ca_file: this is the path of a file",
        ),
        (
            "outbound: { allow_addresses: [10.0.0.0/40] }",
            "outbound.allow_addresses[0]",
        ),
        (
            "outbound: { allow_hosts: [\"*.example\"] }",
            "outbound.allow_hosts[0]",
        ),
    ] {
        let said = refuse(text);
        assert!(
            said.iter().any(|line| line.contains(expected)),
            "{text}: {said:?}"
        );
    }
    let good = "server: { tls: { certificate: a, key: b, client_auth: optional, client_ca: c } }";
    assert!(load_str(good, "c.yaml").is_ok());
}

#[test]
fn limits_say_what_they_can_be_and_on_what_they_can_depend() {
    let overridden = |one: &str| format!("limits: {{ overrides: [ {{ {one} }} ] }}\n");
    let by_role = overridden("match: { role: batch }, rates: { tenant: off, principal: off }");
    let everything = overridden("match: {}, quotas: { tenant: 5 }");
    let nothing = overridden("match: { tenant: a }");
    refused_with(&[
        (
            "limits:\n  rates: { tenant: 100 }\n",
            "2:20: limits.rates.tenant: `100` is not a rate such as 100/s, 6000/min or 10/min burst 3 (at most 1000000), or `off`",
        ),
        (
            "limits:\n  quotas: { tool: none }\n",
            "2:19: limits.quotas.tool: `none` is not a number from 1 on, or `off`",
        ),
        (
            &by_role,
            "1:67: limits.overrides[0].rates.tenant: this limit is not counted by role, so it can't depend on one; move it to an override without match.role",
        ),
        (
            &everything,
            "1:33: limits.overrides[0].match: it matches everything; name a tenant, role, tool or server; what is for all stands in limits.rates, limits.quotas and limits.concurrency",
        ),
        (
            &nothing,
            "1:24: limits.overrides[0]: it changes no limit; set one in rates, quotas or concurrency, or remove it",
        ),
        (
            "server: { trusted_proxies: [10.0.0.0/8, proxy] }\n",
            "1:41: server.trusted_proxies[1]: `proxy` is not a range of addresses such as 10.0.0.0/8, fd00::/8 or 10.0.0.1",
        ),
    ]);
}

#[test]
fn accounts_of_callers_need_a_login_a_key_and_a_place() {
    let good = r"auth: { resource: https://a.example/mcp, issuers: [{ issuer: https://login.example }] }
storage: { sqlite: state.db, keys: [{ id: one, secret: 0123456789-0123456789-0123456789 }] }
connect: { logins: [{ issuer: https://login.example, client_id: web, client_secret: s }] }
servers: [{ name: a, url: https://b.example/mcp, credentials: { kind: authorization_code, issuer: https://as.example, client_id: g, client_secret: s } }]
";
    let loaded = load_str(good, "c.yaml").expect(good);
    let base = loaded
        .config
        .connect
        .base(loaded.config.auth.resource.as_deref());
    assert_eq!(base.as_deref(), Some("https://a.example"));
    assert!(loaded.warnings.is_empty());
    let kind = "kind: authorization_code";
    let lent = good.replace(kind, &format!("{kind}, catalog: first_grant"));
    let warned = load_str(&lent, "c.yaml").expect(&lent).warnings;
    assert_eq!(warned.len(), 1);
    assert!(warned[0].message.contains("everyone is shown them"));
    let off = lent.replace("name: a", "name: a, enabled: false");
    assert!(load_str(&off, "c.yaml").expect(&off).warnings.is_empty());
    let line = |begins: &str| {
        let mut lines = good.lines();
        lines.find(|line| line.starts_with(begins)).expect(begins)
    };
    let key = ", keys: [{ id: one, secret: 0123456789-0123456789-0123456789 }]";
    for (text, part) in [
        (
            good.replace(line("connect"), ""),
            "nobody can grant access who can't log in",
        ),
        (
            good.replace(key, ""),
            "are kept encrypted, and there is no key",
        ),
        (
            good.replace("sqlite: state.db, ", ""),
            "needs a place where it is kept",
        ),
        (
            good.replace("0123456789-0123456789-0123456789", "short"),
            "storage.keys[0].secret",
        ),
        (good.replace("id: one", "id: One"), "storage.keys[0].id"),
        (
            good.replace(
                "issuer: https://as.example",
                "token_endpoint: https://as.example/t",
            ),
            "name the authorization server with `issuer",
        ),
        (
            good.replace(
                "logins: [{ issuer: https://login.example",
                "logins: [{ issuer: https://other.example",
            ),
            "is none of auth.issuers",
        ),
        (
            good.replace("client_id: web", "client_id: ''"),
            "connect.logins[0].client_id",
        ),
        (
            good.replace(
                "client_id: web, client_secret: s",
                "client_id: web, client_secret: ''",
            ),
            "connect.logins[0].client_secret",
        ),
        (
            good.replace("connect: {", "connect: { public_url: http://a.example,"),
            "connect.public_url",
        ),
        (
            format!("server: {{ allowed_hosts: [b.example, 'a.example:8443'] }}\n{good}"),
            "server.allowed_hosts: people who connect a server come to `a.example`",
        ),
        (
            good.replace(
                "kind: authorization_code",
                "kind: authorization_code, audience: x",
            ),
            "`audience` is for the kind token_exchange",
        ),
        (
            good.replace(
                "url: https://b.example/mcp",
                "url: https://b.example/mcp, shared: true",
            ),
            "they can't share a session",
        ),
    ] {
        assert_ne!(text, good, "{part}");
        let said = refuse(&text).join("\n");
        assert!(said.contains(part), "{text}\n{said}");
    }
    for fine in ["a.example", "A.Example", "'*'"] {
        let text = format!("server: {{ allowed_hosts: [{fine}] }}\n{good}");
        assert!(load_str(&text, "c.yaml").is_ok(), "{fine}");
    }
    let off = good
        .replace(line("connect"), "")
        .replace("name: a", "name: a, enabled: false");
    assert!(
        load_str(&off, "c.yaml").is_ok(),
        "what is switched off needs nothing"
    );
}
