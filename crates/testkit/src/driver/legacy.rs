//! Scenarios of 2025-11-25, through a session.

use std::convert::Infallible;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    CATALOG_LIMIT, CATALOG_POLL, DriverError, Setting, accept, no_tool, result, tool,
    unknown_scenario,
};
use crate::raw::{Client, legacy::Session};

pub(super) async fn play(setting: &Setting, client: Client) -> Result<(), DriverError> {
    let capabilities = json!({ "elicitation": {} });
    let session = Session::open(client, &setting.version, capabilities, HeaderMap::new());
    let session = session.await.map_err(|source| DriverError::Call {
        doing: "initialize".to_owned(),
        source,
    })?;
    match setting.scenario.as_str() {
        "initialize" => {
            result("tools/list", session.call("tools/list", json!({})).await)?;
        }
        "tools_call" => call(&session, "add_numbers", json!({ "a": 5, "b": 3 })).await?,
        "elicitation-sep1034-client-defaults" => {
            call(&session, "test_client_elicitation_defaults", json!({})).await?;
        }
        "sse-retry" => call(&session, "test_reconnection", json!({})).await?,
        _ => return Err(unknown_scenario(setting)),
    }
    // The server may not let sessions be ended; the scenario is played either way.
    let _ = session.close().await;
    Ok(())
}

/// Calls a tool as soon as it is there, and accepts every form with its defaults.
async fn call(session: &Session, name: &str, arguments: Value) -> Result<(), DriverError> {
    let begun = Instant::now();
    loop {
        let listed = result("tools/list", session.call("tools/list", json!({})).await)?;
        if tool(&listed, name).is_some() {
            break;
        }
        if begun.elapsed() > CATALOG_LIMIT {
            return Err(no_tool(name, &listed));
        }
        sleep(CATALOG_POLL).await;
    }
    let params = json!({ "name": name, "arguments": arguments });
    let fill_in = |asked: &Value| {
        let is_form = asked["method"] == "elicitation/create";
        is_form.then(|| accept(&asked["params"]["requestedSchema"]))
    };
    // Opened before the call, or what is asked at once finds nobody.
    let stream = session.stream(None).await;
    let beside = async {
        if let Ok(stream) = stream {
            // A server that ends this stream asks on that of the call.
            let _ = session.answer_on_stream(stream, fill_in).await;
        }
        std::future::pending::<Infallible>().await
    };
    let reply = tokio::select! {
        reply = session.call_answering("tools/call", params, fill_in) => reply,
        never = beside => match never {},
    };
    let done = result(name, reply)?;
    if done["isError"] == true {
        return Err(DriverError::Unexpected(format!("{name} failed: {done}")));
    }
    Ok(())
}
