//! Tokens towards upstreams from a real authorization server (npm `oidc-provider`): one gateway is
//! the upstream of another. It believes tokens for itself alone, so a call that comes through shows
//! that the one in front has got one.

use std::{fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, header};
use mcp_ultra_testkit::{
    process::Process,
    raw::{Client, modern::Caller},
};
use serde_json::{Value, json};

use crate::{
    gateway_rig::{SOON, free_address, until},
    real_clients_installed::{Gateway, command, node, script},
};

/// How long the authorization server may take until it serves.
const READY: Duration = Duration::from_secs(30);

/// The authorization server and the resources that it issues tokens for.
struct Rig {
    authorization: Process,
    issuer: String,
    front: (u16, String),
    back: (u16, String),
}

/// A port that is free, and the URL of the gateway that will listen there.
fn place() -> (u16, String) {
    let port = free_address().port();
    (port, format!("http://127.0.0.1:{port}/mcp"))
}

impl Rig {
    async fn start() -> Self {
        let (front, back) = (place(), place());
        let mut server = command(&node()).into_std();
        server
            .arg(script("authorization-server.mjs"))
            .args([&front.1, &back.1]);
        let mut authorization = Process::start_command(server).unwrap();
        let issuer = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["issuer"].as_str().map(ToOwned::to_owned)
        };
        let issuer = authorization.line("the issuer", READY, issuer).await;
        Self {
            authorization,
            issuer: issuer.unwrap(),
            front,
            back,
        }
    }

    /// A gateway that believes tokens for itself.
    async fn gateway(&self, (port, resource): &(u16, String), servers: Value) -> Gateway {
        Gateway::configured(&json!({
            "server": { "host": "127.0.0.1", "port": port },
            "auth": {
                "resource": resource,
                "issuers": [{ "issuer": self.issuer }],
                "required_scopes": ["mcp:use"],
            },
            "servers": servers,
        }))
        .await
    }

    /// Both gateways; the one in front gets tokens for the other in this way.
    async fn both(&self, kind: &str) -> (Gateway, Gateway) {
        let demo = json!([{
            "name": "demo", "command": env!("CARGO_BIN_EXE_mcp-ultra"), "args": ["demo-server"],
        }]);
        let back = self.gateway(&self.back, demo).await;
        let server = json!([{
            "name": "back", "url": self.back.1, "prefix": "none", "credentials": {
                "kind": kind, "issuer": self.issuer, "client_id": "gateway",
                "client_secret": secret("gateway"), "scopes": ["mcp:use"],
            },
        }]);
        (self.gateway(&self.front, server).await, back)
    }

    /// The token of a program for the gateway in front.
    async fn token(&self, client: &str) -> String {
        let mut encoded = String::new();
        for byte in secret(client).bytes() {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        let basic = STANDARD.encode(format!("{client}:{encoded}"));
        let mut headers = HeaderMap::new();
        let authorization = format!("Basic {basic}").try_into().unwrap();
        headers.insert(header::AUTHORIZATION, authorization);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        let body = format!(
            "grant_type=client_credentials&scope=mcp:use&resource={}",
            self.front.1
        );
        let endpoint = Client::new(format!("{}/token", self.issuer));
        let answer = endpoint.request(Method::POST, headers, body.into()).await;
        let answer = answer.unwrap().json().await.unwrap();
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {answer}"))
            .to_owned()
    }
}

fn secret(client: &str) -> String {
    format!("the secret of {client}: with %, + and spaces")
}

/// Calls a tool of the server behind the second gateway, once it is listed in front.
async fn call(gateway: &Gateway, token: &str) -> Value {
    let mut caller = Caller::new(Client::new(gateway.url().to_owned()));
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    caller.extra_headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let params = json!({ "name": "demo_echo", "arguments": { "text": "hello" } });
    let mut answer = Value::Null;
    until("a call through both gateways", async || {
        let reply = caller.call("tools/call", params.clone()).await.unwrap();
        answer = reply.message;
        answer["result"]["content"].is_array()
    })
    .await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_authorization_server_issues_the_gateways_own_token() {
    let rig = Rig::start().await;
    let (front, _back) = rig.both("client_credentials").await;
    let token = rig.token("agent").await;
    let answer = call(&front, &token).await;
    assert!(answer.to_string().contains("hello"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_authorization_server_exchanges_the_token_of_a_caller() {
    let mut rig = Rig::start().await;
    let (front, _back) = rig.both("token_exchange").await;
    let token = rig.token("agent").await;
    let answer = call(&front, &token).await;
    assert!(answer.to_string().contains("hello"), "{answer}");
    let exchanged = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("exchanged").cloned()
    };
    let line = rig.authorization.line("an exchange", SOON, exchanged).await;
    let resource = &rig.back.1;
    assert_eq!(
        line.unwrap(),
        json!({ "client": "gateway", "subject": "agent", "audience": resource })
    );
}
