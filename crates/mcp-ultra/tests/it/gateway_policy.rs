//! Policies, through the running gateway: three principals with tokens of an identity provider see
//! three different catalogs of the demo server, and nobody can tell what is hidden from what does
//! not exist.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{Events, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cli::run;
use crate::gateway_rig::{SOON, gateway, modern, modern_tool, names, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";

const POLICIES: &str = r#"
@id("support-reads")
permit(principal in Role::"support", action in [Action::"tools", Action::"resources"], resource in Server::"demo")
  when { resource is Tool && resource.readOnly && resource.dataClass != DataClass::"sensitive"
         || resource is Resource || resource is ResourceTemplate };

@id("clerk-writes")
permit(principal in Role::"clerk", action == Action::"tools/call", resource == Tool::"demo_update_address");

@id("clerk-prompts")
permit(principal in Role::"clerk", action in Action::"prompts", resource is Prompt);

@id("admin")
permit(principal in TenantRole::"acme/admin", action, resource);

@id("no-notes")
forbid(principal, action, resource in ResourceTemplate::"demo+notes://{customer_id}") unless { principal in Role::"admin" };
"#;

/// The entries of a page: few, so that lists have several.
const PAGE: usize = 2;

struct Rig {
    _provider: IdentityProvider,
    key: SigningKey,
    claims: Value,
    gateway: Gateway,
    folder: TempDir,
}

/// The demo server behind a gateway with these policies.
async fn rig(policies: &str, types: &str) -> Rig {
    let key = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.cedar"), policies).unwrap();
    fs::write(folder.path().join("t.cedarschema"), types).unwrap();
    let yaml = format!(
        "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\npolicy:\n  files: [\"{}\"]\ncatalog: {{ page_size: {PAGE} }}\nservers:\n  - name: demo\n    command: \"{}\"\n    args: [demo-server]\n    data_class: confidential\n    data_classes: [{{ names: [\"export_*\"], class: sensitive }}]\n",
        provider.issuer(),
        folder.path().display(),
        env!("CARGO_BIN_EXE_mcp-ultra"),
    );
    let gateway = gateway(&yaml).await;
    Rig {
        claims: provider.claims(RESOURCE, "", SystemClock.now().as_secs()),
        _provider: provider,
        key,
        gateway,
        folder,
    }
}

impl Rig {
    fn headers(&self, subject: &str, roles: &[&str]) -> HeaderMap {
        let mut claims = self.claims.clone();
        claims["sub"] = subject.into();
        claims["tenant"] = "acme".into();
        claims["roles"] = roles.into();
        let token = self.key.token(&claims).unwrap();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn caller(&self, subject: &str, roles: &[&str]) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = self.headers(subject, roles);
        caller
    }

    async fn session(&self, subject: &str, roles: &[&str]) -> Session {
        let (client, headers) = (self.gateway.client(), self.headers(subject, roles));
        Session::open(client, "2025-11-25", json!({}), headers)
            .await
            .unwrap()
    }

    fn policies(&self) -> PathBuf {
        self.folder.path().join("p.cedar")
    }

    async fn metric(&self, sample: &str) -> u64 {
        let metrics = self.gateway.get("/metrics").await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{sample} ")));
        line.unwrap_or_else(|| panic!("{sample}: {metrics}"))
            .parse()
            .unwrap()
    }
}

async fn list(caller: &Caller, list: &str) -> BTreeSet<String> {
    let method = match list {
        "resourceTemplates" => "resources/templates/list".to_owned(),
        list => format!("{list}/list"),
    };
    let key = match list {
        "resources" => "uri",
        "resourceTemplates" => "uriTemplate",
        _ => "name",
    };
    let mut found = BTreeSet::new();
    let mut params = json!({});
    loop {
        let reply = modern(caller, &method, params).await;
        assert_eq!(reply.result()["cacheScope"], "private");
        let items = reply.result()[list].as_array().unwrap();
        // Pages are full, whatever is left out between their entries.
        let next = reply.result().get("nextCursor").cloned();
        assert!(items.len() == PAGE || next.is_none(), "{}", reply.message);
        for item in items {
            assert!(found.insert(item[key].as_str().unwrap().to_owned()));
        }
        match next {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return found,
        }
    }
}

/// Status, media type, and the body of an answer after the id of its request.
async fn whole(caller: &Caller, method: &str, params: Value) -> (u16, Option<String>, String) {
    let answer = caller.send(caller.prepare(method, params)).await.unwrap();
    let media = answer.header("content-type").map(str::to_owned);
    let status = answer.status.as_u16();
    let body = answer.text().await.unwrap();
    let (_, body) = body.split_once(",\"error\"").unwrap_or(("", &body));
    (status, media, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_principals_see_three_catalogs() {
    let rig = rig(POLICIES, "").await;
    let support = rig.caller("ana", &["support"]);
    let clerk = rig.caller("bia", &["clerk"]);
    let admin = rig.caller("caio", &["admin"]);
    let nobody = rig.caller("davi", &[]);
    let all = list(&admin, "tools").await;
    assert!(
        all.len() >= 8 && all.contains("demo_export_customers"),
        "{all:?}"
    );
    let seen = list(&support, "tools").await;
    assert!(seen.contains("demo_get_customer") && seen.contains("demo_list_orders"));
    for hidden in [
        "demo_export_customers",
        "demo_update_address",
        "demo_add_note",
    ] {
        assert!(!seen.contains(hidden), "{seen:?}");
    }
    assert_eq!(
        list(&clerk, "tools").await,
        BTreeSet::from(["demo_update_address".to_owned()])
    );
    assert!(list(&nobody, "tools").await.is_empty());

    assert!(list(&support, "prompts").await.is_empty());
    assert!(!list(&clerk, "prompts").await.is_empty());
    assert!(list(&clerk, "resources").await.is_empty());
    let templates = list(&support, "resourceTemplates").await;
    assert!(templates.contains("demo+customer://{id}"), "{templates:?}");

    // Legacy clients see the same.
    let session = rig.session("bia", &["clerk"]).await;
    let reply = session.call("tools/list", json!({})).await.unwrap();
    assert_eq!(names(&reply, "tools"), ["demo_update_address"]);

    let reply = modern_tool(&support, "demo_get_order", json!({"id": "none"})).await;
    assert!(reply.message.get("result").is_some(), "{}", reply.message);
    assert!(
        rig.metric("mcp_policy_decisions_total{answer=\"permitted\"}")
            .await
            >= 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_answered_as_what_does_not_exist() {
    let rig = rig(POLICIES, "").await;
    let support = rig.caller("ana", &["support"]);
    let nobody = rig.caller("davi", &[]);
    // What the second member has in the first one's place does not exist.
    for (method, hidden, absent, params) in [
        (
            "tools/call",
            "demo_update_address",
            "demo_nothing_of_it_",
            json!({"name": "N", "arguments": {}}),
        ),
        (
            "tools/call",
            "demo_update_address",
            "some_nothing_of_it_",
            json!({"name": "N", "arguments": {"id": 5}}),
        ),
        (
            "tools/call",
            "demo_export_customers",
            "demo_export_everybody",
            json!({"name": "N"}),
        ),
        (
            "prompts/get",
            "demo_summarise_customer",
            "demo_summarise_nothing_",
            json!({"name": "N"}),
        ),
        (
            "resources/read",
            "demo+notes://12",
            "none+notes://12",
            json!({"uri": "N"}),
        ),
        (
            "completion/complete",
            "demo_summarise_customer",
            "demo_summarise_nothing_",
            json!({"ref": {"type": "ref/prompt", "name": "N"}, "argument": {"name": "x", "value": ""}}),
        ),
        (
            "completion/complete",
            "demo+notes://{customer_id}",
            "none+notes://{customer_id}",
            json!({"ref": {"type": "ref/resource", "uri": "N"}, "argument": {"name": "id", "value": ""}}),
        ),
    ] {
        let named = |name: &str| {
            let text = params.to_string().replace("\"N\"", &format!("\"{name}\""));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        for caller in [&support, &nobody] {
            let refused = whole(caller, method, named(hidden)).await;
            let unknown = whole(caller, method, named(absent)).await;
            assert_eq!(
                (refused.0, refused.1, refused.2.replace(hidden, absent)),
                unknown,
                "{method} {hidden}"
            );
            assert!(unknown.2.contains("\"code\""), "{}", unknown.2);
        }
    }
    // And so it is for a legacy session, subscriptions included.
    let session = rig.session("davi", &[]).await;
    for method in ["resources/read", "resources/subscribe"] {
        let of = async |uri: &str| {
            let reply = session.call(method, json!({"uri": uri})).await.unwrap();
            reply.message["error"].to_string().replace(uri, "")
        };
        assert_eq!(
            of("demo+orders://recent").await,
            of("none+orders://recent").await
        );
    }
    // A stream agrees to nothing that is hidden.
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["demo+notes://12"]});
    let mut events = support.listen(wanted).await.unwrap();
    let agreed = events.message().await.unwrap().unwrap();
    assert_eq!(
        agreed["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    // Nobody learns of a server that nothing may be done with.
    let discovered = modern(&nobody, "server/discover", json!({})).await;
    assert!(discovered.result().get("instructions").is_none());
    assert!(
        rig.metric("mcp_policy_decisions_total{answer=\"unmatched\"}")
            .await
            >= 1
    );
    assert!(
        rig.metric("mcp_policy_decisions_total{answer=\"forbidden\"}")
            .await
            >= 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_decide_where_a_policy_asks_for_them() {
    let policies = r#"
        permit(principal, action == Action::"tools/call", resource == Tool::"demo_get_customer")
          when { context.arguments has id && context.arguments.id like "c-*" };
        permit(principal, action == Action::"tools/call", resource == Tool::"demo_list_orders")
          when { context.network.address.isLoopback() && context.time.hour >= 0 };
        forbid(principal, action == Action::"tools/call", resource == Tool::"demo_echo")
          when { context.arguments has text && context.arguments.text like "*secret*" };
        permit(principal, action == Action::"tools/call", resource == Tool::"demo_echo");"#;
    let rig = rig(policies, "type Arguments = { id?: String, text?: String };").await;
    let caller = rig.caller("ana", &[]);
    let tools = list(&caller, "tools").await;
    let expected = ["demo_echo", "demo_get_customer", "demo_list_orders"];
    assert_eq!(tools, expected.map(ToOwned::to_owned).into());
    let call = async |name: &str, arguments: Value| {
        let reply = modern_tool(&caller, name, arguments).await;
        reply.message.get("result").is_some()
    };
    assert!(call("demo_get_customer", json!({"id": "c-1"})).await);
    assert!(!call("demo_get_customer", json!({"id": "x-1"})).await);
    assert!(!call("demo_get_customer", json!({})).await);
    assert!(call("demo_list_orders", json!({})).await);
    assert!(call("demo_echo", json!({"text": "hello"})).await);
    assert!(!call("demo_echo", json!({"text": "a secret"})).await);
    // Not of its declared type: the policy can't say, so the call is refused.
    assert!(!call("demo_echo", json!({"text": 7})).await);
    assert_eq!(rig.metric("mcp_policy_failures_total").await, 1);
    let output = rig.gateway.output();
    assert!(output.contains("a policy can't be evaluated"), "{output}");
    assert!(output.contains("p.cedar:6"), "{output}");
    assert!(!output.contains("secret"), "{output}");
}

async fn heard(events: &mut Events) -> String {
    let message = events.message().await.unwrap().unwrap();
    message["method"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_policies_are_in_force_at_once_and_those_whose_list_changed_hear_of_it() {
    let mut rig = rig(POLICIES, "").await;
    let support = rig.caller("ana", &["support"]);
    let clerk = rig.caller("bia", &["clerk"]);
    let wanted = json!({"toolsListChanged": true});
    let mut of_support = support.listen(wanted.clone()).await.unwrap();
    let mut of_clerk = clerk.listen(wanted).await.unwrap();
    let session = rig.session("bia", &["clerk"]).await;
    let mut pushed = session.stream(None).await.unwrap().events();
    for events in [&mut of_support, &mut of_clerk] {
        assert!(heard(events).await.ends_with("acknowledged"));
    }
    let more = POLICIES.replace("Tool::\"demo_update_address\"", "Tool::\"demo_add_note\"");
    fs::write(rig.policies(), &more).unwrap();
    assert_eq!(
        heard(&mut of_clerk).await,
        "notifications/tools/list_changed"
    );
    assert_eq!(heard(&mut pushed).await, "notifications/tools/list_changed");
    assert_eq!(
        list(&clerk, "tools").await,
        BTreeSet::from(["demo_add_note".to_owned()])
    );
    let reply = modern_tool(&clerk, "demo_update_address", json!({})).await;
    assert_eq!(reply.error_code(), Some(-32602));

    // A set with a fault is refused, with its place, and the old one stays.
    fs::write(
        rig.policies(),
        format!("{more}\npermit(principal,\n  action, resorce);"),
    )
    .unwrap();
    let place = format!("p.cedar:{}:11", more.matches('\n').count() + 3);
    let refused = ["the new policies are refused", &*place];
    rig.gateway.logged(&refused, SOON).await.unwrap();
    assert_eq!(list(&clerk, "tools").await.len(), 1);

    // What support sees has not changed so far; now it does, and is the first that is heard.
    fs::write(rig.policies(), "").unwrap();
    assert_eq!(
        heard(&mut of_support).await,
        "notifications/tools/list_changed"
    );
    until("an empty list", async || {
        list(&support, "tools").await.is_empty()
    })
    .await;
    let more = of_support.next_within(Duration::from_millis(200)).await;
    assert!(more.is_err() || more.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_set_and_production_without_one_do_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let policies = folder.path().join("p.cedar");
    fs::write(
        &policies,
        "permit(principal, action, resource);\npermit(princpal);",
    )
    .unwrap();
    fs::write(
        &file,
        format!("policy: {{ files: [\"{}\"] }}\n", policies.display()),
    )
    .unwrap();
    let config = file.to_string_lossy();
    let arguments = ["serve", "--port", "0", "--config", &config];
    let bad = run(&arguments).await;
    assert_eq!(bad.code, 2, "{} {}", bad.out, bad.err);
    assert!(bad.err.contains("p.cedar:2:8"), "{}", bad.err);
    fs::write(&file, "environment: production\n").unwrap();
    let none = run(&arguments).await;
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("needs a policy, which is missing"),
        "{}",
        none.err
    );
}
