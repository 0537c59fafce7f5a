//! `mcp-ultra flags`, and the examples of docs/flags.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::cli::run;

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags");
    folder.join(name).to_string_lossy().into_owned()
}

#[tokio::test]
async fn the_examples_can_be_used_and_listed() {
    let checked = run(&["flags", "check", &example("")]).await;
    assert_eq!((checked.code, &*checked.err), (0, ""), "{}", checked.out);
    let listed = run(&["flags", "list", "--json", &example("")]).await;
    let all: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
    assert!(all.len() >= 4);
    assert!(
        all.iter()
            .all(|flag| flag["owner"].is_string() && flag["expires"].is_string())
    );
    let listed = run(&["flags", "list", &example("")]).await;
    for word in ["KEY", "OWNER", "EXPIRES", "server.crm.enabled"] {
        assert!(listed.out.contains(word), "{}", listed.out);
    }
}

#[tokio::test]
async fn a_flag_is_evaluated_for_a_caller_and_a_call() {
    let file = example("kill-switches.json");
    let crm = run(&[
        "flags",
        "eval",
        "server.crm.enabled",
        &file,
        "--tenant",
        "acme",
        "--tool",
        "crm_find",
    ])
    .await;
    assert_eq!(
        (crm.code, &*crm.out),
        (0, "true\nvariant: on\nreason: DEFAULT\n"),
        "{}",
        crm.err
    );
    let off = [
        "flags",
        "eval",
        "server.crm.enabled",
        &file,
        "--tenant",
        "umbrella",
        "--json",
    ];
    let off = run(&off).await;
    assert_eq!(
        serde_json::from_str::<Value>(&off.out).unwrap(),
        json!({"flagKey": "server.crm.enabled", "value": false, "variant": "off", "reason": "TARGETING_MATCH", "errorCode": null})
    );
    let rollout = example("rollout.json");
    let share = |subject: &str| {
        let principal = format!("https://login.example.com|{subject}");
        let rollout = rollout.clone();
        async move {
            let run = run(&[
                "flags",
                "eval",
                "new-search",
                &rollout,
                "--principal",
                &principal,
            ])
            .await;
            assert_eq!(run.code, 0, "{}", run.err);
            run.out
        }
    };
    let mut found = std::collections::BTreeSet::new();
    for subject in 0..12 {
        found.insert(share(&format!("person-{subject}")).await);
    }
    assert!(
        found.contains("true\nvariant: on\nreason: SPLIT\n"),
        "{found:?}"
    );
    assert!(
        found.contains("false\nvariant: off\nreason: SPLIT\n"),
        "{found:?}"
    );
    let staff = run(&["flags", "eval", "new-search", &rollout, "--role", "staff"]).await;
    assert_eq!(staff.out, "true\nvariant: on\nreason: TARGETING_MATCH\n");
}

#[tokio::test]
async fn what_is_asked_or_written_wrongly_is_said() {
    let file = example("kill-switches.json");
    for (arguments, code, told) in [
        (&["eval", "nothing", &file][..], 1, "error: FLAG_NOT_FOUND"),
        (
            &["eval", "nothing", &file, "--principal", "ana"],
            2,
            "no issuer and subject",
        ),
        (
            &["eval", "x", &file, "--attribute", "tenant=acme"],
            2,
            "an attribute of the gateway's own",
        ),
        (
            &["eval", "x", &file, "--attribute", "acme"],
            2,
            "no NAME=VALUE",
        ),
        (
            &["eval", "x", &file, "--server", "crm"],
            2,
            "--server is of a --tool",
        ),
        (
            &["eval", "x", &file, "--kind", "robot"],
            2,
            "there is no kind",
        ),
        (&["list"], 2, "<FILE>..."),
        (&["list", "/nowhere.json"], 2, "the file can't be read"),
    ] {
        let run = run(&[&["flags"], arguments].concat()).await;
        assert_eq!(run.code, code, "{} {}", run.out, run.err);
        assert!(
            format!("{}{}", run.out, run.err).contains(told),
            "{} {}",
            run.out,
            run.err
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.json");
    let flag = r#"{"flags": {"a": {"state": "ENABLED", "variants": {"x": 1},
      "defaultVariant": "x", "metadata": {"owner": "me"}}}}"#;
    fs::write(&bad, flag).unwrap();
    let bad = bad.to_string_lossy();
    let checked = run(&["flags", "check", &bad]).await;
    assert_eq!(checked.code, 2);
    assert!(
        checked
            .err
            .contains("bad.json:2:42: /flags/a/metadata: it has no expiry"),
        "{}",
        checked.err
    );
    let checked = run(&["flags", "check", "--json", &bad]).await;
    let said: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(
        (checked.code, &said["problems"][0]["pointer"]),
        (2, &json!("/flags/a/metadata"))
    );
    // The configuration is checked with them, and says which servers it does not have.
    let config = folder.path().join("c.yaml");
    fs::write(&config, format!("flags: {{ files: [\"{bad}\"] }}\n")).unwrap();
    let config = config.to_string_lossy();
    let validated = run(&["config", "validate", "--config", &config]).await;
    assert_eq!(validated.code, 2, "{}", validated.out);
    assert!(
        validated.err.contains("it has no expiry"),
        "{}",
        validated.err
    );
    let served = run(&["serve", "--port", "0", "--config", &config]).await;
    assert_eq!(served.code, 2);
    assert!(served.err.contains("flags.files"), "{}", served.err);
    fs::write(
        folder.path().join("c.yaml"),
        format!("flags: {{ files: [\"{file}\"] }}\n"),
    )
    .unwrap();
    let checked = run(&["flags", "check", "--config", &config]).await;
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(
        checked.err.contains("not configured: crm"),
        "{}",
        checked.err
    );
}
