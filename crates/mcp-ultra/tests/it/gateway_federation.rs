//! Many upstreams as one server: names, collisions, upstreams that are down, pages, and what passes
//! through of headers and extensions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp_ultra_testkit::{
    fixture::{self, Era, Options},
    raw::Reply,
    scripted::{Scene, Scripted, Seen},
};
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, call_headers, call_text, fixture, gateway, legacy, legacy_tool, modern, modern_tool,
    names, text, until,
};

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

/// A modern upstream with these tools that says its name in every answer.
async fn named(name: &'static str, tools: Value) -> Scripted {
    Scripted::start(tools, move |seen| {
        (seen.rpc() == "tools/call").then(|| said(name))
    })
    .await
    .unwrap()
}

fn said(text: &str) -> Scene {
    let content = json!([{ "type": "text", "text": text }]);
    Scene::Result(json!({ "resultType": "complete", "content": content }).to_string())
}

/// The answer to `server/discover` with these capabilities and instructions.
fn discover(capabilities: &Value, instructions: &str) -> Scene {
    let result = json!({
        "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
        "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities,
        "instructions": instructions,
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "0" } },
    });
    Scene::Result(result.to_string())
}

fn server(name: &str, url: &str, rest: &str) -> String {
    format!("  - {{ name: {name}, url: \"{url}\"{rest} }}\n")
}

