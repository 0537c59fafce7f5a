//! Asking the person at the client, in the way of its era: a request of ours while the call is
//! open (legacy), or an `input_required` that the client answers with a retry (modern).

use std::time::Duration;

use mcp_ultra_protocol::{ByteString, Outcome, Version, WireError, seal::Purpose};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{call::Call, era::Caller, session::Session, tools::Failure};

/// How long a person may think.
const PATIENCE: Duration = Duration::from_mins(5);
/// Under which key the question stands in `inputRequests`.
const KEY: &str = "confirmation";

/// A question with a form.
#[derive(Debug)]
pub(super) struct Question {
    /// What to ask.
    pub(super) message: String,
    /// The form, a flat JSON Schema.
    pub(super) form: Value,
    /// What the answer is for: an answer to another question does not count.
    pub(super) subject: Value,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked {
    /// The person filled in the form.
    Accepted(Map<String, Value>),
    /// The person said no.
    Declined,
    /// The person closed the form without an answer.
    Dismissed,
    /// The client has to ask and call again: the result that says so.
    NotYet(Value),
}

/// What travels in `requestState`.
#[derive(Serialize, Deserialize)]
struct State {
    subject: Value,
    /// In milliseconds of uptime: the key ends with the process, so no other clock is needed.
    expires: u64,
}

#[derive(Deserialize)]
struct Retry {
    #[serde(rename = "inputResponses", default)]
    responses: Map<String, Value>,
    #[serde(rename = "requestState")]
    state: Option<String>,
}

#[derive(Deserialize)]
struct ElicitResult {
    action: String,
    #[serde(default)]
    content: Map<String, Value>,
}

/// Asks `question`.
///
/// # Errors
/// Where the client can't ask, sent a state that is not ours, or did not answer.
pub(super) async fn ask(call: &Call, question: &Question) -> Result<Asked, Failure> {
    match &call.caller {
        Caller::Modern(caller) => {
            if !caller.capabilities.elicitation_form {
                return Err(WireError::missing_capability(r#"{"elicitation":{"form":{}}}"#).into());
            }
            modern(call, question)
        }
        Caller::Legacy(session) => {
            if !session.capabilities.elicitation_form {
                return Err(Failure::refused(
                    "This needs a confirmation by the user, and the client did not declare the \
                     capability \"elicitation\". Nothing was changed.",
                ));
            }
            legacy(call, session, question).await
        }
    }
}

fn modern(call: &Call, question: &Question) -> Result<Asked, Failure> {
    let retry: Retry = call.params()?;
    let Some(token) = retry.state else {
        return not_yet(call, question);
    };
    let invalid = || WireError::invalid_params("requestState is not valid for this request");
    let server = &call.server;
    let opened = server
        .sealer
        .open(Purpose::RequestState, "", &token)
        .map_err(|_| invalid())?;
    let state: State = serde_json::from_slice(&opened).map_err(|_| invalid())?;
    if state.subject != question.subject {
        return Err(invalid().into());
    }
    let expired = u128::from(state.expires) < server.uptime().as_millis();
    match retry.responses.get(KEY) {
        Some(answer) if !expired => read(answer.clone()),
        _ => not_yet(call, question),
    }
}

fn not_yet(call: &Call, question: &Question) -> Result<Asked, Failure> {
    let expires = (call.server.uptime() + PATIENCE).as_millis();
    let state = State {
        subject: question.subject.clone(),
        expires: u64::try_from(expires).unwrap_or(u64::MAX),
    };
    let failed = || WireError::internal("the confirmation could not be prepared, try again");
    let content = serde_json::to_vec(&state).map_err(|_| failed())?;
    let token = call
        .server
        .sealer
        .seal(Purpose::RequestState, "", &content)
        .map_err(|_| failed())?;
    Ok(Asked::NotYet(json!({
        "resultType": "input_required",
        "inputRequests": {
            KEY: {
                "method": "elicitation/create",
                "params": params(question, true),
            },
        },
        "requestState": token,
    })))
}

async fn legacy(call: &Call, session: &Session, question: &Question) -> Result<Asked, Failure> {
    // The mode is named since 2025-11-25.
    let params = params(question, session.version >= Version::V2025_11_25).to_string();
    let asking = session.ask(&call.outlet, "elicitation/create", &params);
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Some(Outcome::Result(result))) => {
            let result = serde_json::from_str(&result).map_err(|_| malformed())?;
            read(result)
        }
        Ok(Some(Outcome::Error(error))) => Err(Failure::refused(format!(
            "The client could not ask the user ({}). Nothing was changed.",
            error_code(&error)
        ))),
        Ok(None) | Err(_) => Err(Failure::refused(
            "The user did not answer in time. Nothing was changed.",
        )),
    }
}

fn params(question: &Question, with_mode: bool) -> Value {
    let mut params = json!({
        "message": question.message,
        "requestedSchema": question.form,
    });
    if with_mode {
        params["mode"] = "form".into();
    }
    params
}

fn read(answer: Value) -> Result<Asked, Failure> {
    let answer: ElicitResult = serde_json::from_value(answer).map_err(|_| malformed())?;
    match answer.action.as_str() {
        "accept" => Ok(Asked::Accepted(answer.content)),
        "decline" => Ok(Asked::Declined),
        "cancel" => Ok(Asked::Dismissed),
        _ => Err(malformed().into()),
    }
}

fn malformed() -> WireError {
    WireError::invalid_params(
        "the answer to the elicitation must have the action \"accept\", \"decline\" or \"cancel\"",
    )
}

/// The code alone: the text of a foreign error may hold anything.
fn error_code(error: &ByteString) -> String {
    serde_json::from_str::<Value>(error)
        .ok()
        .and_then(|error| error.get("code").map(|code| format!("error {code}")))
        .unwrap_or_else(|| "an unreadable error".into())
}
