//! Feature flags, through the running gateway: what is switched off is neither listed nor callable
//! for those it is switched off for, and nobody else notices.

use std::{fs, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use mcp_ultra_domain::{Clock as _, SystemClock};
use mcp_ultra_testkit::{
    gateway::Gateway,
    identity::{Discovery, IdentityProvider, SigningKey},
    raw::{Events, RawError, legacy::Session, modern::Caller},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway_rig::{SOON, gateway, modern, modern_tool, names, until};

const RESOURCE: &str = "https://mcp.example.com/mcp";

pub(crate) struct Rig {
    _provider: IdentityProvider,
    key: SigningKey,
    claims: Value,
    pub(crate) gateway: Gateway,
    folder: TempDir,
}

/// A definition with a rule, of variants `on` and `off`.
pub(crate) fn boolean(default: &str, rule: &Value) -> Value {
    json!({
        "state": "ENABLED", "variants": {"on": true, "off": false},
        "defaultVariant": default, "targeting": rule,
    })
}

pub(crate) fn off_for(tenant: &str) -> Value {
    boolean(
        "on",
        &json!({"if": [{"==": [{"var": "tenant"}, tenant]}, "off"]}),
    )
}

/// Two demo servers behind a gateway with these flags, and policies where there are some.
pub(crate) async fn rig(flags: &Value, policies: Option<&str>) -> Rig {
    let key = SigningKey::es256("k").unwrap();
    let provider = IdentityProvider::start(Discovery::OAuth, &[&key])
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    write(&folder, flags);
    let policy = match policies {
        None => String::new(),
        Some(policies) => {
            fs::write(folder.path().join("p.cedar"), policies).unwrap();
            format!("policy: {{ files: [\"{place}/p.cedar\"] }}\n")
        }
    };
    let binary = env!("CARGO_BIN_EXE_mcp-ultra");
    let yaml = format!(
        "auth:\n  resource: {RESOURCE}\n  issuers: [{{ issuer: \"{}\" }}]\n  claims: {{ tenant: tenant }}\n{policy}flags: {{ files: [\"{place}/flags.json\"] }}\nservers:\n  - {{ name: demo, command: \"{binary}\", args: [demo-server] }}\n  - {{ name: other, command: \"{binary}\", args: [demo-server] }}\n",
        provider.issuer(),
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

fn write(folder: &TempDir, flags: &Value) {
    let whole = json!({"metadata": {"owner": "ops", "expires": "2999-01-01"}, "flags": flags});
    fs::write(folder.path().join("flags.json"), whole.to_string()).unwrap();
}

impl Rig {
    pub(crate) fn flags(&self, flags: &Value) {
        write(&self.folder, flags);
    }

    pub(crate) fn text(&self, text: &str) {
        fs::write(self.folder.path().join("flags.json"), text).unwrap();
    }

    fn headers(&self, tenant: &str, roles: &[&str]) -> HeaderMap {
        let mut claims = self.claims.clone();
        claims["sub"] = "ana".into();
        claims["tenant"] = tenant.into();
        claims["roles"] = roles.into();
        let token = self.key.token(&claims).unwrap();
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    pub(crate) fn caller(&self, tenant: &str, roles: &[&str]) -> Caller {
        let mut caller = self.gateway.caller();
        caller.extra_headers = self.headers(tenant, roles);
        caller
    }

    async fn session(&self, tenant: &str) -> Result<Session, RawError> {
        let (client, headers) = (self.gateway.client(), self.headers(tenant, &[]));
        Session::open(client, "2025-11-25", json!({}), headers).await
    }

    async fn metrics(&self) -> String {
        let metrics = self.gateway.get("/metrics").await.unwrap();
        metrics.text().await.unwrap()
    }
}

pub(crate) async fn tools(caller: &Caller) -> Vec<String> {
    names(&modern(caller, "tools/list", json!({})).await, "tools")
}

async fn lists(caller: &Caller, tool: &str) -> bool {
    tools(caller).await.iter().any(|name| name == tool)
}

/// The code of the error that a call is answered with; `None` where it has a result.
pub(crate) async fn call(caller: &Caller, tool: &str) -> Option<i64> {
    let reply = modern_tool(caller, tool, json!({"text": "hello"})).await;
    reply.error_code()
}

async fn heard(events: &mut Events) -> String {
    let message = tokio::time::timeout(SOON, events.message()).await;
    let message = message.expect("a message in time").unwrap().unwrap();
    message["method"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_takes_a_tool_from_list_and_calls_together_and_from_nobody_else() {
    let rig = rig(&json!({}), None).await;
    let (acme, umbrella) = (rig.caller("acme", &[]), rig.caller("umbrella", &[]));
    let wanted = json!({"toolsListChanged": true});
    let mut of_acme = acme.listen(wanted.clone()).await.unwrap();
    let mut of_umbrella = umbrella.listen(wanted).await.unwrap();
    for events in [&mut of_acme, &mut of_umbrella] {
        assert!(heard(events).await.ends_with("acknowledged"));
    }
    assert!(lists(&acme, "demo_echo").await && call(&acme, "demo_echo").await.is_none());

    // Traffic of both, all the while. Where the list is the same before and after a call, the call
    // must have been answered by it.
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let traffic = |caller: Caller, may_be_off: bool| {
        let stop = stop.subscribe();
        tokio::spawn(async move {
            let (mut on, mut off) = (0, 0);
            let mut before = lists(&caller, "demo_echo").await;
            while !*stop.borrow() {
                let called = call(&caller, "demo_echo").await;
                let after = lists(&caller, "demo_echo").await;
                assert!(matches!(called, None | Some(-32602)), "{called:?}");
                if before == after {
                    assert_eq!(called.is_none(), after);
                }
                assert!(may_be_off || after);
                before = after;
                *(if after { &mut on } else { &mut off }) += 1;
            }
            (on, off)
        })
    };
    let of_both = [
        traffic(rig.caller("acme", &[]), true),
        traffic(rig.caller("umbrella", &[]), false),
    ];
    for _ in 0..2 {
        rig.flags(&json!({"tool.demo_echo.enabled": off_for("acme")}));
        assert_eq!(
            heard(&mut of_acme).await,
            "notifications/tools/list_changed"
        );
        assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
        assert!(!lists(&acme, "demo_echo").await && lists(&acme, "other_echo").await);
        assert!(call(&acme, "other_echo").await.is_none());
        rig.flags(&json!({"tool.demo_echo.enabled": off_for("initech")}));
        assert_eq!(
            heard(&mut of_acme).await,
            "notifications/tools/list_changed"
        );
        assert!(call(&acme, "demo_echo").await.is_none());
    }
    stop.send_replace(true);
    drop(stopped.changed().await);
    for (task, may_be_off) in of_both.into_iter().zip([true, false]) {
        let (on, off) = task.await.unwrap();
        assert!(on > 0 && (off > 0) == may_be_off, "{on} {off}");
    }
    // The first flags make lists differ from the whole catalog's in no way that umbrella sees.
    let more = of_umbrella.next_within(Duration::from_millis(200)).await;
    assert!(more.is_err() || more.unwrap().is_none());
    let metrics = rig.metrics().await;
    let counted = "mcp_switched_off_total{flag=\"tool.demo_echo.enabled\",reason=\"off\"}";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(
        metrics.contains("mcp_flags{state=\"enabled\"} 1"),
        "{metrics}"
    );
    let output = rig.gateway.output();
    assert!(
        output.contains("a flag switches its server or tool off"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_switched_off_is_as_if_it_were_not_there() {
    let flags = json!({"server.demo.enabled": boolean("off", &json!({"if": [{"in": ["ops", {"var": "roles"}]}, "on"]}))});
    let rig = rig(&flags, None).await;
    let (acme, ops) = (rig.caller("acme", &[]), rig.caller("acme", &["ops"]));
    until("the lists of both servers", async || {
        lists(&ops, "demo_echo").await
    })
    .await;
    let of_demo = tools(&acme).await;
    assert!(
        !of_demo.is_empty() && of_demo.iter().all(|name| name.starts_with("other_")),
        "{of_demo:?}"
    );
    // It can't be told from what does not exist.
    let code = |name: &'static str| {
        let acme = &acme;
        async move {
            let reply = modern_tool(acme, name, json!({})).await;
            reply.message["error"].to_string().replace(name, "")
        }
    };
    assert_eq!(code("demo_echo").await, code("none_echo").await);
    assert_eq!(code("demo_unlisted").await, code("none_unlisted").await);
    for (method, switched, absent) in [
        (
            "resources/read",
            json!({"uri": "demo+orders://recent"}),
            json!({"uri": "none+orders://recent"}),
        ),
        (
            "prompts/get",
            json!({"name": "demo_summarise_customer"}),
            json!({"name": "none_summarise_customer"}),
        ),
    ] {
        let of = async |params: Value| {
            let reply = modern(&acme, method, params).await;
            reply.message["error"].to_string().replace("demo", "none")
        };
        assert_eq!(of(switched).await, of(absent).await, "{method}");
    }
    for list in ["resources", "prompts"] {
        let shown = modern(&acme, &format!("{list}/list"), json!({})).await;
        assert!(
            !shown.result().to_string().contains("demo+"),
            "{}",
            shown.message
        );
    }
    let discovered = modern(&acme, "server/discover", json!({})).await;
    assert!(
        !discovered.result().to_string().contains("## demo"),
        "{}",
        discovered.message
    );
    assert!(call(&ops, "demo_echo").await.is_none());
    // A legacy session hears of it when it comes back.
    let session = rig.session("acme").await.unwrap();
    let mut pushed = session.stream(None).await.unwrap().events();
    rig.flags(&json!({"server.demo.enabled": boolean("on", &json!({}))}));
    assert_eq!(heard(&mut pushed).await, "notifications/tools/list_changed");
    assert!(call(&acme, "demo_echo").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_follows_the_time_is_told_of() {
    let at = SystemClock.now().as_secs() + 4;
    let rule = json!({"if": [{">=": [{"var": "$flagd.timestamp"}, at]}, "off"]});
    let rig = rig(
        &json!({"tool.demo_echo.enabled": boolean("on", &rule)}),
        None,
    )
    .await;
    let acme = rig.caller("acme", &[]);
    let mut events = acme
        .listen(json!({"toolsListChanged": true}))
        .await
        .unwrap();
    assert!(heard(&mut events).await.ends_with("acknowledged"));
    if SystemClock.now().as_secs() < at {
        let reply = modern(&acme, "tools/list", json!({})).await;
        assert_eq!(reply.result()["ttlMs"], 0);
    }
    assert_eq!(heard(&mut events).await, "notifications/tools/list_changed");
    assert!(!lists(&acme, "demo_echo").await);
    assert_eq!(call(&acme, "demo_echo").await, Some(-32602));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_the_legacy_era_can_be_retired_tenant_by_tenant() {
    let flags = json!({"gateway.legacy-sessions.enabled": off_for("acme")});
    let mut rig = rig(&flags, None).await;
    rig.session("umbrella").await.unwrap();
    let refused = rig.session("acme").await;
    assert!(refused.is_err());
    assert!(lists(&rig.caller("acme", &[]), "demo_echo").await);
    rig.flags(&json!({}));
    rig.gateway
        .logged(&["the new configuration is in force"], SOON)
        .await
        .unwrap();
    rig.session("acme").await.unwrap();
}
