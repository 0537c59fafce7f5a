//! What production needs, what is enforced, and TLS.

use mcp_ultra_config::load_str;

use super::refuse;

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
