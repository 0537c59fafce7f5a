//! What an error is like: it names the place, comes with all others, and shows no secret.

use mcp_ultra_config::load_str;

use super::{refuse, refused_with};

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
