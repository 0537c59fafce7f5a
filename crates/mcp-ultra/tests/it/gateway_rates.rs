//! How much each address, tenant, principal, tool and server may use of the running gateway.

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::Era,
    gateway::Gateway,
    identity::hs256,
    raw::{Answer, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};

use super::cli_stdio::{Bridge, call, modern as bridge_modern};
use crate::gateway_rig::{SOON, fixture, gateway, modern_tool, only, refusal, text, until};

const SECRET: &str = "a secret for tests, of at least 32 bytes";
const RESOURCE: &str = "https://mcp.example.com/mcp";
/// `LIMIT_EXCEEDED`
const CODE: i64 = -32005;

/// A configuration with one upstream, callers by token, and `limits`.
pub(crate) fn configuration(url: &str, limits: &str) -> String {
    let rest = format!(
        "auth: {{ resource: \"{RESOURCE}\", jwt_secret: \"{SECRET}\", claims: {{ tenant: org }} }}\n{limits}"
    );
    only(url, &rest)
}

/// The `Authorization` of a principal.
pub(crate) fn token(tenant: &str, subject: &str, roles: &[&str]) -> HeaderMap {
    let claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": subject, "org": tenant, "roles": roles,
        "exp": SystemClock.now().as_secs() + 600,
    });
    let token = hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

pub(crate) fn caller(gateway: &Gateway, headers: HeaderMap) -> Caller {
    let mut caller = gateway.caller();
    caller.extra_headers = headers;
    caller
}

async fn send(caller: &Caller, tool: &str) -> Answer {
    let params = json!({ "name": tool, "arguments": {} });
    let request = caller.prepare("tools/call", params);
    caller.send(request).await.unwrap()
}

async fn status(caller: &Caller, tool: &str) -> u16 {
    let answer = send(caller, tool).await;
    let status = answer.status.as_u16();
    // Read, so that the call is over.
    drop(answer.text().await);
    status
}

const SIMPLE: &str = "test_simple_text";
const OTHER: &str = "test_image_content";

/// The limit that an answer names, once it is seen to be whole.
async fn limited(answer: Answer) -> String {
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let policy = answer.header("ratelimit-policy").unwrap().to_owned();
    let state = answer.header("ratelimit").unwrap().to_owned();
    let status = answer.status.as_u16();
    let message = answer.json().await.unwrap();
    assert_eq!((status, &message["error"]["code"]), (429, &json!(CODE)));
    assert!(message["id"].is_number(), "{message}");
    let data = &message["error"]["data"];
    assert_eq!(data["retryAfter"], json!(after), "{message}");
    let limit = data["limit"].as_str().unwrap().to_owned();
    let said = message["error"]["message"].as_str().unwrap();
    assert!(said.contains(&limit), "{said}");
    let mut words = limit.split('.').skip(1);
    let (bound, of) = (words.next().unwrap(), words.next().unwrap());
    let name = format!("\"{of}-{bound}\";");
    assert!(policy.starts_with(&name), "{policy}");
    assert!(
        state.starts_with(&name) && state.contains(";r=0"),
        "{state}"
    );
    limit
}

async fn sample(gateway: &Gateway, name: &str) -> u64 {
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .trim()
        .parse()
        .unwrap()
}

