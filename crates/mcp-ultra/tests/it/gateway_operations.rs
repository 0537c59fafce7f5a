//! What operators see of the running gateway: health, metrics, logs, new configurations, its end.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use http::HeaderMap;
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    raw::{Client, headers},
    scripted::Scripted,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::gateway_rig::{
    SOON, children, fixture, gateway, legacy_tool, marker, modern, modern_tool, names, only,
    stdio_server, text, until,
};

async fn metrics(gateway: &Gateway, accept: Option<&str>) -> (String, String) {
    let client = Client::new(gateway.url("/metrics"));
    let map = accept.map(|accept| headers::from_pairs([("accept", accept)]));
    let answer = client.get(map.unwrap_or_default()).await.unwrap();
    let kind = answer.header("content-type").unwrap().to_owned();
    (kind, answer.text().await.unwrap())
}

/// Names and labels of all samples.
fn series(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_the_state_of_each_upstream_and_no_secret() {
    let upstream = fixture(Era::Dual).await;
    let yaml = format!(
        "servers:\n  - {{ name: up, url: \"{}\" }}\n  - name: down\n    url: \"http://127.0.0.1:9/mcp?key=hunter2-url\"\n    headers: {{ Authorization: \"Bearer hunter2-header\" }}\n",
        upstream.url()
    );
    let gateway = gateway(&yaml).await;
    for (path, status) in [
        ("/livez", 200),
        ("/live", 200),
        ("/readyz", 200),
        ("/ready", 200),
        ("/healthz", 200),
        ("/health", 200),
    ] {
        let answer = gateway.get(path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let body = answer.json().await.unwrap();
        assert!(body["status"].is_string(), "{path}: {body}");
        assert!(!body.to_string().contains("hunter2"), "{path}: {body}");
        if path.starts_with("/h") {
            assert_eq!(body["status"], "degraded", "{body}");
            let state = |name: &str| {
                let all = body["dependencies"].as_array().unwrap();
                all.iter().find(|one| one["name"] == name).unwrap()["status"].clone()
            };
            assert_eq!(state("up"), "ok");
            assert_eq!(state("down"), "unavailable");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_promised_series_in_both_formats() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let caller = gateway.caller();
    modern_tool(&caller, "test_simple_text", json!({})).await;
    gateway.client().post(HeaderMap::new(), "{").await.unwrap();
    let (kind, text) = metrics(&gateway, None).await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!text.contains("# EOF"));
    let (kind, open) = metrics(
        &gateway,
        Some("application/openmetrics-text; version=1.0.0"),
    )
    .await;
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.trim_end().ends_with("# EOF"));
    for text in [&text, &open] {
        for wanted in [
            "http_requests_total{status=\"200\"} ",
            "http_requests_total{status=\"415\"} 1",
            "http_request_duration_seconds_bucket{le=\"0.2\"} ",
            "http_request_duration_seconds_bucket{le=\"0.5\"} ",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} ",
            "mcp_requests_total{upstream=\"fix\",method=\"tools/call\",outcome=\"result\"} 1",
            "mcp_upstream_up{upstream=\"fix\"} 1",
            "mcp_catalog_items{list=\"tools\"} ",
        ] {
            assert!(text.contains(wanted), "no {wanted} in\n{text}");
        }
    }
    // As Prometheus reads it: what is declared has samples of that name, and no name twice.
    let declared: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let unique: BTreeSet<_> = declared.iter().collect();
    assert_eq!(unique.len(), declared.len(), "{declared:?}");
    let all = series(&text);
    assert_eq!(
        all.len(),
        text.lines().filter(|line| !line.starts_with('#')).count()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_clients_choose_becomes_a_label() {
    let upstream = fixture(Era::Dual).await;
    let gateway = gateway(&only(&upstream.url(), "")).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let round = async |from: usize, to: usize| {
        for number in from..to {
            let name = format!("no_such_tool_{number}");
            modern_tool(&caller, &name, json!({})).await;
            legacy_tool(&session, &name, json!({})).await;
            modern(&caller, &format!("no/such/{number}"), json!({})).await;
            let uri = json!({ "uri": format!("test://nothing/{number}") });
            modern(&caller, "resources/read", uri).await;
            gateway.get(&format!("/nothing/{number}")).await.unwrap();
        }
    };
    round(0, 3).await;
    let before = series(&metrics(&gateway, None).await.1);
    round(3, 25).await;
    let after = series(&metrics(&gateway, None).await.1);
    let more: Vec<_> = after.difference(&before).collect();
    assert!(more.is_empty(), "{more:?}");
    assert!(after.len() < 300, "{}", after.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_json_lines_without_secrets() {
    let upstream = Scripted::start(
        json!([{ "name": "take", "inputSchema": { "type": "object" } }]),
        |_| None,
    )
    .await
    .unwrap();
    let server = stdio_server(
        "local",
        "dual",
        &marker("logs"),
        "], env: { TOKEN: hunter2-env }",
    );
    let yaml = format!(
        "log: {{ level: trace }}\nsession: {{ keys: [{{ id: a, secret: hunter2-key-hunter2-key-hunter2-key }}] }}\nservers:\n  - name: s\n    url: \"{}?key=hunter2-url\"\n    headers: {{ X-Api-Key: hunter2-header }}\n  - {{ name: gone, url: \"http://127.0.0.1:9/mcp?key=hunter2-gone\" }}\n{server}",
        upstream.url()
    );
    let mut gateway = gateway(&yaml).await;
    let caller = gateway.caller();
    modern_tool(&caller, "s_take", json!({ "cpf": "hunter2-argument" })).await;
    modern_tool(
        &caller,
        "local_test_echo",
        json!({ "cpf": "hunter2-argument" }),
    )
    .await;
    modern_tool(&caller, "gone_x", json!({ "cpf": "hunter2-argument" })).await;
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    legacy_tool(&session, "s_take", json!({ "cpf": "hunter2-argument" })).await;
    gateway
        .client()
        .post(headers::post(), "{\"hunter2-body")
        .await
        .unwrap();
    let seen = upstream.seen("tools/call");
    assert_eq!(
        seen[0].header("x-api-key"),
        Some("hunter2-header"),
        "it is sent all the same"
    );
    gateway.signal(Signal::SIGTERM).unwrap();
    gateway.wait(SOON).await.unwrap();
    let output = gateway.output();
    assert!(
        !output.contains("hunter2"),
        "a secret in the log:\n{output}"
    );
    assert!(
        !output.contains(session.id().unwrap()),
        "a session id in the log"
    );
    assert!(output.lines().count() > 10, "{output}");
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for key in ["time", "level", "target"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
    }
    // What explains the configuration masks them too.
    let explained = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-ultra"))
        .args(["config", "explain", "--config"])
        .arg(gateway.file())
        .output()
        .unwrap();
    assert!(explained.status.success());
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("servers"), "{explained}");
    assert!(!explained.contains("hunter2"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_drops_no_call() {
    let (one, two) = (fixture(Era::Dual).await, fixture(Era::Dual).await);
    let yaml = |second: bool, level: &str| {
        let more = format!("  - {{ name: two, url: \"{}\" }}\n", two.url());
        format!(
            "log: {{ level: {level} }}\nservers:\n  - {{ name: one, url: \"{}\" }}\n{}",
            one.url(),
            if second { &more } else { "" }
        )
    };
    let mut gateway = gateway(&yaml(false, "info")).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calls = async {
        while !stop.load(Ordering::Relaxed) {
            let (new, old) = tokio::join!(
                modern_tool(&caller, "one_test_simple_text", json!({})),
                legacy_tool(&session, "one_test_simple_text", json!({})),
            );
            assert!(text(&new).starts_with("This is"));
            assert!(text(&old).starts_with("This is"));
            made.fetch_add(2, Ordering::Relaxed);
        }
    };
    let listed = async |other: bool| {
        until("the new list of servers", async || {
            let tools = names(&modern(&caller, "tools/list", json!({})).await, "tools");
            tools.iter().any(|name| name.starts_with("two_")) == other
        })
        .await;
    };
    let changes = async {
        for round in 0..3 {
            // By the change of the file, which is watched.
            gateway.reconfigure(&yaml(true, "info")).unwrap();
            listed(true).await;
            let reply = modern_tool(&caller, "two_test_simple_text", json!({})).await;
            assert!(text(&reply).starts_with("This is"), "{round}");
            gateway.reconfigure(&yaml(false, "info")).unwrap();
            listed(false).await;
        }
        // A bad one is refused and the old one stays.
        gateway
            .reconfigure("servers: [{ name: one, urll: x }]")
            .unwrap();
        gateway.logged(&["refused", "urll"], SOON).await.unwrap();
        listed(false).await;
        gateway.reconfigure("{{{").unwrap();
        gateway.signal(Signal::SIGHUP).unwrap();
        gateway.logged(&["SIGHUP", "refused"], SOON).await.unwrap();
        // The level of the log changes in flight.
        gateway.reconfigure(&yaml(true, "debug")).unwrap();
        gateway.signal(Signal::SIGHUP).unwrap();
        listed(true).await;
        // An answer that nobody waits for is worth a line of that level.
        let asked = json!({ "id": 4711 });
        session.respond(&asked, Some(json!({}))).await.unwrap();
        gateway
            .logged(&["\"DEBUG\"", "nobody waits for"], SOON)
            .await
            .unwrap();
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(calls, changes);
    assert!(made.load(Ordering::Relaxed) > 50, "{made:?} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_file_again() {
    let upstream = fixture(Era::Dual).await;
    let mut gateway = gateway(&only(&upstream.url(), "")).await;
    gateway.signal(Signal::SIGHUP).unwrap();
    gateway
        .logged(&["SIGHUP", "nothing differs"], SOON)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_gateway_is_not_ready_and_finishes_what_it_began() {
    let upstream = fixture(Era::Dual).await;
    let rest = "server: { shutdown: { drain_delay: 1s, drain_deadline: 10s } }";
    let mut gateway = gateway(&only(&upstream.url(), rest)).await;
    let caller = gateway.caller();
    let session = gateway.session("2025-11-25", json!({})).await.unwrap();
    let wait = json!({ "milliseconds": 2500 });
    let in_flight = async {
        let (new, old) = tokio::join!(
            modern_tool(&caller, "test_wait", wait.clone()),
            legacy_tool(&session, "test_wait", wait.clone()),
        );
        for reply in [new, old] {
            assert_eq!(text(&reply), "Waited 2500 ms");
        }
    };
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        gateway.signal(Signal::SIGTERM).unwrap();
        // Within the drain delay: not ready, alive, and still at work.
        until("readiness to end", async || {
            gateway.get("/readyz").await.unwrap().status == 503
        })
        .await;
        let ready = gateway.get("/readyz").await.unwrap().json().await.unwrap();
        assert_eq!(ready["status"], "draining");
        assert_eq!(gateway.get("/livez").await.unwrap().status, 200);
        let reply = modern_tool(&gateway.caller(), "test_simple_text", json!({})).await;
        assert!(text(&reply).starts_with("This is"));
        // After it nobody new is let in.
        until("the end of new connections", async || {
            gateway.get("/livez").await.is_err()
        })
        .await;
    };
    tokio::join!(in_flight, stopping);
    let status = gateway.wait(SOON).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_take_too_long_are_cut_off_at_the_deadline() {
    let upstream = fixture(Era::Dual).await;
    let rest = "server: { shutdown: { drain_delay: 0s, drain_deadline: 700ms } }";
    let mut gateway = gateway(&only(&upstream.url(), rest)).await;
    let caller = gateway.caller();
    let params = json!({ "name": "test_wait", "arguments": { "milliseconds": 60_000 } });
    let (call, status) = tokio::join!(caller.call("tools/call", params), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.signal(Signal::SIGTERM).unwrap();
        gateway.wait(SOON).await.unwrap()
    });
    assert!(call.is_err(), "answered: {call:?}");
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_outlives_the_gateway() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let marker = marker(signal.as_str());
        let server = stdio_server("local", "legacy", &marker, "]");
        let mut gateway = gateway(&format!("servers:\n{server}")).await;
        let session = gateway.session("2025-11-25", json!({})).await.unwrap();
        let reply = legacy_tool(&session, "local_test_simple_text", json!({})).await;
        assert!(text(&reply).starts_with("This is"));
        assert!(!children(&marker).is_empty(), "{signal}");
        gateway.signal(signal).unwrap();
        gateway.wait(SOON).await.unwrap();
        until("the end of the child processes", async || {
            children(&marker).is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_servers_is_an_empty_server() {
    let gateway = gateway("servers: []").await;
    let caller = gateway.caller();
    for (method, list) in [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
    ] {
        let reply = modern(&caller, method, json!({})).await;
        assert!(names(&reply, list).is_empty(), "{method}");
    }
    let reply = modern(&caller, "server/discover", json!({})).await;
    assert!(reply.result()["supportedVersions"].is_array());
    let health = gateway.get("/healthz").await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok");
}
