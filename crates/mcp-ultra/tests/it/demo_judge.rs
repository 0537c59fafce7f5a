//! Judges what the demo server says by the published schema of its revision.

use mcp_ultra_testkit::schema::{Revision, assert_valid, check};
use serde_json::Value;

/// Checks a message from the server; `method` is that of the request where it is a response.
#[track_caller]
pub(crate) fn judge(revision: Revision, method: &str, message: &Value) {
    assert_valid(revision, "JSONRPCMessage", message);
    if message.get("method").is_some() {
        let kind = match message.get("id") {
            Some(_) => "ServerRequest",
            None => "ServerNotification",
        };
        return assert_valid(revision, kind, message);
    }
    let Some(result) = message.get("result") else {
        return;
    };
    let definition = match method {
        "initialize" => "InitializeResult",
        "server/discover" => "DiscoverResult",
        "tools/list" => "ListToolsResult",
        "tools/call" if result["resultType"] == "input_required" => "InputRequiredResult",
        "tools/call" => "CallToolResult",
        "resources/list" => "ListResourcesResult",
        "resources/templates/list" => "ListResourceTemplatesResult",
        "resources/read" => "ReadResourceResult",
        "prompts/list" => "ListPromptsResult",
        "prompts/get" => "GetPromptResult",
        "completion/complete" => "CompleteResult",
        "subscriptions/listen" => "SubscriptionsListenResult",
        _ => "EmptyResult",
    };
    assert_valid(revision, definition, result);
}

/// Checks a structured result against the output schema that the tool declares.
#[track_caller]
pub(crate) fn judge_structured(tools: &Value, name: &str, result: &Value) {
    let tool = tools
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["name"] == name)
        .unwrap();
    let Some(schema) = tool.get("outputSchema") else {
        assert_eq!(result.get("structuredContent"), None, "{name}");
        return;
    };
    let validator = jsonschema::validator_for(schema).unwrap();
    if let Err(error) = validator.validate(&result["structuredContent"]) {
        panic!("{name}: {error} in {result}");
    }
}

/// A revision that must refuse what it does not know shows that the judge can say no.
#[test]
fn the_judge_can_say_no() {
    let request = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create",
        "params": {"message": "x", "requestedSchema": {"type": "object", "properties": {}}}});
    assert!(check(Revision::V2025_11_25, "ServerRequest", &request).is_ok());
    assert!(check(Revision::V2025_03_26, "ServerRequest", &request).is_err());
}
