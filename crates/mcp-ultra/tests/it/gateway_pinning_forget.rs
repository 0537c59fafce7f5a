//! Tools that are gone are forgotten, on request and after long; tools of any name are reached.

use std::{fs, time::Duration};

use http::Method;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    Clock, SystemClock,
    pinning::{Definition, Ground, Sighting},
    ports::PinStore,
};
use serde_json::{Value, json};

use super::cli::run;
use crate::{
    gateway_pinning::{Changing, tool},
    gateway_pinning_admin::{Rig, rig},
    gateway_rig::{gateway, until},
};

const NEW: &str = "/api/v1/tools/crm/new";

/// What the admin API says at `path`, with its `ETag`.
async fn shown(rig: &Rig, path: &str) -> (Value, String) {
    let answer = rig.ask(&rig.operator, Method::GET, path, &[]).await;
    let tag = answer.header("etag").unwrap_or_default().to_owned();
    (answer.json().await.unwrap(), tag)
}

async fn until_gone(rig: &Rig) {
    until("it is gone", async || {
        shown(rig, NEW).await.0["offered"] == false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_forgotten_and_then_seen_for_the_first_time() {
    let rig = rig().await;
    let delete = async |token: &str, query: &str, headers: &[(&str, &str)]| {
        let path = format!("{NEW}{query}");
        let answer = rig.ask(token, Method::DELETE, &path, headers).await;
        answer.status.as_u16()
    };
    let (before, tag) = shown(&rig, NEW).await;
    assert_eq!(before["gone_since"], Value::Null);
    let matches = [("if-match", &*tag)];
    for query in ["", "?dry_run=true"] {
        assert_eq!(delete(&rig.operator, query, &matches).await, 409);
    }
    rig.upstream.offer(json!([tool("find", "Finds")]));
    until_gone(&rig).await;
    let (gone, now) = shown(&rig, NEW).await;
    assert!(gone["gone_since"].is_string(), "{gone}");
    assert_eq!(delete(&rig.operator, "", &matches).await, 412);
    assert_eq!(delete(&rig.operator, "", &[]).await, 428);
    let matches = [("if-match", &*now)];
    assert_eq!(delete(&rig.tenant_admin, "", &matches).await, 403);
    assert_eq!(delete(&rig.operator, "?dry_run=true", &matches).await, 200);
    assert_eq!(shown(&rig, NEW).await.1, now, "nothing was done");
    assert_eq!(delete(&rig.operator, "", &matches).await, 200);
    assert_eq!(delete(&rig.operator, "", &matches).await, 404);
    // Had it been remembered, this would be held back.
    rig.upstream
        .offer(json!([tool("find", "Finds"), tool("new", "Another one")]));
    rig.lists(&["crm_find", "crm_new"]).await;
    assert_eq!(shown(&rig, NEW).await.0["standing"], "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_forget_in_the_store_and_by_the_api() {
    let rig = rig().await;
    for by_api in [false, true] {
        rig.upstream
            .offer(json!([tool("find", "Finds"), tool("new", "Is new")]));
        rig.lists(&["crm_find", "crm_new"]).await;
        let forget = async |name: &str| {
            let arguments = ["forget", name];
            if by_api {
                rig.remote(&arguments).await
            } else {
                rig.tools(&arguments).await
            }
        };
        let offered = forget("crm/new").await;
        assert_eq!(offered.code, 1, "{}", offered.out);
        assert!(offered.err.contains("offers the tool"), "{}", offered.err);
        rig.upstream.offer(json!([tool("find", "Finds")]));
        until_gone(&rig).await;
        let unknown = forget("crm/nope").await;
        assert_eq!(unknown.code, 1);
        assert!(unknown.err.contains("pending --all"), "{}", unknown.err);
        let pending = rig.tools(&["pending", "--all"]).await;
        assert!(
            pending.out.contains("crm/new  approved, not offered since"),
            "{}",
            pending.out
        );
        let forgotten = forget("crm/new").await;
        assert_eq!(forgotten.code, 0, "{}", forgotten.err);
        let pending = rig.tools(&["pending", "--all"]).await;
        assert!(!pending.out.contains("crm/new"), "{}", pending.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_any_name_are_shown_approved_and_forgotten() {
    let rig = rig().await;
    let odd = [
        ".", "..", "/", "a/b", "%2F", "%2e%2e", "~", "~Li4", "ação", "a\nb", "\u{0}", "approve",
    ];
    let all = |description: &str| {
        let tools = odd.iter().map(|name| tool(name, description));
        rig.upstream.offer(tools.collect());
    };
    all("One");
    until("all are listed", async || {
        rig.listed().await.len() == odd.len()
    })
    .await;
    all("Two");
    let waiting = async || {
        let (list, _) = shown(&rig, "/api/v1/tools?waiting=true&limit=200").await;
        let items = list["items"].as_array().unwrap().iter();
        let of_these = items.filter(|one| one["tool"] != "find");
        of_these.cloned().collect::<Vec<_>>()
    };
    until("all wait", async || waiting().await.len() == odd.len()).await;
    let items = waiting().await;
    for one in &items {
        let href = one["href"].as_str().unwrap();
        // As a browser reads it.
        let url = url::Url::parse(&rig.admin).unwrap().join(href).unwrap();
        let (there, tag) = shown(&rig, url.path()).await;
        assert_eq!((&there["tool"], url.path()), (&one["tool"], href));
        if one["tool"] == ".." {
            let path = format!("{href}/approve");
            let matches = [("if-match", &*tag)];
            let approved = rig.ask(&rig.operator, Method::POST, &path, &matches).await;
            assert_eq!(approved.json().await.unwrap()["standing"], "approved");
        }
    }
    // By the command, as they are in URLs, or by their names.
    for name in ["crm/.", "crm//", "crm/a/b", "crm/~fg", "crm/AA", "crm/~AA"] {
        let code = i32::from(name == "crm/AA");
        let approved = rig.remote(&["approve", name]).await;
        assert_eq!(approved.code, code, "{name}: {}", approved.err);
    }
    let left = waiting().await;
    assert_eq!(left.len(), odd.len() - 6, "{left:?}");
    let all_left = rig.tools(&["approve", "--all"]).await;
    assert_eq!(all_left.code, 0, "{}", all_left.err);
    until("all are listed", async || {
        rig.listed().await.len() == odd.len()
    })
    .await;
    rig.upstream.offer(json!([]));
    until("all are gone", async || rig.listed().await.is_empty()).await;
    let hrefs: Vec<String> = items
        .iter()
        .map(|one| one["href"].as_str().unwrap().replace("/api/v1/tools/", ""))
        .collect();
    let mut arguments = vec!["forget"];
    arguments.extend(hrefs.iter().map(String::as_str));
    let forgotten = rig.remote(&arguments).await;
    assert_eq!(forgotten.code, 0, "{}", forgotten.err);
    let (list, _) = shown(&rig, "/api/v1/tools").await;
    let left = list["items"].as_array().unwrap().iter();
    let left: Vec<&Value> = left.map(|one| &one["tool"]).collect();
    assert_eq!(left, ["find", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_gone_for_long_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let day = Duration::from_hours(24);
    let ago = |days: u32| SystemClock.now().saturating_sub(day * days);
    let sighting = |tool: &str, text: &str| Sighting {
        tool: tool.to_owned(),
        definition: Definition::new(&text.into()),
        findings: Vec::new(),
        ground: Ground::FirstSight { suspicious: false },
    };
    let store = Database::open_sqlite(&file).await.unwrap();
    let see = async |server: &str, tool: &str, text: &str| {
        let seen = [sighting(tool, text)];
        store.saw(server, &seen, &[], ago(200)).await.unwrap();
    };
    for (name, days) in [("long", 91), ("recent", 89), ("waits", 91), ("here", 0)] {
        see("crm", name, "1").await;
        if name == "waits" {
            see("crm", name, "2").await;
        }
        if days > 0 {
            let gone = [name.to_owned()];
            store.saw("crm", &[], &gone, ago(days)).await.unwrap();
        }
    }
    see("removed", "a", "1").await;
    store.close().await;
    let upstream = Changing::start(json!([tool("here", "Is here")])).await;
    let config = folder.path().join("gateway.yaml");
    let yaml = |pinning: &str, server: &str| {
        format!(
            "storage: {{ sqlite: \"{}\" }}\n{pinning}catalog: {{ refresh: 1s }}\nservers:\n  - {{ name: {server}, url: \"{}\" }}\n",
            file.display(),
            upstream.url()
        )
    };
    fs::write(&config, yaml("", "crm")).unwrap();
    let known = async || {
        let path = config.to_string_lossy();
        let listed = run(&["tools", "pending", "--all", "--json", "--config", &path]).await;
        let listed: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
        let names = listed.iter().map(|one| {
            let gone = if one["offered"] == true { "" } else { " gone" };
            format!("{}/{}{gone}", one["server"], one["tool"]).replace('"', "")
        });
        names.collect::<Vec<_>>()
    };
    let recent = [
        "crm/here",
        "crm/recent gone",
        "crm/waits gone",
        "removed/a gone",
    ];
    // The lock file decides, and nothing is forgotten.
    let lock = folder.path().join("tools.lock");
    fs::write(&lock, "servers: {}\n").unwrap();
    let locked = format!("pinning: {{ lock_file: \"{}\" }}\n", lock.display());
    let running = gateway(&yaml(&locked, "crm")).await;
    until("the servers are known", async || {
        known().await.contains(&"removed/a gone".to_owned())
    })
    .await;
    assert_eq!(known().await.len(), 5);
    // Without it, at once.
    running.reconfigure(&yaml("", "crm")).unwrap();
    until("what is long gone is forgotten", async || {
        known().await == recent
    })
    .await;
    // A server that is not configured any more offers nothing.
    running.reconfigure(&yaml("", "other")).unwrap();
    until("the tools of the server are gone", async || {
        known().await.contains(&"crm/here gone".to_owned())
    })
    .await;
    // The time is what the configuration says.
    let short = "pinning: { forget_after: 30d }\n";
    running.reconfigure(&yaml(short, "other")).unwrap();
    until("what is recently gone is forgotten", async || {
        !known().await.contains(&"crm/recent gone".to_owned())
    })
    .await;
    assert!(known().await.contains(&"crm/here gone".to_owned()));
}
