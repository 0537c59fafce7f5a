//! Policies where the answer changes after a call has been made: tasks that go on, subscriptions
//! that are open, and lists that depend on the time.

use std::{collections::BTreeSet, fs, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    fixture::{Era, http::Running},
    gateway::Gateway,
    identity::hs256,
    raw::{Events, Reply, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway_rig::{SOON, fixture, gateway, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";
const SECRET: &str = "a secret of thirty-two bytes and more";
const WATCHED: &str = "fix+test://watched-resource";

struct Rig {
    gateway: Gateway,
    folder: TempDir,
    _upstream: Running,
}

async fn rig(era: Era, policies: &str) -> Rig {
    let upstream = fixture(era).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.cedar");
    fs::write(&file, policies).unwrap();
    let yaml = format!(
        "policy: {{ files: [\"{}\"] }}\nauth: {{ resource: \"{RESOURCE}\", jwt_secret: \"{SECRET}\" }}\nservers:\n  - {{ name: fix, url: \"{}\", extensions: [tasks] }}\n",
        file.display(),
        upstream.url()
    );
    Rig {
        gateway: gateway(&yaml).await,
        folder,
        _upstream: upstream,
    }
}

fn headers(subject: &str) -> HeaderMap {
    let claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": subject,
        "exp": SystemClock.now().as_secs() + 600,
    });
    let token = hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims);
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

impl Rig {
    fn caller(&self) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = headers("ana");
        caller.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
        caller
    }

    async fn session(&self) -> Session {
        let client = self.gateway.client();
        Session::open(client, "2025-11-25", json!({}), headers("ana"))
            .await
            .unwrap()
    }

    /// Other policies, from now on.
    async fn reload(&mut self, policies: &str, count: usize) {
        fs::write(self.folder.path().join("p.cedar"), policies).unwrap();
        let gateway = &self.gateway;
        until("the new policies", async || {
            gateway
                .output()
                .matches("the new configuration is in force")
                .count()
                >= count
        })
        .await;
    }
}

async fn call(caller: &Caller, method: &str, params: Value) -> Reply {
    caller.call(method, params).await.unwrap()
}

async fn tool(caller: &Caller, name: &str, arguments: Value) -> Reply {
    call(
        caller,
        "tools/call",
        json!({ "name": name, "arguments": arguments }),
    )
    .await
}

