//! Scenarios of 2026-07-28, stateless.

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::{
    CATALOG_LIMIT, CATALOG_POLL, DriverError, Setting, accept, no_tool, result, tool,
    unknown_scenario,
};
use crate::raw::{Client, modern::Caller};

pub(super) async fn play(setting: &Setting, client: Client) -> Result<(), DriverError> {
    let player = Player(Caller::new(client));
    match setting.scenario.as_str() {
        "tools_call" => {
            player
                .call("add_numbers", &json!({ "a": 5, "b": 3 }))
                .await?;
        }
        "request-metadata" => player.discover_and_list().await?,
        "json-schema-ref-no-deref" => {
            player.wait_for("tools/list", "tools").await?;
        }
        "json-schema-2020-12-preservation" => player.echo_schema().await?,
        "http-standard-headers" => player.use_everything().await?,
        "http-custom-headers" => player.make_calls(&setting.context["toolCalls"]).await?,
        "http-invalid-tool-headers" => player.only_valid_tool().await?,
        "sep-2322-client-request-state" => player.request_state().await?,
        _ => return Err(unknown_scenario(setting)),
    }
    Ok(())
}

struct Player(Caller);

impl Player {
    async fn request(&self, method: &str, params: Value) -> Result<Value, DriverError> {
        result(method, self.0.call(method, params).await)
    }

    /// Lists until there is something to see.
    async fn wait_for(&self, method: &str, field: &str) -> Result<Value, DriverError> {
        let begun = Instant::now();
        loop {
            let listed = self.request(method, json!({})).await?;
            if listed[field].as_array().is_some_and(|all| !all.is_empty()) {
                return Ok(listed);
            }
            if begun.elapsed() > CATALOG_LIMIT {
                return Err(DriverError::Unexpected(format!(
                    "{method} stays empty: {listed}"
                )));
            }
            sleep(CATALOG_POLL).await;
        }
    }

    /// Calls a tool of the list with its mirrored headers.
    async fn call(&self, name: &str, arguments: &Value) -> Result<Value, DriverError> {
        let listed = self.wait_for("tools/list", "tools").await?;
        let found = tool(&listed, name).ok_or_else(|| no_tool(name, &listed))?;
        let schema = Some(&found["inputSchema"]);
        result(
            name,
            self.0.call_tool(name, arguments.clone(), schema).await,
        )
    }

    /// The suite's server refuses the first request that it sees and has no tools.
    async fn discover_and_list(&self) -> Result<(), DriverError> {
        self.request("server/discover", json!({})).await?;
        let begun = Instant::now();
        // The gateway may be busy with the refusal, and answers only when it has recovered.
        while let Err(error) = self.request("tools/list", json!({})).await {
            if begun.elapsed() > CATALOG_LIMIT {
                return Err(error);
            }
            sleep(CATALOG_POLL).await;
        }
        Ok(())
    }

    async fn echo_schema(&self) -> Result<(), DriverError> {
        let listed = self.wait_for("tools/list", "tools").await?;
        let name = "json_schema_2020_12_tool";
        let seen = tool(&listed, name).ok_or_else(|| no_tool(name, &listed))?;
        let arguments = json!({ "schema": seen["inputSchema"] });
        self.call("json_schema_echo", &arguments).await.map(drop)
    }

    /// Every list, and everything in it.
    async fn use_everything(&self) -> Result<(), DriverError> {
        let tools = self.wait_for("tools/list", "tools").await?;
        for name in named(&tools["tools"], "name") {
            self.call(name, &json!({})).await?;
        }
        let resources = self.wait_for("resources/list", "resources").await?;
        for uri in named(&resources["resources"], "uri") {
            self.request("resources/read", json!({ "uri": uri }))
                .await?;
        }
        let prompts = self.wait_for("prompts/list", "prompts").await?;
        for name in named(&prompts["prompts"], "name") {
            self.request("prompts/get", json!({ "name": name })).await?;
        }
        Ok(())
    }

    async fn make_calls(&self, calls: &Value) -> Result<(), DriverError> {
        let calls = calls.as_array().ok_or_else(|| {
            DriverError::Environment("MCP_CONFORMANCE_CONTEXT has no toolCalls".to_owned())
        })?;
        for call in calls {
            let name = call["name"].as_str().unwrap_or_default();
            self.call(name, &call["arguments"]).await?;
        }
        Ok(())
    }

    /// Of the tools that the suite offers, one has valid header annotations; a gateway hides the
    /// others. Whatever else is listed is called too, so that the suite sees what was let through.
    async fn only_valid_tool(&self) -> Result<(), DriverError> {
        let listed = self.wait_for("tools/list", "tools").await?;
        self.call("valid_tool", &json!({ "region": "us-east-1" }))
            .await?;
        for name in named(&listed["tools"], "name").filter(|name| *name != "valid_tool") {
            let params = json!({ "name": name, "arguments": {} });
            // Refused or not is for the suite to judge.
            let _ = self.0.call("tools/call", params).await;
        }
        Ok(())
    }

    async fn request_state(&self) -> Result<(), DriverError> {
        let asked = self.call("test_mrtr_echo_state", &json!({})).await?;
        let retry = retry("test_mrtr_echo_state", &asked)?;
        // Between question and answer, to see that neither leaks into it.
        self.call("test_mrtr_unrelated", &json!({})).await?;
        self.request("tools/call", retry).await?;
        let asked = self.call("test_mrtr_no_state", &json!({})).await?;
        self.request("tools/call", self::retry("test_mrtr_no_state", &asked)?)
            .await?;
        self.call("test_mrtr_no_result_type", &json!({}))
            .await
            .map(drop)
    }
}

fn named<'a>(list: &'a Value, field: &'a str) -> impl Iterator<Item = &'a str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(move |one| one[field].as_str())
}

/// The parameters of the retry of a tool call that was answered with `input_required`: all forms
/// accepted, the state given back as it came, if any came.
fn retry(name: &str, asked: &Value) -> Result<Value, DriverError> {
    if asked["resultType"] != "input_required" {
        return Err(DriverError::Unexpected(format!(
            "{name} did not ask for input: {asked}"
        )));
    }
    let mut responses = Map::new();
    for (key, request) in asked["inputRequests"].as_object().into_iter().flatten() {
        responses.insert(key.clone(), accept(&request["params"]["requestedSchema"]));
    }
    let mut params = json!({ "name": name, "arguments": {}, "inputResponses": responses });
    if let Some(state) = asked.get("requestState") {
        params["requestState"] = state.clone();
    }
    Ok(params)
}
