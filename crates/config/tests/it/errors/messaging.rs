//! How gateways tell each other of changes.

use mcp_ultra_config::load_str;

use super::refuse;

const GOOD: &str = "\
messaging:
  nats:
    servers: [nats.example.com, '10.0.0.2:4223']
    user: gateway
    password: a-password-of-the-gateway
    tls: { ca_file: /ca.pem, certificate: /c.pem, key: /k.pem }
";
const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";

#[test]
fn servers_and_a_user_are_enough() {
    let loaded = load_str(GOOD, "c.yaml").unwrap();
    let nats = loaded.config.messaging.nats.unwrap();
    assert_eq!(nats.prefix, "mcp-ultra");
    let shown = format!("{nats:?}");
    assert!(!shown.contains("a-password-of"), "{shown}");
    let by_key = GOOD.replace("user: gateway\n", "\n").replace(
        "password: a-password-of-the-gateway",
        &format!("nkey: {SEED}"),
    );
    load_str(&by_key, "c.yaml").unwrap();
    let by_certificate = GOOD
        .replace("    user: gateway\n", "")
        .replace("    password: a-password-of-the-gateway\n", "");
    load_str(&by_certificate, "c.yaml").unwrap();
}

#[test]
fn what_can_not_work_is_refused() {
    for (from, to, said) in [
        (
            "[nats.example.com, '10.0.0.2:4223']",
            "[]",
            "messaging.nats.servers: no server",
        ),
        (
            "nats.example.com",
            "tls://nats.example.com",
            "messaging.nats.servers[0]: ",
        ),
        (
            "10.0.0.2:4223",
            "gateway:secret@10.0.0.2",
            "messaging.nats.servers[1]: ",
        ),
        (
            "    user: gateway\n",
            "",
            "messaging.nats.user: it is missing",
        ),
        (
            "    password: a-password-of-the-gateway\n",
            "",
            "messaging.nats.password: it is missing",
        ),
        (
            "user: gateway",
            &format!("user: gateway\n    nkey: {SEED}"),
            "messaging.nats.nkey: the gateway is one user there",
        ),
        (
            "user: gateway\n    password: a-password-of-the-gateway",
            "nkey: SUABC",
            "messaging.nats.nkey: this is not the seed",
        ),
        (
            "user: gateway\n    password: a-password-of-the-gateway\n    tls: { ca_file: /ca.pem, certificate: /c.pem, key: /k.pem }",
            "tls: { ca_file: /ca.pem }",
            "messaging.nats: the gateway would be nobody there",
        ),
        (
            "user: gateway",
            "user: gateway\n    prefix: a.b",
            "messaging.nats.prefix: ",
        ),
        (", key: /k.pem", "", "messaging.nats.tls.key: it is missing"),
        (
            "ca_file: /ca.pem",
            "ca_file: '${secret:CA}'",
            "messaging.nats.tls.ca_file: this is the path of a file",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let refused = refuse(&text);
        assert!(
            refused.iter().any(|line| line.contains(said)),
            "{to}: {refused:?}"
        );
        assert!(!refused.iter().any(|line| line.contains("a-password-of")));
    }
}