async fn started(caller: &Caller) -> String {
    let reply = tool(caller, "fix_slow_compute", json!({ "seconds": 20 })).await;
    let id = reply.result()["taskId"].as_str();
    id.unwrap_or_else(|| panic!("no task: {}", reply.message))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_on_a_task_is_permitted_by_itself_and_with_its_tool() {
    let call_all = r#"permit(principal, action == Action::"tools/call", resource);"#;
    let actions =
        |actions: &str| format!("{call_all}\npermit(principal, action in [{actions}], resource);");
    let mut rig = rig(Era::Modern, call_all).await;
    let caller = rig.caller();
    let id = started(&caller).await;
    let methods = ["tasks/get", "tasks/cancel"];
    let refused = async |method: &str| {
        let own = call(&caller, method, json!({ "taskId": id })).await;
        let none = call(&caller, method, json!({ "taskId": "AAAA" })).await;
        let told = |reply: &Reply| reply.message["error"].to_string();
        let answered = own.message.get("result").is_some();
        // What is forbidden is answered as what does not exist.
        assert!(
            answered || told(&own) == told(&none),
            "{method}: {}",
            own.message
        );
        !answered
    };
    for method in methods {
        assert!(
            refused(method).await,
            "{method} needs a permission of its own"
        );
    }
    rig.reload(&actions(r#"Action::"tasks/get""#), 1).await;
    assert!(!refused("tasks/get").await);
    assert!(refused("tasks/cancel").await);
    // Who may not call the tool any more does not get its result either.
    let of_tool = r#"permit(principal, action in Action::"tasks", resource);"#;
    rig.reload(of_tool, 2).await;
    for method in methods {
        assert!(refused(method).await, "{method} needs tools/call");
    }
    rig.reload(&actions(r#"Action::"tasks""#), 3).await;
    assert!(!refused("tasks/get").await && !refused("tasks/cancel").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_are_declared_to_those_who_see_their_server() {
    let policies = r#"permit(principal, action, resource) when { principal.subject == "ana" };"#;
    let rig = rig(Era::Modern, policies).await;
    let mut caller = rig.caller();
    let declared = async |caller: &Caller| {
        let reply = call(caller, "server/discover", json!({})).await;
        let extensions = reply.result()["capabilities"]["extensions"].clone();
        extensions.get("io.modelcontextprotocol/tasks").is_some()
    };
    assert!(declared(&caller).await);
    caller.extra_headers = headers("eve");
    assert!(!declared(&caller).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_spoken_of_only_while_anything_of_it_is_shown() {
    let end = SystemClock.now() + Duration::from_secs(6);
    let policies = format!(
        r#"permit(principal, action, resource) when {{ context.time.now < datetime("{}") }};"#,
        written(end)
    );
    let rig = rig(Era::Dual, &policies).await;
    let caller = rig.caller();
    let spoken_of = async || {
        let modern = call(&caller, "server/discover", json!({})).await;
        // Nobody keeps what may be otherwise any moment.
        assert_eq!(modern.result()["ttlMs"], 0, "{}", modern.message);
        let extensions = &modern.result()["capabilities"]["extensions"];
        let legacy = rig.session().await.initialized;
        [
            extensions.get("io.modelcontextprotocol/tasks").is_some(),
            modern.result().get("instructions").is_some(),
            legacy.get("instructions").is_some(),
        ]
    };
    assert_eq!(spoken_of().await, [true; 3]);
    until("the end of the permission", async || {
        SystemClock.now() > end + Duration::from_millis(50)
    })
    .await;
    assert_eq!(spoken_of().await, [false; 3]);
}

/// Whether an update comes on the stream.
pub(crate) async fn hears(events: &mut Events) -> bool {
    while let Some(event) = events
        .next_within(Duration::from_millis(700))
        .await
        .unwrap()
    {
        if event.data.contains("notifications/resources/updated") {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_after_it_was_subscribed_to_is_not_heard_of() {
    let all = "permit(principal, action, resource);";
    let forbidden = r#"permit(principal, action, resource);
        forbid(principal, action == Action::"resources/subscribe", resource == Resource::"fix+test://watched-resource");"#;
    let unreadable = r#"permit(principal, action in Action::"tools", resource);
        permit(principal, action == Action::"resources/subscribe", resource);"#;
    for era in [Era::Legacy, Era::Modern] {
        let mut rig = rig(era, all).await;
        let (caller, session) = (rig.caller(), rig.session().await);
        let mut pushed = session.stream(None).await.unwrap().events();
        let subscribed = session
            .call("resources/subscribe", json!({ "uri": WATCHED }))
            .await;
        assert!(subscribed.unwrap().message.get("result").is_some());
        let wanted = json!({ "resourceSubscriptions": [WATCHED] });
        let mut listened = caller.listen(wanted).await.unwrap();
        let agreed = tokio::time::timeout(SOON, listened.message())
            .await
            .unwrap();
        let agreed = agreed.unwrap().unwrap();
        assert_eq!(
            agreed["params"]["notifications"]["resourceSubscriptions"][0],
            WATCHED
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        let change = async || {
            let reply = tool(&caller, "fix_test_trigger_resource_update", json!({})).await;
            assert!(reply.message.get("result").is_some(), "{}", reply.message);
        };
        change().await;
        assert!(
            hears(&mut pushed).await && hears(&mut listened).await,
            "{era:?}"
        );
        // The subscriptions stay; what they would tell of does not go out.
        for (at, policies) in [forbidden, unreadable].into_iter().enumerate() {
            rig.reload(policies, 2 * at + 1).await;
            change().await;
            assert!(!hears(&mut pushed).await, "{era:?} {policies}");
            assert!(!hears(&mut listened).await, "{era:?} {policies}");
            rig.reload(all, 2 * at + 2).await;
            change().await;
            assert!(
                hears(&mut pushed).await && hears(&mut listened).await,
                "{era:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_a_uri_is_not_watched_either() {
    let policies = r#"permit(principal, action, resource);
        forbid(principal, action, resource == Resource::"fix+test://watched-resource");"#;
    for era in [Era::Legacy, Era::Modern] {
        let rig = rig(era, policies).await;
        let (caller, session) = (rig.caller(), rig.session().await);
        for (uri, allowed) in [
            (WATCHED, false),
            ("fix+TEST://Watched-resource", false),
            ("fix+test://%77atched-resource", false),
            ("fix+test://static-text", true),
        ] {
            let params = json!({ "uri": uri });
            let read = call(&caller, "resources/read", params.clone()).await;
            assert_eq!(read.message.get("result").is_some(), allowed, "{uri}");
            let subscribed = session.call("resources/subscribe", params).await.unwrap();
            let subscribed = subscribed.message.get("result").is_some();
            assert_eq!(subscribed, allowed, "{era:?} {uri}");
            let wanted = json!({ "resourceSubscriptions": [uri] });
            let mut listened = caller.listen(wanted).await.unwrap();
            let agreed = tokio::time::timeout(SOON, listened.message())
                .await
                .unwrap();
            let agreed = agreed.unwrap().unwrap();
            let agreed = &agreed["params"]["notifications"]["resourceSubscriptions"][0];
            assert_eq!(*agreed == uri, allowed, "{era:?} {uri}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_follows_the_time_without_a_reload() {
    let end = SystemClock.now() + Duration::from_secs(4);
    let at = jiff::Timestamp::from_second(i64::try_from(end.as_secs()).unwrap()).unwrap();
    let policies = format!(
        r#"permit(principal, action, resource == Tool::"fix_test_simple_text");
           permit(principal, action, resource == Tool::"fix_test_echo")
             when {{ context.time.now < datetime("{}") }};"#,
        at.strftime("%Y-%m-%dT%H:%M:%SZ")
    );
    let rig = rig(Era::Dual, &policies).await;
    let caller = rig.caller();
    let listed = async || {
        let reply = call(&caller, "tools/list", json!({})).await;
        let tools = reply.result()["tools"].as_array().unwrap();
        let names = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned());
        // What may be another list any moment is not kept by anybody.
        assert_eq!(reply.result()["ttlMs"], 0, "{}", reply.message);
        names.collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        listed().await,
        set(&["fix_test_echo", "fix_test_simple_text"])
    );
    let echo = async || tool(&caller, "fix_test_echo", json!({})).await;
    assert!(echo().await.message.get("result").is_some());
    until("the end of the permission", async || {
        SystemClock.now() > end + Duration::from_millis(50)
    })
    .await;
    assert_eq!(listed().await, set(&["fix_test_simple_text"]));
    assert_eq!(echo().await.error_code(), Some(-32602));
}

/// A moment as policies write it.
fn written(moment: Duration) -> String {
    let millis = i64::try_from(moment.as_millis()).unwrap();
    let at = jiff::Timestamp::from_millisecond(millis).unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Waits for word of a changed list of tools, and says when it came.
async fn told(events: &mut Events) -> Duration {
    loop {
        let event = events.next_within(Duration::from_secs(20)).await.unwrap();
        let event = event.expect("word of a changed list");
        if event.data.contains("notifications/tools/list_changed") {
            return SystemClock.now();
        }
    }
}

/// Whether nothing was told of lists so far.
async fn nothing_told(events: &mut Events) -> bool {
    let within = Duration::from_millis(200);
    while let Some(event) = events.next_within(within).await.unwrap() {
        if event.data.contains("list_changed") {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_told_of_lists_that_change_with_the_time_alone() {
    let from = SystemClock.now() + Duration::from_secs(8);
    let to = from + Duration::from_secs(4);
    let policies = format!(
        r#"permit(principal, action, resource == Tool::"fix_test_simple_text");
           permit(principal, action, resource == Tool::"fix_test_echo")
             when {{ principal.subject == "ana" && context.time.now >= datetime("{}") && context.time.now < datetime("{}") }};"#,
        written(from),
        written(to),
    );
    let rig = rig(Era::Dual, &policies).await;
    let caller = rig.caller();
    let mut other = rig.caller();
    other.extra_headers = headers("eve");
    let wanted = json!({ "toolsListChanged": true });
    let mut listened = caller.listen(wanted.clone()).await.unwrap();
    let mut others = other.listen(wanted).await.unwrap();
    let session = rig.session().await;
    let mut pushed = session.stream(None).await.unwrap().events();
    let echo = async || {
        let listed = call(&caller, "tools/list", json!({})).await;
        let called = tool(&caller, "fix_test_echo", json!({})).await;
        (
            listed.message.to_string().contains("\"fix_test_echo\""),
            called.message.get("result").is_some(),
        )
    };
    assert_eq!(echo().await, (false, false));
    assert!(SystemClock.now() < from, "the machine was too slow");
    for (boundary, may) in [(from, true), (to, false)] {
        let (modern, legacy) = (told(&mut listened).await, told(&mut pushed).await);
        for at in [modern, legacy] {
            let late = at.checked_sub(boundary).expect("told too early");
            assert!(late < Duration::from_secs(10), "told {late:?} too late");
        }
        // Where it took very long, the next boundary may be over too.
        if may && SystemClock.now() + Duration::from_secs(1) > to {
            continue;
        }
        assert_eq!(echo().await, (may, may));
    }
    // Once each, and those whose lists are the same not at all.
    assert!(nothing_told(&mut listened).await);
    assert!(nothing_told(&mut pushed).await);
    assert!(nothing_told(&mut others).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_told_when_its_login_becomes_too_old() {
    let policies = r#"
        permit(principal, action, resource == Tool::"fix_test_simple_text");
        permit(principal, action, resource == Tool::"fix_test_echo")
          when { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("10s") };"#;
    let rig = rig(Era::Dual, policies).await;
    let now = SystemClock.now().as_secs();
    let mut claims = json!({
        "iss": "mcp-ultra", "aud": RESOURCE, "sub": "ana", "exp": now + 600, "auth_time": now - 4,
    });
    let mut listen = async |age: u64| {
        claims["auth_time"] = json!(now - age);
        let token = hs256(SECRET.as_bytes(), &json!({ "alg": "HS256" }), &claims);
        let mut caller = rig.caller();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        caller.extra_headers.insert(header::AUTHORIZATION, value);
        let wanted = json!({ "toolsListChanged": true });
        caller.listen(wanted).await.unwrap()
    };
    let (mut recent, mut old) = (listen(2).await, listen(600).await);
    let end = Duration::from_secs(now + 8);
    assert!(SystemClock.now() < end, "the machine was too slow");
    assert!(told(&mut recent).await > end);
    assert!(nothing_told(&mut old).await);
}
