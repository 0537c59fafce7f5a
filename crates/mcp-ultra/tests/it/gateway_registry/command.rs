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
