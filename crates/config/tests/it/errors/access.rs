//! Who gets in, with which credentials, and what callers connect.

use mcp_ultra_config::load_str;

use super::refuse;

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
