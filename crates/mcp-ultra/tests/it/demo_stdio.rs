//! A conversation with `mcp-ultra demo-server` over stdio.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use mcp_ultra_testkit::{process::Process, schema::Revision};
use serde_json::{Value, json};

use crate::demo_judge::judge;

/// How long an answer may take that has nothing to wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The server and one client of it.
pub(crate) struct Stdio {
    pub(crate) process: Process,
    /// What it speaks, and by which schema it is judged.
    pub(crate) revision: Revision,
    /// What modern requests declare.
    pub(crate) capabilities: Value,
    read: usize,
    next_id: u64,
    methods: HashMap<u64, String>,
    /// What came and was not asked for yet.
    early: Vec<Value>,
}

impl Stdio {
    /// A modern client.
    pub(crate) fn modern() -> Self {
        let process = Process::start(env!("CARGO_BIN_EXE_mcp-ultra"), ["demo-server"], &[]);
        Self {
            process: process.unwrap(),
            revision: Revision::V2026_07_28,
            capabilities: json!({"elicitation": {}}),
            read: 0,
            next_id: 1,
            methods: HashMap::new(),
            early: Vec::new(),
        }
    }

    /// A legacy client that has been through the handshake.
    pub(crate) async fn legacy(revision: Revision, capabilities: Value) -> Self {
        let mut client = Self::modern();
        client.revision = revision;
        let params = json!({
            "protocolVersion": revision.as_str(),
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        });
        let initialized = client.call("initialize", params).await;
        assert_eq!(initialized["result"]["protocolVersion"], revision.as_str());
        client.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    /// Writes a message as it is.
    pub(crate) fn write(&mut self, message: &Value) {
        self.process
            .write(format!("{message}\n").as_bytes())
            .unwrap();
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, method: &str, mut params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.methods.insert(id, method.to_owned());
        if self.revision == Revision::V2026_07_28 {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                self.capabilities.clone();
        }
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// The next message, checked against the schema; `None` where nothing comes within `limit`.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Value> {
        let begun = Instant::now();
        loop {
            let out = self.process.stdout();
            let rest = &out[self.read..];
            if let Some(end) = rest.find('\n') {
                self.read += end + 1;
                let message: Value = serde_json::from_str(&rest[..end]).unwrap();
                let method = message["id"].as_u64().and_then(|id| self.methods.get(&id));
                // Before 2025-11-25 no schema allows the answer to what could not be read, which
                // has no id. A batch is looked at by its test.
                let has_id = message.get("id").is_some() || message.get("method").is_some();
                if has_id {
                    judge(self.revision, method.map_or("", String::as_str), &message);
                }
                return Some(message);
            }
            if begun.elapsed() > limit {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The next message that `wanted` is true of; others are kept for later.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&wanted) {
            return self.early.remove(at);
        }
        loop {
            let message = self.next_within(PATIENCE).await;
            let message = message.unwrap_or_else(|| panic!("nothing came: {:?}", self.early));
            if wanted(&message) {
                return message;
            }
            self.early.push(message);
        }
    }

    /// The response to `id`.
    pub(crate) async fn response(&mut self, id: u64) -> Value {
        self.wait(|message| message.get("method").is_none() && message["id"] == id)
            .await
    }

    /// Makes a request and waits for the response.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.response(id).await
    }

    /// Calls a tool.
    pub(crate) async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        self.call("tools/call", json!({"name": name, "arguments": arguments}))
            .await
    }

    /// The messages with `method` that have come so far and were not waited for.
    pub(crate) fn early(&self, method: &str) -> Vec<Value> {
        self.early
            .iter()
            .filter(|message| message["method"] == method)
            .cloned()
            .collect()
    }

    /// Ends stdin and expects the server to end by itself, soon and in order.
    pub(crate) async fn end(mut self) {
        self.process.close_stdin();
        let status = self.process.wait(Duration::from_secs(5)).await.unwrap();
        assert!(status.success(), "{status}");
        // A panic in a task would stand here.
        assert_eq!(self.process.stderr(), "");
    }
}

/// A new address for `cus-0003`.
pub(crate) fn address() -> Value {
    json!({
        "customer_id": "cus-0003",
        "street": "Rua da Mudança",
        "number": "100",
        "district": "Centro",
        "city": "Ouro Preto",
        "state": "MG",
        "cep": "35400-000",
    })
}

/// A call of every tool that needs nobody's help.
pub(crate) fn calls() -> Vec<(&'static str, Value)> {
    vec![
        ("find_customer", json!({"query": "conceicao"})),
        ("get_customer", json!({"customer_id": "cus-0001"})),
        ("list_orders", json!({"region": "sul", "limit": 3})),
        ("get_order", json!({"order_id": "ord-0001"})),
        (
            "add_note",
            json!({"customer_id": "cus-0001", "text": "Ligar amanhã às 9h."}),
        ),
        ("export_customers", json!({"seconds": 0})),
        ("echo", json!({"text": "olá"})),
    ]
}

/// Every other request that has an answer worth judging.
pub(crate) fn questions() -> Vec<(&'static str, Value)> {
    vec![
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "customer://cus-0007"})),
        ("resources/read", json!({"uri": "notes://cus-0007"})),
        ("resources/read", json!({"uri": "orders://recent"})),
        ("resources/read", json!({"uri": "policy://returns/pt-BR"})),
        ("resources/read", json!({"uri": "brand://logo.png"})),
        (
            "prompts/get",
            json!({"name": "summarise_customer", "arguments": {"customer_id": "cus-0002"}}),
        ),
        (
            "prompts/get",
            json!({"name": "reply_to_complaint",
                "arguments": {"order_id": "ord-0004", "tone": "formal", "language": "en"}}),
        ),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/resource", "uri": "customer://{id}"},
                "argument": {"name": "id", "value": "cus-002"}}),
        ),
    ]
}
