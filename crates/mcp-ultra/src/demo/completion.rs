//! `completion/complete`: ids of customers and orders, and the choices of the prompts.

use mcp_ultra_protocol::WireError;
use serde::Deserialize;
use serde_json::json;

use super::{
    call::Call,
    dispatch::Answer,
    prompts::{LANGUAGES, REPLY, SUMMARISE, TONES},
    resources::{CUSTOMER_TEMPLATE, NOTES_TEMPLATE},
};

/// The most values in one answer (2026-07-28, Completion).
const MOST: usize = 100;

#[derive(Deserialize)]
struct Params {
    r#ref: Reference,
    argument: Argument,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

/// `completion/complete`.
pub(super) fn complete(call: &Call) -> Result<Answer, WireError> {
    let Params {
        r#ref: reference,
        argument,
    } = call.params()?;
    let store = &call.server.store;
    let customers = || store.customers().into_iter().map(|c| c.id).collect();
    let orders = || store.orders().into_iter().map(|o| o.id).collect();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let known: Vec<String> = match (&reference, argument.name.as_str()) {
        (Reference::Resource { uri }, "id") if uri == CUSTOMER_TEMPLATE => customers(),
        (Reference::Resource { uri }, "customer_id") if uri == NOTES_TEMPLATE => customers(),
        (Reference::Prompt { name }, "customer_id") if name == SUMMARISE => customers(),
        (Reference::Prompt { name }, "order_id") if name == REPLY => orders(),
        (Reference::Prompt { name }, "tone") if name == REPLY => words(&TONES),
        (Reference::Prompt { name }, "language") if name == REPLY => words(&LANGUAGES),
        _ => {
            return Err(WireError::invalid_params(
                "There is no such argument of a prompt or resource template",
            ));
        }
    };
    let mut values: Vec<String> = known
        .into_iter()
        .filter(|value| value.starts_with(&argument.value))
        .collect();
    let total = values.len();
    values.truncate(MOST);
    Ok(Answer::once(json!({
        "completion": {"values": values, "total": total, "hasMore": total > MOST},
    })))
}
