//! Servers, policies and flags that are changed at run time, through two gateways on one PostgreSQL.

mod command;
mod file;
mod late;
mod many;
mod site;
mod unannounced;

use std::time::{Duration, Instant};

use http::Method;
use mcp_ultra_testkit::fixture::Era;
use serde_json::{Value, json};

pub(crate) use self::site::{Site, beside_postgres};
use crate::gateway_rig::{SOON, fixture, until};

/// What is announced is in force elsewhere within.
const AT_ONCE: Duration = Duration::from_secs(1);

const SERVER: &str = "/api/v1/servers/crm";
const TOOL: &str = "crm_test_simple_text";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_everywhere_at_once_and_calls_finish_when_it_goes() {
    let site = Site::announcing("").await;
    let crm = fixture(Era::Dual).await;
    let text = format!("url: \"{}\"\n", crm.url());
    assert!(!site.lists(&site.there, TOOL).await);
    let begun = Instant::now();
    let (status, made) = site.put(SERVER, &text, "new").await;
    let answered = begun.elapsed();
    assert_eq!(
        (status, &made["source"]),
        (200, &json!("registry")),
        "{made}"
    );
    site.wait(&site.there, TOOL, true).await;
    let took = begun.elapsed();
    println!("a server was put in {answered:?} and listed elsewhere after {took:?}");
    // It is looked for every hour: what is slow here is the machine.
    assert!(took < 10 * AT_ONCE, "{took:?}");
    for gateway in [&site.here, &site.there] {
        site.wait(gateway, TOOL, true).await;
        assert_eq!(site.call(gateway, TOOL, json!({})).await, None);
    }
    // One that comes later has it, too.
    let late = site.another().await;
    site.wait(&late, TOOL, true).await;
    let calling = site.call(
        &site.there,
        "crm_test_wait",
        json!({ "milliseconds": 2000 }),
    );
    let removing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let (status, _) = site.remove(SERVER, "*").await;
        assert_eq!(status, 200);
        for gateway in [&site.there, &late] {
            site.wait(gateway, TOOL, false).await;
        }
        begun.elapsed()
    };
    let (answer, took) = tokio::join!(calling, removing);
    println!("a server that was removed was gone elsewhere after {took:?}");
    assert_eq!(answer, None, "the call in flight");
    assert_eq!(site.call(&site.there, TOOL, json!({})).await, Some(-32602));
    let history = site.get("/api/v1/servers/crm/history").await;
    let items = history["items"].as_array().unwrap();
    let texts: Vec<&Value> = items.iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, [&Value::Null, &json!(text)]);
    // What it was is put again.
    let (status, _) = site.put(SERVER, &text, "new").await;
    assert_eq!(status, 200);
    site.wait(&late, TOOL, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_flags_govern_everywhere() {
    let site = Site::announcing("").await;
    let tool = "fix_test_simple_text";
    site.wait(&site.there, tool, true).await;
    let forbid = "@id(\"no-text\")\nforbid(principal, action, resource == Tool::\"fix_test_simple_text\");\n";
    let begun = Instant::now();
    let (status, said) = site.put("/api/v1/policies/no-text", forbid, "new").await;
    assert_eq!(status, 200, "{said}");
    site.wait(&site.there, tool, false).await;
    println!(
        "a policy was in force elsewhere after {:?}",
        begun.elapsed()
    );
    for gateway in [&site.here, &site.there] {
        assert_eq!(site.call(gateway, tool, json!({})).await, Some(-32602));
    }
    let (status, _) = site.remove("/api/v1/policies/no-text", "*").await;
    assert_eq!(status, 200);
    site.wait(&site.there, tool, true).await;
    // A kill switch.
    let flag = "/api/v1/flags/server.fix.enabled";
    let switch = |default: &str| {
        json!({
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": default,
            "metadata": {"owner": "ops", "expires": "2999-01-01"},
        })
        .to_string()
    };
    let (status, said) = site.put(flag, &switch("on"), "new").await;
    assert_eq!(status, 200, "{said}");
    let begun = Instant::now();
    let (status, _) = site.put(flag, &switch("off"), "*").await;
    assert_eq!(status, 200);
    site.wait(&site.there, tool, false).await;
    println!(
        "a kill switch was flipped elsewhere after {:?}",
        begun.elapsed()
    );
    for gateway in [&site.here, &site.there] {
        assert_eq!(site.call(gateway, tool, json!({})).await, Some(-32602));
    }
    let (status, _) = site.remove(flag, "*").await;
    assert_eq!(status, 200);
    site.wait(&site.there, tool, true).await;
    let listed = site.get("/api/v1/policies").await;
    assert_eq!(listed["items"][0]["name"], "base", "{listed}");
    assert_eq!(listed["items"][0]["source"], "file");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_is_refused_with_its_place_and_nothing_changes() {
    let site = Site::announcing("").await;
    let fine = "url: https://crm.example.com/mcp\n";
    let one = "/api/v1/policies/one";
    let flag = "/api/v1/flags/one";
    for (path, text, meant, status, said) in [
        (
            SERVER,
            "url: https://a.example.com/\nurk: 1\n",
            "new",
            400,
            "line 2, column 1: urk: unknown key",
        ),
        (
            SERVER,
            "command: /bin/sh\n",
            "new",
            400,
            "line 1, column 10: command: a program may not be started",
        ),
        (
            SERVER,
            &*format!("{fine}headers: {{ X-Key: hunter2 }}\n"),
            "new",
            400,
            "headers.X-Key: a value that may be a secret",
        ),
        (
            SERVER,
            &format!("{fine}headers: {{ X-Key: '${{HOME}}' }}\n"),
            "new",
            400,
            "no variables and no files",
        ),
        (
            SERVER,
            &format!("{fine}headers: {{ X-Key: '${{secret:x}}' }}\n"),
            "new",
            400,
            "may not use the secret `x`",
        ),
        (
            SERVER,
            &format!("{fine}headers: {{ X-Key: '${{secret:allowed}}' }}\n"),
            "new",
            400,
            "`allowed` can't be read",
        ),
        (
            SERVER,
            &format!("{fine}prefix: fix\n"),
            "new",
            400,
            "prefix",
        ),
        ("/api/v1/servers/fix", fine, "new", 409, "mcp-ultra.yaml:"),
        (
            "/api/v1/servers/No",
            fine,
            "new",
            400,
            "`No` can't be the name of a server",
        ),
        (
            "/api/v1/servers/a%2Fb",
            fine,
            "new",
            400,
            "a name has 1 to 128",
        ),
        (
            one,
            "permit(principal,\n  action, resourc);",
            "new",
            400,
            "line 2, column ",
        ),
        // Nobody shuts themselves out.
        (
            one,
            "forbid(principal, action in Action::\"admin\", resource);",
            "new",
            409,
            "you could not change this back",
        ),
        (
            "/api/v1/policies/base",
            "permit(principal, action, resource);",
            "new",
            409,
            "base.cedar defines it",
        ),
        (flag, "{", "new", 400, "line 1, column "),
        (flag, "{}, \"other\": {}", "new", 400, "this is no JSON"),
        (
            flag,
            "{\n\"state\": \"ENABLED\",\n\"variants\": {\"on\": 1} }",
            "new",
            400,
            "line 1, column",
        ),
        (SERVER, fine, "\"r1\"", 412, "If-None-Match"),
        (SERVER, fine, "", 428, "If-Match"),
    ] {
        let (found, answer) = site.put(path, text, meant).await;
        assert_eq!(found, status, "{path} {text}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{path} {text}: {answer}");
        assert!(!detail.contains("hunter2"), "{answer}");
        if status == 400 && path != "/api/v1/servers/a%2Fb" {
            assert_eq!(answer["field"], "text", "{answer}");
        }
    }
    let list = site.get("/api/v1/servers").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["name"], "fix");
    let place = list["items"][0]["place"].as_str().unwrap();
    assert!(place.contains("mcp-ultra.yaml:"), "{place}");
    // What somebody has not read is not overwritten.
    let (_, made) = site.put(SERVER, fine, "new").await;
    let revision = made["revision"].as_u64().unwrap();
    let (again, _) = site.put(SERVER, fine, "new").await;
    assert_eq!(again, 200, "what is there is put again");
    let other = format!("{fine}shared: true\n");
    let (status, _) = site.put(SERVER, &other, "new").await;
    assert_eq!(status, 412);
    let (status, changed) = site.put(SERVER, &other, &format!("\"r{revision}\"")).await;
    assert_eq!((status, &changed["revision"]), (200, &json!(revision + 1)));
    let (status, _) = site.put(SERVER, fine, &format!("\"r{revision}\"")).await;
    assert_eq!(status, 412);
    let (status, _) = site.remove(SERVER, &format!("\"r{revision}\"")).await;
    assert_eq!(status, 412);
    let (status, dry) = site.put(&format!("{SERVER}?dry_run=true"), fine, "*").await;
    assert_eq!((status, &dry["revision"]), (200, &json!(revision + 2)));
    let shown = site.get(SERVER).await;
    assert_eq!(shown["text"], other);
    let missing = site
        .ask(Method::GET, "/api/v1/servers/none", None, &[])
        .await;
    assert_eq!(missing.0, 404, "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_announcements_changes_are_found_and_without_the_store_calls_go_on() {
    let site = Site::polling().await;
    let crm = fixture(Era::Dual).await;
    let text = format!("url: \"{}\"\n", crm.url());
    let begun = Instant::now();
    let (status, said) = site.put(SERVER, &text, "new").await;
    assert_eq!(status, 200, "{said}");
    site.wait(&site.there, TOOL, true).await;
    println!("a server was found by polling after {:?}", begun.elapsed());
    // Who has not called yet would have to be looked up.
    site.wait(&site.here, TOOL, true).await;
    site.postgres.cut();
    for gateway in [&site.here, &site.there] {
        until("it is noticed", async || {
            site.metric(gateway, "mcp_registry_up").await == "0"
        })
        .await;
        for _ in 0..5 {
            assert_eq!(site.call(gateway, TOOL, json!({})).await, None);
        }
    }
    let begun = Instant::now();
    let (status, said) = site.put("/api/v1/servers/b", &text, "new").await;
    println!(
        "without PostgreSQL a change was refused after {:?}",
        begun.elapsed()
    );
    assert_eq!(status, 503, "{said}");
    assert!(
        said["detail"]
            .as_str()
            .unwrap()
            .contains("nothing was changed"),
        "{said}"
    );
    site.postgres.heal();
    let begun = Instant::now();
    until("it can be put again", async || {
        site.put("/api/v1/servers/b", &text, "new").await.0 == 200
    })
    .await;
    site.wait(&site.there, "b_test_simple_text", true).await;
    println!(
        "after PostgreSQL was back a change was everywhere after {:?}",
        begun.elapsed()
    );
    assert!(begun.elapsed() < SOON);
    assert_eq!(site.metric(&site.there, "mcp_registry_up").await, "1");
    assert_eq!(site.metric(&site.there, "mcp_registry_revision").await, "2");
}
