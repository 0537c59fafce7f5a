//! `mcp-ultra policy`, and the examples of docs/policies.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::cli::run;

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies")
}

#[tokio::test]
async fn the_examples_do_what_their_cases_say() {
    let mut tested = 0;
    for entry in fs::read_dir(examples()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let folder_name = folder.to_string_lossy();
        let mut check = vec!["policy", "check", &*folder_name];
        let flags = folder.join("flags.json");
        let flags_name = flags.to_string_lossy();
        if flags.exists() {
            check.extend(["--flags", &*flags_name]);
        }
        let checked = run(&check).await;
        assert_eq!((checked.code, &*checked.err), (0, ""));
        let cases = folder.join("test.yaml");
        let test = run(&["policy", "test", &cases.to_string_lossy()]).await;
        assert_eq!(test.code, 0, "{} {}", test.out, test.err);
        assert!(test.out.contains(" cases, 0 failed."), "{}", test.out);
        tested += 1;
    }
    assert_eq!(tested, 6);
}

#[tokio::test]
async fn a_case_that_fails_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let policies = "@id(\"read\") permit(principal, action, resource is Tool);";
    fs::write(at("p.cedar"), policies).unwrap();
    let cases = r"
policies: [.]
cases:
  - { name: one, resource: { tool: a_b }, expect: deny }
  - { name: two, resource: { prompt: a_b }, expect: allow }
  - { name: three, resource: { tool: a_b }, expect: allow, by: [other] }
  - { name: four, resource: { tool: a_b }, expect: allow, by: [read] }
";
    fs::write(at("t.yaml"), cases).unwrap();
    let file = at("t.yaml");
    let file = file.to_string_lossy();
    let test = run(&["policy", "test", &file]).await;
    assert_eq!(test.code, 1, "{} {}", test.out, test.err);
    for line in [
        "one: expected deny, found allow by read",
        "two: expected allow, found deny: no policy permits it",
        "three: expected it by [\"other\"], found it by [\"read\"]",
        "4 cases, 3 failed.",
    ] {
        assert!(test.out.contains(line), "{}", test.out);
    }
    for (text, told) in [
        (
            "policies: [.]\ncases:\n  - { name: a, resource: {}, expect: deny }",
            "name one thing",
        ),
        (
            "policies: [.]\ncases:\n  - { name: a, resource: { tool: x }, expect: maybe }",
            "maybe",
        ),
        (
            "policies: [none.cedar]\ncases: []",
            "none.cedar: the file can't be read",
        ),
    ] {
        fs::write(at("t.yaml"), text).unwrap();
        let test = run(&["policy", "test", &file]).await;
        assert_eq!(test.code, 2, "{} {}", test.out, test.err);
        assert!(test.err.contains(told), "{}", test.err);
    }
}

#[tokio::test]
async fn cases_say_what_was_allowed_in_detail() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let policies = r#"permit(principal, action in Action::"tools", resource) when {
        principal.authorizationDetails.contains({ type: "t", action: "read", location: "", identifier: "", more: false }) };"#;
    fs::write(at("p.cedar"), policies).unwrap();
    let file = at("t.yaml");
    let file = file.to_string_lossy();
    let case = |details: &str, expect: &str| {
        format!(
            "policies: [.]\ncases:\n  - {{ name: one, principal: {{ subject: ana, authorization_details: {details} }}, resource: {{ tool: a_b }}, expect: {expect} }}\n"
        )
    };
    for (details, expect, code) in [
        ("[{ type: t, actions: [read] }]", "allow", 0),
        ("[{ type: t, actions: [write] }]", "deny", 0),
        ("[{ type: t, actions: [write] }]", "allow", 1),
        ("[{ actions: [read] }]", "deny", 2),
    ] {
        fs::write(at("t.yaml"), case(details, expect)).unwrap();
        let test = run(&["policy", "test", &file]).await;
        assert_eq!(test.code, code, "{} {}", test.out, test.err);
    }
}

#[tokio::test]
async fn faults_have_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    let text = "permit(principal, action, resource);\npermit(principal, action == Action::\"tools/cal\", resource);";
    fs::write(&file, text).unwrap();
    let path = file.to_string_lossy();
    let checked = run(&["policy", "check", &path]).await;
    assert_eq!(checked.code, 2);
    assert!(checked.err.contains("p.cedar:2:"), "{}", checked.err);
    let checked = run(&["policy", "check", "--json", &path]).await;
    assert_eq!(checked.code, 2);
    let said: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(
        (&said["valid"], &said["problems"][0]["line"]),
        (&json!(false), &json!(2))
    );
    // What is administered has no name, and that is not what the author had in mind.
    let text = r#"permit(principal, action, resource) when { resource.name like "crm_*" };"#;
    fs::write(&file, text).unwrap();
    let checked = run(&["policy", "check", &path]).await;
    assert_eq!(checked.code, 2);
    assert!(
        checked.err.contains("what the admin API administers"),
        "{}",
        checked.err
    );
    fs::write(&file, "permit(principal, action, resource);").unwrap();
    let checked = run(&["policy", "check", &path]).await;
    assert_eq!(checked.code, 0);
    assert!(
        checked.out.starts_with("Valid: 1 policy, revision "),
        "{}",
        checked.out
    );
}