/// All names of a list, page by page.
async fn pages(
    caller: &mcp_ultra_testkit::raw::modern::Caller,
    method: &str,
    list: &str,
) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut params = json!({});
    loop {
        let reply = modern(caller, method, params).await;
        pages.push(names(&reply, list));
        let Some(cursor) = reply.result()["nextCursor"].as_str() else {
            return pages;
        };
        assert!(pages.len() < 100, "{method} has pages without end");
        params = json!({ "cursor": cursor });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_lead_to_their_upstream_and_are_not_seen_by_it() {
    let one = named("one", json!([tool("same"), tool("only")])).await;
    let two = named("two", json!([tool("same")])).await;
    let yaml = format!(
        "servers:\n{}{}",
        server("one", &one.url(), ""),
        server("two", &two.url(), ", prefix: deux"),
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let listed = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    assert_eq!(listed, ["one_same", "one_only", "deux_same"]);
    for (name, answer) in [
        ("one_same", "one"),
        ("deux_same", "two"),
        ("one_only", "one"),
    ] {
        assert_eq!(text(&modern_tool(&caller, name, json!({})).await), answer);
        assert_eq!(text(&legacy_tool(&session, name, json!({})).await), answer);
    }
    for seen in two.seen("tools/call") {
        assert_eq!(seen.header("mcp-name"), Some("same"));
        assert_eq!(seen.message()["params"]["name"], "same");
    }
    for unknown in ["same", "two_same", "deux", "_same", ""] {
        let reply = modern_tool(&caller, unknown, json!({})).await;
        assert_eq!(
            reply.error_code(),
            Some(-32602),
            "{unknown}: {}",
            reply.message
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_have_is_the_first_ones() {
    let first = named("first", json!([tool("same"), tool("a")])).await;
    let second = named("second", json!([tool("same"), tool("b")])).await;
    let yaml = format!(
        "servers:\n{}{}",
        server("first", &first.url(), ", prefix: none"),
        server("second", &second.url(), ", prefix: none"),
    );
    let mut gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let listed = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    assert_eq!(listed, ["same", "a", "b"]);
    assert_eq!(
        text(&modern_tool(&caller, "same", json!({})).await),
        "first"
    );
    assert_eq!(text(&modern_tool(&caller, "b", json!({})).await), "second");
    assert!(second.seen("tools/call").len() == 1);
    gateway.logged(&["same", "second"], SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_marked_and_found_again() {
    let up = fixture(Era::Dual).await;
    // A port that nothing listens on yet.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let yaml = format!(
        "limits: {{ connect_timeout: 1s }}\nservers:\n{}{}",
        server("up", &up.url(), ""),
        server("down", &fixture::http::url(address), ""),
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let reply = modern_tool(&caller, "up_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    let marked =
        |reply: &Reply| reply.result()["_meta"]["io.github.vertikon.mcp-ultra/unavailable"].clone();
    let tools = modern(&caller, "tools/list", json!({})).await;
    assert_eq!(marked(&tools), json!(["down"]));
    assert_eq!(
        marked(&modern(&caller, "server/discover", json!({})).await),
        json!(["down"])
    );
    let reply = modern_tool(&caller, "down_test_simple_text", json!({})).await;
    let error = &reply.message["error"];
    assert_eq!(
        error["data"],
        json!({ "upstream": "down", "kind": "unreachable", "retryable": true })
    );
    let health = gateway.get("/healthz").await.unwrap();
    assert_eq!(health.status, 200);
    let health = health.json().await.unwrap();
    assert_eq!(health["status"], "degraded", "{health}");
    // It comes up.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(fixture::http::serve(
        listener,
        Options::new(Era::Dual),
        stop.clone(),
    ));
    until("the tools of an upstream that came up", async || {
        let tools = modern(&caller, "tools/list", json!({})).await;
        names(&tools, "tools")
            .iter()
            .any(|name| name.starts_with("down_"))
            && marked(&tools).is_null()
    })
    .await;
    let reply = modern_tool(&caller, "down_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    // It goes away again.
    stop.cancel();
    serving.abort();
    until("a mark on an upstream that went away", async || {
        let reply = modern_tool(&caller, "down_test_simple_text", json!({})).await;
        let tools = modern(&caller, "tools/list", json!({})).await;
        reply.error_code().is_some() && marked(&tools) == json!(["down"])
    })
    .await;
    let reply = modern_tool(&caller, "up_test_simple_text", json!({})).await;
    assert!(text(&reply).starts_with("This is"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_many_upstreams_are_one_list() {
    // An upstream that pages itself, three tools at a time.
    let paged = |seen: &Seen| -> Option<Scene> {
        if seen.rpc() != "tools/list" {
            return None;
        }
        let cursor = seen.message()["params"]["cursor"].clone();
        let start: usize = cursor.as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let tools: Vec<Value> = (start..(start + 3).min(10))
            .map(|n| tool(&format!("t{n}")))
            .collect();
        let mut result = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools });
        if start + 3 < 10 {
            result["nextCursor"] = json!((start + 3).to_string());
        }
        Some(Scene::Result(result.to_string()))
    };
    let one = Scripted::start(json!([]), paged).await.unwrap();
    let two = Scripted::start(json!([]), paged).await.unwrap();
    let yaml = format!(
        "catalog: {{ page_size: 4 }}\nservers:\n{}{}",
        server("one", &one.url(), ""),
        server("two", &two.url(), ""),
    );
    let (gateway, other) = (gateway(&yaml).await, gateway(&yaml).await);
    let caller = gateway.caller();
    let pages_seen = pages(&caller, "tools/list", "tools").await;
    let sizes: Vec<usize> = pages_seen.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 4, 4, 4]);
    let all: Vec<String> = ["one", "two"]
        .iter()
        .flat_map(|prefix| (0..10).map(move |n| format!("{prefix}_t{n}")))
        .collect();
    assert_eq!(pages_seen.concat(), all);
    let cursor = modern(&caller, "tools/list", json!({})).await.result()["nextCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    // Sealed, and not only written in another way.
    for part in cursor.split('.') {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        assert!(!bytes.windows(3).any(|three| three == b"one"), "{cursor}");
    }
    let foreign = modern(&other.caller(), "tools/list", json!({}))
        .await
        .result()["nextCursor"]
        .clone();
    let flipped = cursor.replace(
        &cursor[20..21],
        if &cursor[20..21] == "A" { "B" } else { "A" },
    );
    for bad in [
        json!("nonsense"),
        json!(""),
        json!(7),
        json!(flipped),
        foreign,
    ] {
        let reply = modern(&caller, "tools/list", json!({ "cursor": bad })).await;
        assert_eq!(reply.error_code(), Some(-32602), "{bad}: {}", reply.message);
    }
    let reply = modern(&caller, "prompts/list", json!({ "cursor": cursor })).await;
    assert_eq!(reply.error_code(), Some(-32602), "a cursor of another list");
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let first = legacy(&session, "tools/list", json!({})).await;
    let second = legacy(
        &session,
        "tools/list",
        json!({ "cursor": first.result()["nextCursor"] }),
    )
    .await;
    assert_eq!(names(&second, "tools"), pages_seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uris_are_public_wherever_they_stand() {
    let scripted = Scripted::start(json!([tool("links")]), |seen| {
        (seen.rpc() == "tools/call").then(|| {
            let content = json!([
                { "type": "resource_link", "uri": "test://static-text", "name": "link" },
                { "type": "resource", "resource": { "uri": "db://1", "text": "uri: db://1" } },
                { "type": "text", "text": "{\"uri\":\"db://1\"}" },
            ]);
            Scene::Result(json!({ "resultType": "complete", "content": content }).to_string())
        })
    })
    .await
    .unwrap();
    let real = fixture(Era::Dual).await;
    let yaml = format!(
        "servers:\n{}{}",
        server("s", &scripted.url(), ""),
        server("r", &real.url(), ""),
    );
    let gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    for reply in [
        modern_tool(&caller, "s_links", json!({})).await,
        legacy_tool(&session, "s_links", json!({})).await,
    ] {
        let content = &reply.result()["content"];
        assert_eq!(content[0]["uri"], "s+test://static-text");
        assert_eq!(content[1]["resource"]["uri"], "s+db://1");
        assert_eq!(
            content[1]["resource"]["text"], "uri: db://1",
            "text is no URI"
        );
        assert_eq!(content[2]["text"], "{\"uri\":\"db://1\"}");
    }
    let embedded = modern_tool(&caller, "r_test_embedded_resource", json!({})).await;
    assert_eq!(
        embedded.result()["content"][0]["resource"]["uri"],
        "r+test://embedded-resource"
    );
    for uri in ["r+test://static-text", "r+test://template/9/data"] {
        for reply in [
            modern(&caller, "resources/read", json!({ "uri": uri })).await,
            legacy(&session, "resources/read", json!({ "uri": uri })).await,
        ] {
            assert_eq!(reply.result()["contents"][0]["uri"], uri);
        }
    }
    let listed = modern(&caller, "resources/list", json!({})).await;
    let all = listed.result()["resources"].as_array().unwrap();
    assert!(
        all.iter()
            .all(|one| one["uri"].as_str().unwrap().starts_with("r+"))
    );
    let templates = modern(&caller, "resources/templates/list", json!({})).await;
    let template = &templates.result()["resourceTemplates"][0]["uriTemplate"];
    assert_eq!(*template, "r+test://template/{id}/data");
    let complete = json!({
        "ref": { "type": "ref/resource", "uri": template }, "argument": { "name": "id", "value": "12" },
    });
    let reply = modern(&caller, "completion/complete", complete).await;
    assert_eq!(reply.result()["completion"]["values"], json!(["12", "123"]));
    let prompt = json!({
        "name": "r_test_prompt_with_embedded_resource", "arguments": { "resourceUri": "test://static-text" },
    });
    let reply = modern(&caller, "prompts/get", prompt).await;
    let uri = &reply.result()["messages"][0]["content"]["resource"]["uri"];
    assert_eq!(*uri, "r+test://static-text");
}

#[tokio::test(flavor = "multi_thread")]
async fn instructions_are_merged_under_the_names_of_their_servers() {
    let start = |words: &'static str| {
        Scripted::start(json!([]), move |seen| {
            (seen.rpc() == "server/discover").then(|| discover(&json!({ "tools": {} }), words))
        })
    };
    let (one, two) = (
        start("Ask one.").await.unwrap(),
        start("Ask two.").await.unwrap(),
    );
    let yaml = format!(
        "servers:\n{}{}",
        server("one", &one.url(), ""),
        server("two", &two.url(), "")
    );
    let gateway = gateway(&yaml).await;
    let merged = "## one\n\nAsk one.\n\n## two\n\nAsk two.";
    let reply = modern(&gateway.caller(), "server/discover", json!({})).await;
    assert_eq!(reply.result()["instructions"], merged);
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    assert_eq!(session.initialized["instructions"], merged);
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_headers_are_made_anew_and_unknown_ones_pass() {
    let with = |header: Value| json!({ "type": "object", "properties": { "v": { "type": "string", "x-mcp-header": header } } });
    let tools = json!([
        { "name": "good", "inputSchema": with(json!("Region")) },
        { "name": "space", "inputSchema": with(json!("Bad Name")) },
        { "name": "empty", "inputSchema": with(json!("")) },
        { "name": "number", "inputSchema": with(json!(7)) },
        { "name": "object", "inputSchema": { "type": "object", "properties": {
            "v": { "type": "object", "x-mcp-header": "V" } } } },
        { "name": "twice", "inputSchema": { "type": "object", "properties": {
            "v": { "type": "string", "x-mcp-header": "Same" }, "w": { "type": "string", "x-mcp-header": "same" } } } },
        tool("plain"),
    ]);
    let upstream = Scripted::start(tools, |_| None).await.unwrap();
    let gateway = gateway(&format!("servers:\n{}", server("s", &upstream.url(), ""))).await;
    let caller = gateway.caller();
    let listed = names(&modern(&caller, "tools/list", json!({})).await, "tools");
    assert_eq!(listed, ["s_good", "s_plain"], "invalid ones are dropped");
    let mut map = call_headers("s_good");
    map.insert("mcp-param-region", "=?base64?c3Vs?=".parse().unwrap());
    map.insert("mcp-param-unknown", "kept".parse().unwrap());
    map.insert(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            .parse()
            .unwrap(),
    );
    map.insert("authorization", "Bearer of-the-client".parse().unwrap());
    map.insert("cookie", "secret=1".parse().unwrap());
    let body = call_text("s_good", r#"{"v":"sul"}"#);
    let answer = gateway.client().post(map, body).await.unwrap();
    assert_eq!(answer.status, 200);
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    legacy_tool(&session, "s_good", json!({ "v": "Olá" })).await;
    let seen = upstream.seen("tools/call");
    assert_eq!(seen[0].header("mcp-param-region"), Some("sul"), "made anew");
    assert_eq!(seen[0].header("mcp-param-unknown"), Some("kept"));
    assert!(seen[0].header("traceparent").is_some());
    for secret in ["authorization", "cookie"] {
        assert_eq!(seen[0].header(secret), None, "{secret} went through");
    }
    assert_eq!(
        seen[1].header("mcp-param-region"),
        Some("=?base64?T2zDoQ==?=")
    );
}

/// A server that misses a header which mirrors an argument has other tools than were read.
#[tokio::test(flavor = "multi_thread")]
async fn a_missed_header_leads_to_another_reading_of_the_tools() {
    let changed = Arc::new(AtomicBool::new(false));
    let now = changed.clone();
    let upstream = Scripted::start(json!([tool("t")]), move |seen| {
        if !now.load(Ordering::Relaxed) {
            return None;
        }
        match seen.rpc().as_str() {
            "tools/list" => {
                let schema = json!({ "type": "object", "properties": { "v": { "type": "string", "x-mcp-header": "Region" } } });
                let tools = json!([{ "name": "t", "inputSchema": schema }]);
                let result = json!({ "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools });
                Some(Scene::Result(result.to_string()))
            }
            "tools/call" if seen.header("mcp-param-region").is_none() => Some(Scene::Error(
                r#"{"code":-32020,"message":"Header mismatch: Mcp-Param-Region"}"#.into(),
            )),
            _ => None,
        }
    })
    .await
    .unwrap();
    for era in [Era::Modern, Era::Legacy] {
        changed.store(false, Ordering::Relaxed);
        let gateway = gateway(&format!("servers:\n{}", server("s", &upstream.url(), ""))).await;
        let caller = gateway.caller();
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        changed.store(true, Ordering::Relaxed);
        let call = async || match era {
            Era::Legacy => legacy_tool(&session, "s_t", json!({ "v": "sul" })).await,
            _ => modern_tool(&caller, "s_t", json!({ "v": "sul" })).await,
        };
        let listed = upstream.seen("tools/list").len();
        // It is not made again in secret.
        let first = call().await;
        assert!(first.error_code().is_some(), "{}", first.message);
        until("another reading of the tools", async || {
            upstream.seen("tools/list").len() > listed
        })
        .await;
        until("a call with the header", async || {
            let reply = legacy_tool(&session, "s_t", json!({ "v": "sul" })).await;
            reply.error_code().is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_pass_where_the_configuration_allows_them() {
    let seen_ui = Arc::new(AtomicBool::new(false));
    let told = seen_ui.clone();
    let tools = json!([
        { "name": "shown", "inputSchema": { "type": "object" }, "_meta": { "ui": { "resourceUri": "ui://app" } } },
    ]);
    let upstream = Scripted::start(tools, move |seen| {
        let capabilities = json!({ "tools": {}, "resources": {}, "extensions": {
            "io.modelcontextprotocol/ui": {}, "io.modelcontextprotocol/skills": {},
            "io.modelcontextprotocol/tasks": {}, "com.example/own": { "a": 1 } } });
        match seen.rpc().as_str() {
            "server/discover" => Some(discover(&capabilities, "")),
            "tools/call" => {
                let declared = seen.message();
                let declared = &declared["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
                let ui = declared.get("io.modelcontextprotocol/ui").is_some();
                told.store(ui, Ordering::Relaxed);
                Some(said("ok"))
            }
            _ => None,
        }
    })
    .await
    .unwrap();
    for (rest, allowed) in [
        ("", true),
        (", extensions: []", false),
        (", extensions: [ui]", true),
    ] {
        let gateway = gateway(&format!("servers:\n{}", server("s", &upstream.url(), rest))).await;
        let mut caller = gateway.caller();
        caller.capabilities = json!({ "extensions": {
            "io.modelcontextprotocol/ui": { "mimeTypes": ["text/html;profile=mcp-app"] },
            "com.example/own": {} } });
        let reply = modern(&caller, "server/discover", json!({})).await;
        let extensions = &reply.result()["capabilities"]["extensions"];
        let has = |name: &str| {
            extensions
                .get(format!("io.modelcontextprotocol/{name}"))
                .is_some()
        };
        assert_eq!(has("ui"), allowed, "{rest}: {extensions}");
        assert_eq!(has("tasks"), rest.is_empty(), "{rest}: {extensions}");
        assert_eq!(has("skills"), rest.is_empty(), "{rest}: {extensions}");
        modern_tool(&caller, "s_shown", json!({})).await;
        assert_eq!(seen_ui.load(Ordering::Relaxed), allowed, "{rest}");
        let tools = modern(&caller, "tools/list", json!({})).await;
        let uri = &tools.result()["tools"][0]["_meta"]["ui"]["resourceUri"];
        assert_eq!(*uri, "s+ui://app", "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_followed_under_ids_of_the_gateway() {
    let upstream = fixture(Era::Modern).await;
    let yaml = format!("servers:\n{}", server("s", &upstream.url(), ""));
    let (gateway, other) = (gateway(&yaml).await, gateway(&yaml).await);
    let mut caller = gateway.caller();
    caller.capabilities =
        json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let params =
        json!({ "name": "s_slow_compute", "arguments": { "seconds": 0.3, "label": "pi" } });
    // Results of an extension are not in the schema of the revision.
    let created = caller.call("tools/call", params).await.unwrap();
    let result = created.result();
    let id = result["taskId"]
        .as_str()
        .or(result["task"]["taskId"].as_str());
    let id = id
        .unwrap_or_else(|| panic!("no task: {}", created.message))
        .to_owned();
    until("the end of a task", async || {
        let reply = caller
            .call("tasks/get", json!({ "taskId": id }))
            .await
            .unwrap();
        let result = reply.result();
        assert!(result.is_object(), "{}", reply.message);
        let shown = result["taskId"]
            .as_str()
            .or(result["task"]["taskId"].as_str());
        assert!(shown.is_some(), "{}", reply.message);
        reply.message.to_string().contains("pi computed")
    })
    .await;
    for bad in ["nonsense", "", &id[..id.len() - 4]] {
        let reply = caller
            .call("tasks/get", json!({ "taskId": bad }))
            .await
            .unwrap();
        assert_eq!(reply.error_code(), Some(-32602), "{bad}: {}", reply.message);
    }
    let mut stranger = other.caller();
    stranger.capabilities = caller.capabilities.clone();
    let reply = stranger
        .call("tasks/get", json!({ "taskId": id }))
        .await
        .unwrap();
    assert_eq!(reply.error_code(), Some(-32602), "{}", reply.message);
    // A client without the extension gets the answer itself.
    let plain = gateway.caller();
    let reply = modern_tool(&plain, "s_slow_compute", json!({ "seconds": 0.01 })).await;
    assert_eq!(text(&reply), "value computed");
}
