//! The resources: customers and their notes, recent orders, the policies of the shop, a logo.
//!
//! Policies and logo are made for this demo: 32 by 32 pixels, three colours.

use base64::{Engine, engine::general_purpose::STANDARD};
use mcp_ultra_protocol::{WireError, seal::Purpose};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    call::Call,
    data::Store,
    dispatch::{Answer, Freshness},
};

/// How many entries a page of a list has.
const PAGE: usize = 10;
/// How many orders are recent.
const RECENT: usize = 10;

pub(super) const CUSTOMER_TEMPLATE: &str = "customer://{id}";
pub(super) const NOTES_TEMPLATE: &str = "notes://{customer_id}";
const RECENT_ORDERS: &str = "orders://recent";
const LOGO_URI: &str = "brand://logo.png";
const LOGO: &[u8] = include_bytes!("logo.png");

/// A document of the shop, in one language.
struct Policy {
    uri: &'static str,
    name: &'static str,
    title: &'static str,
    text: &'static str,
}

static POLICIES: &[Policy] = &[
    Policy {
        uri: "policy://returns/pt-BR",
        name: "returns-pt-BR",
        title: "Política de trocas e devoluções",
        text: include_str!("policies/returns.pt-BR.md"),
    },
    Policy {
        uri: "policy://returns/en",
        name: "returns-en",
        title: "Returns and exchanges",
        text: include_str!("policies/returns.en.md"),
    },
    Policy {
        uri: "policy://privacy/pt-BR",
        name: "privacy-pt-BR",
        title: "Política de privacidade do atendimento",
        text: include_str!("policies/privacy.pt-BR.md"),
    },
    Policy {
        uri: "policy://privacy/en",
        name: "privacy-en",
        title: "Privacy in customer service",
        text: include_str!("policies/privacy.en.md"),
    },
];

#[derive(Deserialize)]
struct Cursor {
    cursor: Option<String>,
}

/// One page of `items` under `key`, from where the cursor of the request says.
///
/// # Errors
/// For a cursor that did not come from this list.
pub(super) fn page(call: &Call, key: &str, items: Vec<Value>) -> Result<Value, WireError> {
    let Cursor { cursor } = call.params()?;
    let sealer = &call.server.sealer;
    let start = match cursor {
        None => 0,
        Some(token) => sealer
            .open(Purpose::Cursor, key, &token)
            .ok()
            .and_then(|content| String::from_utf8(content).ok()?.parse().ok())
            .ok_or_else(|| WireError::invalid_params("Invalid cursor: list again without one"))?,
    };
    let more = items.len() > start + PAGE;
    let shown: Vec<Value> = items.into_iter().skip(start).take(PAGE).collect();
    let mut result = json!({key: shown});
    if more {
        let next = (start + PAGE).to_string();
        let token = sealer
            .seal(Purpose::Cursor, key, next.as_bytes())
            .map_err(|_| WireError::internal("The cursor could not be made, try again"))?;
        result["nextCursor"] = token.into();
    }
    Ok(result)
}

/// `resources/list`.
pub(super) fn list(call: &Call) -> Result<Answer, WireError> {
    let mut resources = vec![
        json!({
            "uri": RECENT_ORDERS,
            "name": "recent-orders",
            "title": "Recent orders",
            "description": "The last ten orders",
            "mimeType": "application/json",
        }),
        json!({
            "uri": LOGO_URI,
            "name": "logo.png",
            "title": "Logo",
            "mimeType": "image/png",
            "size": LOGO.len(),
        }),
    ];
    resources.extend(POLICIES.iter().map(|policy| {
        json!({
            "uri": policy.uri,
            "name": policy.name,
            "title": policy.title,
            "mimeType": "text/markdown",
            "size": policy.text.len(),
        })
    }));
    let with_notes = call.server.store.customers_with_notes();
    resources.extend(with_notes.into_iter().map(|id| {
        json!({
            "uri": format!("notes://{id}"),
            "name": format!("notes-{id}"),
            "title": format!("Notes about {id}"),
            "mimeType": "text/plain",
        })
    }));
    Ok(Answer::fresh(
        page(call, "resources", resources)?,
        Freshness::LIST,
    ))
}

/// `resources/templates/list`.
pub(super) fn templates(call: &Call) -> Result<Answer, WireError> {
    let templates = vec![
        json!({
            "uriTemplate": CUSTOMER_TEMPLATE,
            "name": "customer",
            "title": "Customer",
            "description": "The record of a customer with the notes about them",
            "mimeType": "application/json",
        }),
        json!({
            "uriTemplate": NOTES_TEMPLATE,
            "name": "notes",
            "title": "Notes",
            "description": "The notes about a customer, one a line",
            "mimeType": "text/plain",
        }),
    ];
    Ok(Answer::fresh(
        page(call, "resourceTemplates", templates)?,
        Freshness::FIXED,
    ))
}

#[derive(Deserialize)]
struct Uri {
    uri: String,
}

/// `resources/read`.
pub(super) fn read(call: &Call) -> Result<Answer, WireError> {
    let Uri { uri } = call.params()?;
    let (contents, freshness) = contents(&call.server.store, &uri)
        .ok_or_else(|| WireError::resource_not_found(&uri, call.caller.era()))?;
    Ok(Answer::fresh(json!({"contents": [contents]}), freshness))
}

/// Whether there is something to read under `uri`, now or after a note: what can be followed.
pub(super) fn exists(store: &Store, uri: &str) -> bool {
    match uri.strip_prefix("notes://") {
        Some(id) => store.customer(id).is_some(),
        None => contents(store, uri).is_some(),
    }
}

/// What stands under `uri`.
fn contents(store: &Store, uri: &str) -> Option<(Value, Freshness)> {
    if uri == LOGO_URI {
        let blob = STANDARD.encode(LOGO);
        let contents = json!({"uri": uri, "mimeType": "image/png", "blob": blob});
        return Some((contents, Freshness::FIXED));
    }
    let text = |mime: &str, text: String| json!({"uri": uri, "mimeType": mime, "text": text});
    if uri == RECENT_ORDERS {
        let mut orders = store.orders();
        orders.reverse();
        orders.truncate(RECENT);
        let orders = json!({"orders": orders}).to_string();
        return Some((text("application/json", orders), Freshness::PERSONAL));
    }
    if let Some(policy) = POLICIES.iter().find(|policy| policy.uri == uri) {
        return Some((
            text("text/markdown", policy.text.to_owned()),
            Freshness::FIXED,
        ));
    }
    if let Some(id) = uri.strip_prefix("customer://") {
        let record = customer_text(store, id)?;
        return Some((text("application/json", record), Freshness::PERSONAL));
    }
    let id = uri.strip_prefix("notes://")?;
    let notes = store.notes_of(id);
    if notes.is_empty() {
        return None;
    }
    let lines: Vec<String> = notes
        .into_iter()
        .map(|note| format!("{}: {}", note.id, note.text))
        .collect();
    Some((text("text/plain", lines.join("\n")), Freshness::PERSONAL))
}

/// The record of a customer with their notes, as JSON text.
pub(super) fn customer_text(store: &Store, id: &str) -> Option<String> {
    let customer = store.customer(id)?;
    let notes = store.notes_of(id);
    Some(json!({"customer": customer, "notes": notes}).to_string())
}

/// The returns policy in `language`: its URI and its text.
pub(super) fn returns_policy(language: &str) -> Option<(&'static str, &'static str)> {
    let uri = format!("policy://returns/{language}");
    POLICIES
        .iter()
        .find(|policy| policy.uri == uri)
        .map(|policy| (policy.uri, policy.text))
}
