//! TLS towards clients: versions, handshakes, and certificates that end or are replaced.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use mcp_ultra_testkit::{
    raw::{Client, wire},
    tls::{Authority, Trust},
};
use tokio::io::AsyncWriteExt as _;

use super::{DAY, Mount, SECRET, in_future, list, rig, rig_of, status};
use crate::{
    cli::run,
    gateway_rig::{SOON, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_over_both_protocols() {
    let rig = rig("", "").await;
    assert!(rig.gateway.url("/mcp").starts_with("https://"));
    for (tls13, http2) in [(false, false), (false, true), (true, false), (true, true)] {
        let client = rig.client(None, tls13, http2);
        for _ in 0..3 {
            let answer = list(&client, HeaderMap::new()).await.unwrap();
            assert_eq!(answer.status, 200, "{tls13} {http2}");
            for (name, value) in [
                (
                    "strict-transport-security",
                    "max-age=31536000; includeSubDomains",
                ),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                (
                    "content-security-policy",
                    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ),
            ] {
                assert_eq!(answer.header(name), Some(value));
            }
            answer.json().await.unwrap();
        }
    }
    let ends = rig.metric("tls_certificate_not_after_seconds").await;
    assert!(ends > in_future(89 * DAY).as_secs() && ends < in_future(91 * DAY).as_secs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_and_plain_http_are_turned_away() {
    let rig = rig("    min_version: \"1.3\"\n    hsts: 0s\n", "").await;
    assert!(
        list(&rig.client(None, false, false), HeaderMap::new())
            .await
            .is_err()
    );
    let answer = list(&rig.usual(None), HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("strict-transport-security"), None);

    let plain = rig.gateway.url("/mcp").replace("https:", "http:");
    let told = wire::exchange(
        &plain,
        b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n",
        SOON,
    )
    .await
    .unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(told.ends_with("use https instead of http"), "{told}");
    let odd = wire::exchange(&plain, b"\x00\x01\x02", SOON).await;
    assert!(odd.is_err() || odd.unwrap().is_empty());
    let refused = |reason: &str| format!("http_connections_refused_total{{reason=\"{reason}\"}}");
    assert_eq!(rig.metric(&refused("plain_http")).await, 1);
    assert_eq!(rig.metric(&refused("tls_handshake")).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_below_may_be_left_out_of_hsts() {
    let rig = rig("    hsts: 1h\n    hsts_include_subdomains: false\n", "").await;
    let answer = list(&rig.usual(None), HeaderMap::new()).await.unwrap();
    let told = answer.header("strict-transport-security");
    assert_eq!(told, Some("max-age=3600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let authority = Authority::new("servers").unwrap();
    let mount = Mount::new(&authority.server(in_future(13 * DAY)).unwrap());
    let mut rig = rig_of(authority, mount, "", "").await;
    let warning = "the certificate of server.tls ends soon";
    let line = rig.gateway.logged(&[warning], SOON).await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "WARN");
    let left = line["left_s"].as_u64().unwrap();
    let most = (13 * DAY).as_secs();
    assert!((most - 60..=most).contains(&left), "{left}");

    // One that lasts is not warned of; one that ends is again, when it comes.
    for (days, warnings) in [(90, 1), (12, 2)] {
        let next = rig.authority.server(in_future(days * DAY)).unwrap();
        rig.mount.put(&next.certificate, &next.key);
        let ends = format!(
            "\"not_after_s\":{}",
            in_future(days * DAY).as_secs() / 10_000
        );
        let parts = ["the new certificate is in force", &*ends];
        rig.gateway.logged(&parts, SOON).await.unwrap();
        until("as many warnings", async || {
            rig.gateway.output().matches(warning).count() == warnings
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_have_a_time_and_a_number() {
    let limits = "limits: { handshake_timeout: 300ms, handshakes: 1 }\n";
    let rig = rig("", limits).await;
    let plain = rig.gateway.url("/mcp").replace("https:", "http:");
    // One says nothing, the other begins and stops there, and takes the only place with it.
    let mut silent = wire::connect(&plain).await.unwrap();
    let mut begun = wire::connect(&plain).await.unwrap();
    begun.write_all(&[22, 3, 1]).await.unwrap();
    until("the place is free again", async || {
        let answer = list(&rig.usual(None), HeaderMap::new()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    for stream in [&mut silent, &mut begun] {
        let read = wire::read_until_quiet(stream, SOON).await;
        assert!(read.is_err() || read.unwrap().is_empty());
    }
    let reason = "http_connections_refused_total{reason=\"tls_handshake_timeout\"}";
    assert!(rig.metric(reason).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_load_and_a_bad_one_refused() {
    let mut rig = rig("", "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let mut load = Vec::new();
    for number in 0..6 {
        let (stop, calls) = (stop.clone(), calls.clone());
        let kept = rig.client(None, true, number % 2 == 0);
        let trust = Trust::new(&rig.authority.pem(), None, number % 3 == 0, false).unwrap();
        let url = rig.gateway.url("/mcp");
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A connection that lasts, and a new one with every call.
                for client in [&kept, &Client::trusting(&url, &trust)] {
                    assert_eq!(status(client).await, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let more = async |than: usize| {
        until("calls go on", async || {
            calls.load(Ordering::Relaxed) > than + 30
        })
        .await;
    };
    more(0).await;
    let first = rig.metric("tls_certificate_not_after_seconds").await;
    for round in 1..=3_u32 {
        let next = rig
            .authority
            .server(in_future((100 + round) * DAY))
            .unwrap();
        rig.mount.put(&next.certificate, &next.key);
        until("the new certificate is in force", async || {
            rig.metric("tls_certificate_reloads_total{outcome=\"applied\"}")
                .await
                == u64::from(round)
        })
        .await;
        more(calls.load(Ordering::Relaxed)).await;
    }
    let good = rig.metric("tls_certificate_not_after_seconds").await;
    assert!(good > first);

    let bad = rig.authority.server(in_future(200 * DAY)).unwrap();
    let other = rig.authority.server(in_future(DAY)).unwrap();
    let ended = rig
        .authority
        .server(Duration::from_hours(24 * 20_000))
        .unwrap();
    for (certificate, key, said) in [
        (&bad.certificate, &other.key, "can't be used together"),
        (&"nonsense".to_owned(), &bad.key, "holds no certificate"),
        (&bad.certificate, &String::new(), "holds no private key"),
        (&ended.certificate, &ended.key, "has ended"),
    ] {
        rig.mount.put(certificate, key);
        let parts = ["is refused, the old one stays", said];
        let line = rig.gateway.logged(&parts, SOON);
        let line = line.await.unwrap();
        assert!(!line.contains("PRIVATE KEY"), "{line}");
    }
    more(calls.load(Ordering::Relaxed)).await;
    assert_eq!(rig.metric("tls_certificate_not_after_seconds").await, good);
    assert!(
        rig.metric("tls_certificate_reloads_total{outcome=\"refused\"}")
            .await
            >= 4
    );
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_needs_tls_or_someone_who_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let base = "environment: production\nauth: { resource: \"https://a.example/mcp\", jwt_secret: a-secret-of-at-least-thirty-two-bytes }\n";
    fs::write(&file, base).unwrap();
    let name = file.display().to_string();
    let refused = run(&["serve", "--port", "0", "--config", &name]).await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(
        refused.err.contains("needs TLS, which is missing"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains(SECRET));
    fs::write(
        &file,
        format!("{base}server: {{ tls_terminated_by: mesh }}\n"),
    )
    .unwrap();
    let said = run(&["config", "validate", "--config", &name]).await;
    assert!(!said.err.contains("TLS"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_named_at_start_without_what_is_in_them() {
    let authority = Authority::new("servers").unwrap();
    let (one, two) = (
        authority.server(in_future(DAY)).unwrap(),
        authority.server(in_future(DAY)).unwrap(),
    );
    let mut mount = Mount::new(&one);
    mount.put(&one.certificate, &two.key);
    let folder = mount.path().display().to_string();
    let set = |key: &str, name: &str| format!("server.tls.{key}={folder}/{name}");
    let (certificate, key) = (set("certificate", "tls.crt"), set("key", "tls.key"));
    let run = run(&["serve", "--port", "0", "--set", &certificate, "--set", &key]).await;
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("can't be used"), "{}", run.err);
    assert!(!run.err.contains("BEGIN") && !run.out.contains("BEGIN"));
}
