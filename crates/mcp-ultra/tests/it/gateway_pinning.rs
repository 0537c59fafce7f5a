//! Pins of tools in the running gateway, before an upstream whose definitions change on demand.

mod changed;
mod many;
mod suspicious;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mcp_ultra_testkit::{
    gateway::Gateway,
    raw::modern::Caller,
    scripted::{Scene, Scripted},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway_rig::{gateway, modern, names, until};

/// An upstream whose tools a test changes. Those under the key `pages` come in pages; `COUNT` in
/// them is another number each time.
pub(crate) struct Changing {
    tools: Arc<Mutex<Value>>,
    server: Scripted,
}

impl Changing {
    pub(crate) async fn start(tools: Value) -> Self {
        let tools = Arc::new(Mutex::new(tools));
        let now = tools.clone();
        let count = AtomicUsize::new(0);
        let server = Scripted::start(Value::Null, move |seen| {
            (seen.rpc() == "tools/list").then(|| {
                let cursor = seen.message()["params"]["cursor"]
                    .as_str()
                    .unwrap_or("0")
                    .to_owned();
                let page = page(&now.lock().unwrap(), cursor.parse().unwrap());
                let count = count.fetch_add(1, Ordering::Relaxed).to_string();
                Scene::Result(page.replace("COUNT", &count))
            })
        });
        Self {
            tools,
            server: server.await.unwrap(),
        }
    }

    pub(crate) fn offer(&self, tools: Value) {
        *self.tools.lock().unwrap() = tools;
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// The tools that were called.
    fn called(&self) -> Vec<String> {
        let calls = self.server.seen("tools/call").into_iter();
        calls
            .map(|one| one.message()["params"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    fn readings(&self) -> usize {
        self.server.seen("tools/list").len()
    }
}

fn page(tools: &Value, at: usize) -> String {
    let mut result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"});
    match tools.get("pages").and_then(Value::as_array) {
        None => result["tools"] = tools.clone(),
        Some(pages) => {
            result["tools"] = pages[at].clone();
            if at + 1 < pages.len() {
                result["nextCursor"] = json!((at + 1).to_string());
            }
        }
    }
    result.to_string()
}

pub(crate) fn tool(name: &str, description: &str) -> Value {
    json!({"name": name, "description": description, "inputSchema": {"type": "object"}})
}

struct Rig {
    gateway: Gateway,
    upstream: Changing,
    folder: TempDir,
}

impl Rig {
    /// `pinning` and what else stands before the servers; FOLDER is a folder of the test.
    async fn new(section: &str, tools: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Changing::start(tools).await;
        let yaml = yaml(section, &folder, &upstream);
        Self {
            gateway: gateway(&yaml).await,
            upstream,
            folder,
        }
    }

    async fn enforced(tools: Value) -> Self {
        Self::new(ENFORCE, tools).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn listed(&self) -> Vec<String> {
        listed(&self.gateway.caller()).await
    }

    async fn lists(&self, expected: &[&str]) {
        until(&format!("{expected:?} are listed"), async || {
            self.listed().await == expected
        })
        .await;
    }

    /// Two more readings have begun since, so that one was whole.
    async fn read_again(&self) {
        let before = self.upstream.readings();
        until("it is read again", async || {
            self.upstream.readings() >= before + 2
        })
        .await;
    }

    async fn metric(&self, sample: &str) -> Option<u64> {
        let metrics = self
            .gateway
            .get("/metrics")
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let found = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{sample} ")));
        found.map(|number| number.parse().unwrap())
    }

    async fn standing(&self, standing: &str) -> Option<u64> {
        let sample = format!("mcp_pinning_tools{{upstream=\"crm\",standing=\"{standing}\"}}");
        self.metric(&sample).await
    }
}

const ENFORCE: &str = "storage: { sqlite: \"FOLDER/state.db\" }\npinning: { mode: enforce }";

fn yaml(section: &str, folder: &TempDir, upstream: &Changing) -> String {
    let section = section.replace("FOLDER", &folder.path().display().to_string());
    let url = upstream.url();
    format!(
        "{section}\ncatalog: {{ refresh: 1s }}\nservers:\n  - {{ name: crm, url: \"{url}\" }}\n"
    )
}

async fn listed(caller: &Caller) -> Vec<String> {
    names(&modern(caller, "tools/list", json!({})).await, "tools")
}
