//! Where things are kept.

use mcp_ultra_config::load_str;

use super::refuse;

const GOOD: &str = "\
storage:
  postgres:
    host: db.example.com
    user: gateway
    password: a-password-of-the-gateway
    tls: { ca_file: /ca.pem, certificate: /c.pem, key: /k.pem }
    pool: { max: 20, min: 2 }
    replica: { host: 10.0.0.2 }
    migrate: { user: owner, host: '::1', port: 5433, password: a-password-of-the-owner }
";

#[test]
fn a_server_is_named_part_by_part() {
    let loaded = load_str(GOOD, "c.yaml").unwrap();
    let postgres = loaded.config.storage.postgres.unwrap();
    assert_eq!((postgres.port, &*postgres.database), (5432, "mcp_ultra"));
    let shown = format!("{postgres:?}");
    assert!(!shown.contains("a-password-of"), "{shown}");
}

#[test]
fn what_can_not_work_is_refused() {
    for (from, to, said) in [
        (
            "storage:\n",
            "storage:\n  sqlite: s.db\n",
            "storage.postgres: things are kept in one place",
        ),
        (
            "host: db.example.com",
            "host: postgres://db.example.com",
            "storage.postgres.host: ",
        ),
        (
            "host: db.example.com",
            "host: /run/postgresql",
            "storage.postgres.host: ",
        ),
        (
            "host: db.example.com",
            "host: db.example.com:5433",
            "storage.postgres.host: ",
        ),
        (
            "host: 10.0.0.2",
            "host: 10.0.0.2:5433",
            "storage.postgres.replica.host: ",
        ),
        (
            "host: 10.0.0.2",
            "host: ''",
            "storage.postgres.replica.host: ",
        ),
        (
            "host: '::1'",
            "host: 'a b'",
            "storage.postgres.migrate.host: ",
        ),
        ("user: gateway", "user: ''", "storage.postgres.user: "),
        (
            "user: owner",
            "user: gateway",
            "storage.postgres.migrate.user: the gateway's own user would own",
        ),
        (
            ", key: /k.pem",
            "",
            "storage.postgres.tls.key: it is missing",
        ),
        (
            "certificate: /c.pem, ",
            "",
            "storage.postgres.tls.certificate: it is missing",
        ),
        (
            "max: 20, min: 2",
            "max: 2, min: 3",
            "storage.postgres.pool.min: 3 is more than max",
        ),
        (
            "max: 20, min: 2",
            "acquire_timeout: 0s",
            "storage.postgres.pool.acquire_timeout: ",
        ),
        (
            "user: gateway",
            "statement_timeout: 0s",
            "storage.postgres.statement_timeout: ",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let refused = refuse(&text);
        assert!(
            refused.iter().any(|line| line.contains(said)),
            "{to}: {refused:?}"
        );
    }
}

#[test]
fn what_needs_a_place_takes_either() {
    let keys = "auth: { resource: https://a.example/mcp, api_keys: { enabled: true } }\n";
    let said = refuse(keys);
    let helps =
        |line: &String| line.contains("storage.sqlite") && line.contains("storage.postgres");
    assert!(said.iter().any(helps), "{said:?}");
    load_str(&format!("{GOOD}{keys}"), "c.yaml").unwrap();
}

const REDIS: &str = "\
storage:
  redis:
    server: { host: redis.example.com }
    user: gateway
    password: a-password-of-redis
    tls: { ca_file: /ca.pem, certificate: /c.pem, key: /k.pem }
    prefix: mcp
";

#[test]
fn a_redis_is_one_server_a_cluster_or_sentinels() {
    let loaded = load_str(REDIS, "c.yaml").unwrap();
    let redis = loaded.config.storage.redis.unwrap();
    let shown = format!("{redis:?}");
    assert!(!shown.contains("a-password-of"), "{shown}");
    let one = "server: { host: redis.example.com }";
    for other in [
        "cluster: [{ host: 10.0.0.1, port: 7000 }, { host: '::1' }]",
        "sentinel: { master: m, servers: [{ host: s }], user: u, password: a-password }",
    ] {
        load_str(&REDIS.replace(one, other), "c.yaml").unwrap();
    }
}

#[test]
fn a_redis_that_can_not_work_is_refused() {
    let one = "server: { host: redis.example.com }";
    for (from, to, said) in [
        (
            one,
            "cluster: []",
            "storage.redis: it takes one place to be",
        ),
        (
            "user: gateway",
            "cluster: [{ host: a }]",
            "storage.redis: it takes one place to be",
        ),
        (
            "host: redis.example.com",
            "host: 'rediss://redis.example.com'",
            "storage.redis.server.host: ",
        ),
        (
            one,
            "cluster: [{ host: a }, { host: '' }]",
            "storage.redis.cluster[1].host: ",
        ),
        (
            one,
            "sentinel: { master: m, servers: [] }",
            "storage.redis.sentinel.servers: there is none",
        ),
        (
            one,
            "sentinel: { master: '', servers: [{ host: a }] }",
            "storage.redis.sentinel.master: ",
        ),
        ("user: gateway", "user: 'a b'", "storage.redis.user: "),
        ("prefix: mcp", "prefix: '{mcp}'", "storage.redis.prefix: "),
        (
            "prefix: mcp",
            "command_timeout: 0s",
            "storage.redis.command_timeout: ",
        ),
        (", key: /k.pem", "", "storage.redis.tls.key: it is missing"),
        (
            "ca_file: /ca.pem",
            "ca_file: ''",
            "storage.redis.tls.ca_file: ",
        ),
    ] {
        let text = REDIS.replacen(from, to, 1);
        assert_ne!(text, REDIS, "{from}");
        let refused = refuse(&text);
        assert!(
            refused.iter().any(|line| line.contains(said)),
            "{to}: {refused:?}"
        );
    }
}