#[tokio::test]
async fn explain_names_the_policies_that_decide() {
    let roles = examples().join("roles");
    let roles = roles.to_string_lossy();
    let explain = async |arguments: &[&str]| {
        run(&[&["policy", "explain", &*roles], arguments].concat()).await
    };
    let who = ["--subject", "bia", "--role", "manager"];
    let what = ["--tool", "crm_delete_customer"];
    let denied = explain(&[&who[..], &what].concat()).await;
    assert_eq!(
        (denied.code, denied.out.trim()),
        (0, "Denied by:\n  no-destruction")
    );
    let scope = ["--scope", "crm:destroy", "--json"];
    let allowed = explain(&[&who[..], &what, &scope].concat()).await;
    let said: Value = serde_json::from_str(&allowed.out).unwrap();
    assert_eq!(said["decision"], "allow");
    assert_eq!(said["policies"], json!(["managers-write"]));

    let folder = tempfile::tempdir().unwrap();
    let claims = folder.path().join("claims.json");
    fs::write(&claims, r#"{"iss":"i","sub":"ana","roles":["support"]}"#).unwrap();
    let claims = ["--claims", &*claims.to_string_lossy()];
    let read = ["--tool", "crm_get_customer", "--read-only"];
    let allowed = explain(&[&claims[..], &read].concat()).await;
    assert_eq!(allowed.out.trim(), "Allowed by:\n  support-reads");
    // As a configuration says where claims are, for their issuer.
    let config = folder.path().join("gateway.yaml");
    let text = format!(
        "policy: {{ files: [\"{roles}\"] }}\nauth:\n  resource: https://mcp.example.com/mcp\n  issuers:\n    - {{ issuer: \"https://a.example.com\", claims: {{ roles: groups }} }}\n    - {{ issuer: \"https://b.example.com\" }}\n"
    );
    fs::write(&config, text).unwrap();
    let config = config.to_string_lossy();
    for (issuer, said) in [("a", "Allowed by:\n  support-reads"), ("b", "Denied")] {
        let file = folder.path().join(format!("{issuer}.json"));
        let token = json!({ "iss": format!("https://{issuer}.example.com"), "sub": "ana", "groups": ["support"] });
        fs::write(&file, token.to_string()).unwrap();
        let file = file.to_string_lossy();
        let named = ["policy", "explain", "--config", &config, "--claims", &file];
        let run = run(&[&named[..], &read].concat()).await;
        assert!(
            run.out.starts_with(said),
            "{issuer}: {} {}",
            run.out,
            run.err
        );
    }
    // How the caller has logged in, by a token and by hand.
    let strong = examples().join("strong-login");
    let strong = strong.to_string_lossy();
    let file = folder.path().join("login.json");
    let login = json!({
        "iss": "i", "sub": "ana", "roles": ["support"], "amr": ["mfa"], "acr": "2",
        "auth_time": 1_793_620_800,
    });
    fs::write(&file, login.to_string()).unwrap();
    let token = ["--claims", &*file.to_string_lossy()];
    let ana = ["--subject", "ana", "--role", "support", "--amr", "mfa"];
    let at_noon = [&ana[..], &["--auth-time", "2026-11-02T12:00:00Z"]].concat();
    for who in [&token[..], &at_noon] {
        // A login after the call is none.
        for (time, said) in [("12:15", "Allowed by"), ("12:16", "Denied by")] {
            let time = format!("2026-11-02T{time}:00Z");
            let call = ["--tool", "crm_delete_customer", "--time", &time];
            let named = [&["policy", "explain", &*strong], who, &call].concat();
            let run = run(&named).await;
            assert!(run.out.starts_with(said), "{time}: {} {}", run.out, run.err);
        }
    }
    let early = [
        &token[..],
        &[
            "--tool",
            "crm_delete_customer",
            "--time",
            "2026-11-02T11:59:00Z",
        ],
    ]
    .concat();
    let early = run(&[&["policy", "explain", &*strong], &early[..]].concat()).await;
    assert!(early.out.starts_with("Denied by"), "{}", early.out);
    let nothing = explain(&[&claims[..], &what].concat()).await;
    assert!(nothing.out.starts_with("Denied by:"), "{}", nothing.out);
    let senseless = explain(&["--tool", "a", "--prompt", "b"]).await;
    assert_eq!(senseless.code, 2, "{}", senseless.err);
}
