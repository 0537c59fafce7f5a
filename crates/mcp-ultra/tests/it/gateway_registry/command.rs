//! The registry by the command line.

use mcp_ultra_testkit::fixture::Era;
use serde_json::Value;

use crate::{
    cli::{command, finish},
    gateway_admin::rig_with,
    gateway_rig::fixture,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_put_shown_rolled_back_and_deleted() {
    let on = "registry: { enabled: true }\noutbound: { allow_addresses: [127.0.0.0/8] }\n";
    let rig = rig_with("", on, &[]).await;
    let operator = rig.token("acme", "olga", &["operator"]);
    let run = async |arguments: &[&str]| {
        let mut command = command(&[&["registry"], arguments, &["--admin", &rig.admin]].concat());
        command.env("MCP_ULTRA_TOKEN", &operator);
        finish(command).await
    };
    let crm = fixture(Era::Dual).await;
    let file = rig.folder.path().join("crm.yaml");
    let name = file.to_string_lossy();
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let (one, two) = (
        format!("url: \"{}\"\n", crm.url()),
        format!("url: \"{}\"\nshared: true\n", crm.url()),
    );
    write("urk: 1\n");
    let bad = run(&["put", "server", "crm", &name]).await;
    assert_eq!(bad.code, 2, "{}", bad.err);
    assert!(
        bad.err.contains("text: line 1, column 1: urk"),
        "{}",
        bad.err
    );
    write(&one);
    let dry = run(&["put", "server", "crm", &name, "--dry-run"]).await;
    assert_eq!(dry.out.trim_end(), "The server crm would be fine.");
    let put = run(&["put", "server", "crm", &name]).await;
    let said = "The server crm is in the registry, revision 1.";
    assert_eq!(put.out.trim_end(), said, "{}", put.err);
    // What is configured is shown with it where that is asked for.
    let config = rig.gateway.file().to_string_lossy().into_owned();
    for (more, shown) in [(None, false), (Some("--registry"), true)] {
        let all = ["config", "explain", "--config", &config];
        let all: Vec<&str> = all.into_iter().chain(more).collect();
        let explained = finish(command(&all)).await;
        assert_eq!(explained.code, 0, "{}", explained.err);
        let line = explained.out.lines().find(|line| line.contains(&crm.url()));
        let is_shown = line.is_some_and(|line| line.contains("registry/"));
        assert_eq!(is_shown, shown, "{}", explained.out);
    }
    write(&two);
    assert_eq!(run(&["put", "server", "crm", &name]).await.code, 0);
    let shown = run(&["show", "server", "crm"]).await;
    assert_eq!(shown.out.trim_end(), two.trim_end());
    let listed = run(&["list", "server"]).await;
    for part in ["NAME", "mcp-ultra.yaml:", "registry"] {
        assert!(listed.out.contains(part), "{}", listed.out);
    }
    let back = run(&["rollback", "server", "crm"]).await;
    let said = "The server crm is what it was before, as revision 3.";
    assert_eq!(back.out.trim_end(), said, "{}", back.err);
    let shown = run(&["show", "server", "crm", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["text"], one);
    let gone = run(&["delete", "server", "crm"]).await;
    assert_eq!(gone.code, 0, "{}", gone.err);
    let again = run(&["delete", "server", "crm"]).await;
    assert!(
        again.code != 0 && again.err.contains("nothing called `crm`"),
        "{}",
        again.err
    );
    let history = run(&["history", "server", "crm"]).await;
    assert_eq!(history.out.lines().count(), 5, "{}", history.out);
    assert!(history.out.contains("4         deleted"), "{}", history.out);
    let back = run(&["rollback", "server", "crm", "--to", "2"]).await;
    assert_eq!(back.code, 0, "{}", back.err);
    assert_eq!(
        run(&["show", "server", "crm"]).await.out.trim_end(),
        two.trim_end()
    );
    let none = run(&["rollback", "server", "crm", "--to", "99"]).await;
    assert!(none.err.contains("no text of revision 99"), "{}", none.err);
}

/// What the registry has is listed, evaluated and explained as a gateway goes by it, where that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn flags_and_policies_of_the_registry_are_read_from_its_store() {
    let on = "registry: { enabled: true }\npolicy: { files: [\"FOLDER/base.cedar\"] }\n";
    let base = "permit(principal, action in [Action::\"tools\", Action::\"admin\"], resource);";
    let rig = rig_with("", on, &[("base.cedar", base)]).await;
    let operator = rig.token("acme", "olga", &["operator"]);
    let file = rig.folder.path().join("entry");
    let name = file.to_string_lossy();
    let put = async |kind: &str, entry: &str, text: &str| {
        std::fs::write(&file, text).unwrap();
        let put = ["registry", "put", kind, entry, &name, "--admin", &rig.admin];
        let mut command = command(&put);
        command.env("MCP_ULTRA_TOKEN", &operator);
        let put = finish(command).await;
        assert_eq!(put.code, 0, "{}", put.err);
    };
    let flag = r#"{ "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "on",
        "targeting": { "if": [{ "==": [{ "var": "tenant" }, "umbrella"] }, "off", "on"] },
        "metadata": { "owner": "ops", "expires": "2999-01-01" } }"#;
    put("flag", "server.fix.enabled", flag).await;
    let policy = "@id(\"not-from-outside\")\nforbid(principal, action, resource == Tool::\"fix_test_echo\") when { context.flags[\"server.fix.enabled\"] };\n";
    put("policy", "outside", policy).await;

    let config = rig.gateway.file().to_string_lossy().into_owned();
    let stored = async |arguments: &[&str]| {
        let of = ["--config", &config, "--registry"];
        finish(command(&[arguments, &of].concat())).await
    };
    let listed = stored(&["flags", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let place = (&listed[0]["key"], &listed[0]["file"]);
    let entry = "registry/flags/server.fix.enabled";
    assert_eq!(place, (&"server.fix.enabled".into(), &entry.into()));
    for (tenant, value) in [("acme", "true"), ("umbrella", "false")] {
        let eval = ["flags", "eval", "server.fix.enabled", "--tenant", tenant];
        let found = stored(&eval).await;
        assert!(found.out.starts_with(value), "{}{}", found.out, found.err);
    }
    let checked = stored(&["flags", "check"]).await;
    assert!(checked.out.starts_with("Valid: 1 flag,"), "{}", checked.err);
    let policies = stored(&["policy", "check"]).await;
    assert_eq!(policies.code, 0, "{}", policies.err);
    let asked = ["policy", "explain", "--tenant", "acme", "--subject", "ana"];
    let asked = [&asked[..], &["--tool", "fix_test_echo"]].concat();
    let explained = stored(&asked).await;
    let by = "not-from-outside";
    assert!(
        explained.out.contains(by),
        "{}{}",
        explained.out,
        explained.err
    );

    // Without, the files alone are read.
    let files = async |arguments: &[&str]| {
        finish(command(&[arguments, &["--config", &config]].concat())).await
    };
    let listed = files(&["flags", "list"]).await;
    assert_eq!(listed.out.trim_end(), "There are no flags.");
    let explained = files(&asked).await;
    assert!(
        explained.code == 0 && !explained.out.contains(by),
        "{}",
        explained.out
    );
    let both = stored(&["flags", "list", &name]).await;
    assert!(
        both.code == 2 && both.err.contains("cannot be used with"),
        "{}",
        both.err
    );
}