async fn refused(gateway: &Gateway, limit: &str, of: &str) -> u64 {
    let name = format!("mcp_limited_total{{limit=\"{limit}\",of=\"{of}\"}} ");
    sample(gateway, &name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_bridge_is_told_and_goes_on() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits: { rates: { tool: 2/h } }";
    let gateway = gateway(&only(&upstream.url(), limits)).await;
    for (legacy, tool) in [(true, SIMPLE), (false, OTHER)] {
        let mut bridge = Bridge::start(&gateway.url("/mcp"));
        if legacy {
            bridge.handshake().await;
        }
        let request = |id: u64, name: &str| {
            let params = call(name, &json!({}));
            if legacy {
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
            } else {
                bridge_modern(id, "tools/call", params)
            }
        };
        for id in [1, 2] {
            let answer = bridge.ask(&request(id, tool)).await;
            assert!(answer["result"].is_object(), "{answer}");
        }
        let answer = bridge.ask(&request(3, tool)).await;
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(3), &json!(CODE))
        );
        assert_eq!(answer["error"]["data"]["limit"], "limits.rates.tool");
        let after = answer["error"]["data"]["retryAfter"].as_u64().unwrap();
        assert!((1..=1800).contains(&after), "{after}");
        // Another tool has a rate of its own.
        let answer = bridge.ask(&request(4, "test_audio_content")).await;
        assert!(answer["result"].is_object(), "{answer}");
        let (code, rest) = bridge.end().await;
        assert_eq!((code, rest.len()), (0, 0));
    }
    assert_eq!(refused(&gateway, "rates", "tool").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn principals_and_tenants_have_rates_of_their_own() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits:
  rates: { principal: 3/h, tenant: 5/h }
  overrides:
    - { match: { tenant: acme, role: batch }, rates: { principal: off } }
    - { match: { tenant: large }, rates: { tenant: off, principal: 8/h } }
";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let ana = caller(&gateway, token("acme", "ana", &[]));
    for _ in 0..3 {
        assert_eq!(status(&ana, SIMPLE).await, 200);
    }
    let answer = send(&ana, SIMPLE).await;
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&after), "{after}");
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"principal-rates\";q=3;w=3600")
    );
    assert_eq!(limited(answer).await, "limits.rates.principal");
    // What she is refused does not count for her tenant: two are left of five.
    for _ in 0..10 {
        assert_eq!(status(&ana, SIMPLE).await, 429);
    }
    let bea = caller(&gateway, token("acme", "bea", &["batch"]));
    assert_eq!(status(&bea, SIMPLE).await, 200);
    assert_eq!(status(&bea, SIMPLE).await, 200);
    for _ in 0..2 {
        assert_eq!(
            limited(send(&bea, SIMPLE).await).await,
            "limits.rates.tenant"
        );
    }
    // The same name in another tenant is someone else.
    let other = caller(&gateway, token("other", "ana", &[]));
    assert_eq!(status(&other, SIMPLE).await, 200);
    let large = caller(&gateway, token("large", "ana", &[]));
    for _ in 0..8 {
        assert_eq!(status(&large, SIMPLE).await, 200);
    }
    let answer = send(&large, SIMPLE).await;
    assert_eq!(limited(answer).await, "limits.rates.principal");
    assert_eq!(refused(&gateway, "rates", "principal").await, 12);
    assert_eq!(refused(&gateway, "rates", "tenant").await, 2);
    let metrics = gateway.get("/metrics").await.unwrap().text().await.unwrap();
    for key in ["ana", "bea", "acme", SIMPLE] {
        assert!(!metrics.contains(key), "{key} is a label");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn legacy_clients_are_told_in_their_own_way() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits: { rates: { principal: 3/h } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let headers = token("acme", "ana", &[]);
    let session = Session::open(gateway.client(), "2025-03-26", json!({}), headers)
        .await
        .unwrap();
    // `initialize` was the first of three. In a batch every request is answered by itself.
    let list = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" });
    let batch = json!([list(1), list(2), list(3), list(4)]).to_string();
    let mut headers = session.headers();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = gateway.client().post(headers, batch).await.unwrap();
    assert_eq!(answer.status, 200);
    let answers = answer.json().await.unwrap();
    let answers = answers.as_array().unwrap();
    let of = |wanted: fn(&Value) -> bool| answers.iter().filter(|one| wanted(one)).count();
    assert_eq!(of(|one| one["result"].is_object()), 2, "{answers:?}");
    assert_eq!(of(|one| one["error"]["code"] == CODE), 2, "{answers:?}");
    let single = session.call("tools/list", json!({})).await.unwrap();
    assert_eq!(
        (single.status.as_u16(), single.error_code()),
        (429, Some(CODE))
    );
    // A notification is no request, and is not counted.
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
    let answer = gateway.client().post(session.headers(), told).await;
    assert_eq!(answer.unwrap().status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_servers_and_quotas_are_counted_for_each_tenant() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits:
  rates: { server: 6/h }
  quotas: { principal: 5, tenant: 100 }
  overrides:
    - { match: { tool: \"*simple*\", server: fix }, rates: { tool: 2/h } }
    - { match: { tenant: other }, quotas: { tool: 1 }, rates: { tool: off } }
";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let (ana, carl) = (
        caller(&gateway, token("acme", "ana", &[])),
        caller(&gateway, token("other", "carl", &[])),
    );
    assert_eq!(status(&ana, SIMPLE).await, 200);
    assert_eq!(status(&ana, SIMPLE).await, 200);
    for _ in 0..3 {
        assert_eq!(limited(send(&ana, SIMPLE).await).await, "limits.rates.tool");
    }
    // What was refused counts neither for the server nor for the quota.
    for _ in 0..3 {
        assert_eq!(status(&ana, OTHER).await, 200);
    }
    let used_up = send(&ana, OTHER).await;
    assert_eq!(
        used_up.header("ratelimit-policy"),
        Some("\"principal-quotas\";q=5;w=86400")
    );
    assert_eq!(limited(used_up).await, "limits.quotas.principal");
    // The server's six have been asked for.
    let bea = caller(&gateway, token("acme", "bea", &[]));
    assert_eq!(
        limited(send(&bea, OTHER).await).await,
        "limits.rates.server"
    );
    // Lists are the gateway's own, and are of no quota.
    let list = ana.call("tools/list", json!({})).await.unwrap();
    assert_eq!(list.status, 200);
    // Another tenant has all of its own, and other limits.
    assert_eq!(status(&carl, SIMPLE).await, 200);
    assert_eq!(
        limited(send(&carl, SIMPLE).await).await,
        "limits.quotas.tool"
    );
    // Names that are not listed are counted as one, whatever they are.
    assert_eq!(status(&carl, "made_up_1").await, 200);
    let made_up = send(&carl, "made_up_2").await;
    assert_eq!(limited(made_up).await, "limits.quotas.tool");
    for (limit, of, count) in [
        ("rates", "tool", 3),
        ("rates", "server", 1),
        ("quotas", "principal", 1),
        ("quotas", "tool", 2),
        ("quotas", "tenant", 0),
    ] {
        assert_eq!(refused(&gateway, limit, of).await, count, "{limit} {of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_bounded() {
    let upstream = fixture(Era::Dual).await;
    let limits = "limits: { concurrency: { principal: 1, tenant: 2, server: 1 } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let ana = caller(&gateway, token("acme", "ana", &[]));
    let waiting = {
        let ana = caller(&gateway, token("acme", "ana", &[]));
        let params = json!({ "name": "test_wait", "arguments": { "milliseconds": 2500 } });
        tokio::spawn(async move { ana.call("tools/call", params).await.unwrap() })
    };
    let keys = "mcp_limit_keys{limit=\"concurrency\"} ";
    until("the call is with the server", async || {
        sample(&gateway, keys).await == 3
    })
    .await;
    let second = send(&ana, SIMPLE).await;
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(limited(second).await, "limits.concurrency.principal");
    let bea = caller(&gateway, token("acme", "bea", &[]));
    assert_eq!(
        limited(send(&bea, SIMPLE).await).await,
        "limits.concurrency.server"
    );
    let carl = caller(&gateway, token("other", "carl", &[]));
    assert_eq!(status(&carl, SIMPLE).await, 200);
    // An open stream is no request in flight.
    let mut stream = bea
        .listen(json!({ "toolsListChanged": true }))
        .await
        .unwrap();
    assert!(stream.next_within(SOON).await.unwrap().is_some());
    until("the stream's place is given back", async || {
        bea.call("tools/list", json!({})).await.unwrap().status == 200
    })
    .await;
    assert_eq!(text(&waiting.await.unwrap()), "Waited 2500 ms");
    let reply = modern_tool(&ana, SIMPLE, json!({})).await;
    assert!(text(&reply).starts_with("This is"));
    until("all places are given back", async || {
        sample(&gateway, keys).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_scarce_places_a_tenant_gets_its_share() {
    let upstream = fixture(Era::Dual).await;
    // That of a principal is there to see who is in.
    let limits = "limits: { calls: 2, concurrency: { principal: 9 } }";
    let gateway = gateway(&configuration(&upstream.url(), limits)).await;
    let wait = |subject: &str, milliseconds: u64| {
        let caller = caller(&gateway, token("greedy", subject, &[]));
        let params = json!({ "name": "test_wait", "arguments": { "milliseconds": milliseconds } });
        tokio::spawn(async move { caller.call("tools/call", params).await.unwrap() })
    };
    let in_flight = async |count: u64| {
        let keys = "mcp_limit_keys{limit=\"concurrency\"} ";
        until("the call has its place", async || {
            sample(&gateway, keys).await == count
        })
        .await;
    };
    let first = wait("ana", 5_000);
    in_flight(1).await;
    let second = wait("bea", 30_000);
    in_flight(2).await;
    // All are taken by one tenant. Another has wanted one, and gets the first that is free,
    // however often the one that has its share asks before.
    let (greedy, quiet) = (
        caller(&gateway, token("greedy", "carl", &[])),
        caller(&gateway, token("quiet", "ana", &[])),
    );
    assert_eq!(status(&quiet, SIMPLE).await, 503);
    until("the other tenant has a place", async || {
        let message = send(&greedy, SIMPLE).await.json().await.unwrap();
        let said = message["error"]["message"].as_str().unwrap();
        assert!(said.contains("limits.calls"), "{said}");
        status(&quiet, SIMPLE).await == 200
    })
    .await;
    assert_eq!(text(&first.await.unwrap()), "Waited 5000 ms");
    second.abort();
}

/// A call as a proxy passes it on.
async fn through(gateway: &Gateway, forwarded: &str) -> Answer {
    let value = HeaderValue::try_from(forwarded).unwrap();
    let name = http::HeaderName::from_static("x-forwarded-for");
    let caller = caller(gateway, HeaderMap::from_iter([(name, value)]));
    send(&caller, SIMPLE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_guarded_before_anyone_is_identified() {
    let upstream = fixture(Era::Dual).await;
    let yaml = |proxies: &str, rate: &str| {
        let rest = format!(
            "server: {{ trusted_proxies: [{proxies}] }}\nlimits: {{ rates: {{ address: {rate} }} }}"
        );
        configuration(&upstream.url(), &rest)
    };
    let mut gateway = gateway(&yaml("127.0.0.1, 10.0.0.0/8", "2/h")).await;
    let first = "198.51.100.1";
    // Nobody is identified, which comes after.
    for _ in 0..2 {
        assert_eq!(through(&gateway, first).await.status, 401);
    }
    let answer = through(&gateway, first).await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"address-rates\";q=2;w=3600")
    );
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&after), "{after}");
    assert_eq!(refusal(answer).await, (429, CODE));
    // What a client writes itself is not believed, and a /64 is one client.
    for forwarded in ["192.0.2.1, 198.51.100.1", "198.51.100.1, 10.1.2.3"] {
        assert_eq!(
            through(&gateway, forwarded).await.status,
            429,
            "{forwarded}"
        );
    }
    assert_eq!(through(&gateway, "2001:db8::1").await.status, 401);
    assert_eq!(through(&gateway, "[2001:db8::2]:4711").await.status, 401);
    assert_eq!(through(&gateway, "2001:db8::3").await.status, 429);
    assert_eq!(through(&gateway, "2001:db8:0:1::3").await.status, 401);
    assert_eq!(refused(&gateway, "rates", "address").await, 4);
    // Health and metrics are for those who watch over it.
    for path in ["/livez", "/readyz"] {
        assert_eq!(gateway.get(path).await.unwrap().status, 200);
    }
    // Without trust the connection's address counts, whatever the header says.
    gateway.reconfigure(&yaml("", "2/h")).unwrap();
    gateway
        .logged(&["in force", "trusted_proxies"], SOON)
        .await
        .unwrap();
    for address in ["198.51.100.7", "198.51.100.8"] {
        assert_eq!(through(&gateway, address).await.status, 401);
    }
    assert_eq!(through(&gateway, "198.51.100.9").await.status, 429);
    let hint = gateway.logged(&["X-Forwarded-For", "server.trusted_proxies"], SOON);
    hint.await.unwrap();
    // Without a configured rate, this machine is not counted at all.
    let rest = configuration(&upstream.url(), "");
    gateway.reconfigure(&rest).unwrap();
    gateway
        .logged(&["in force", "limits.rates.address"], SOON)
        .await
        .unwrap();
    for _ in 0..5 {
        assert_eq!(through(&gateway, first).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_limits_count_what_was_counted_before() {
    let upstream = fixture(Era::Dual).await;
    let yaml = |limits: &str| configuration(&upstream.url(), &format!("limits: {{ {limits} }}"));
    let mut gateway = gateway(&yaml("quotas: { principal: 2 }")).await;
    let ana = caller(&gateway, token("acme", "ana", &[]));
    assert_eq!(status(&ana, SIMPLE).await, 200);
    assert_eq!(status(&ana, SIMPLE).await, 200);
    assert_eq!(status(&ana, SIMPLE).await, 429);
    let in_force = ["in force", "limits.quotas.principal"];
    gateway
        .reconfigure(&yaml("quotas: { principal: 3 }"))
        .unwrap();
    gateway.logged(&in_force, SOON).await.unwrap();
    assert_eq!(status(&ana, SIMPLE).await, 200);
    assert_eq!(status(&ana, SIMPLE).await, 429);
    gateway
        .reconfigure(&yaml("quotas: { principal: off }"))
        .unwrap();
    until("the quota is off", async || {
        status(&ana, SIMPLE).await == 200
    })
    .await;
    // One that can't be is refused, and nothing changes.
    gateway
        .reconfigure(&yaml("rates: { principal: often }"))
        .unwrap();
    gateway.logged(&["refused", "often"], SOON).await.unwrap();
    assert_eq!(status(&ana, SIMPLE).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_addresses_takes_bounded_room() {
    let upstream = fixture(Era::Dual).await;
    let rest = "server: { trusted_proxies: [127.0.0.1] }\nlimits: { tracked: 32, rates: { address: 5/h, principal: 1000/s } }";
    let gateway = gateway(&configuration(&upstream.url(), rest)).await;
    let ana = caller(&gateway, token("acme", "ana", &[]));
    assert_eq!(status(&ana, SIMPLE).await, 200);
    for number in 0..300 {
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        assert_eq!(through(&gateway, &address).await.status, 401);
    }
    let kept = sample(&gateway, "mcp_limit_keys{limit=\"rates\"} ").await;
    assert!((1..=33).contains(&kept), "{kept}");
    assert_eq!(status(&ana, SIMPLE).await, 200);
}
