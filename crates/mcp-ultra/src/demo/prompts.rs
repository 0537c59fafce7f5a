//! The prompts: a summary of a customer, and a reply to a complaint in Portuguese or English.

use mcp_ultra_protocol::WireError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    call::Call,
    data::{Customer, Order},
    dispatch::{Answer, Freshness},
    resources::{customer_text, page, returns_policy},
};

pub(super) const SUMMARISE: &str = "summarise_customer";
pub(super) const REPLY: &str = "reply_to_complaint";
/// The tones of a reply; the first is the usual one.
pub(super) const TONES: [&str; 3] = ["friendly", "formal", "apologetic"];
/// The languages of a reply; the first is the usual one.
pub(super) const LANGUAGES: [&str; 2] = ["pt-BR", "en"];

/// `prompts/list`.
pub(super) fn list(call: &Call) -> Result<Answer, WireError> {
    let argument = |name: &str, title: &str, description: &str, required: bool| json!({"name": name, "title": title, "description": description, "required": required});
    let prompts = vec![
        json!({
            "name": SUMMARISE,
            "title": "Summarise a customer",
            "description": "A short summary of a customer for whoever takes over",
            "arguments": [argument("customer_id", "Customer", "Such as cus-0001", true)],
        }),
        json!({
            "name": REPLY,
            "title": "Reply to a complaint",
            "description": "A reply to a complaint about an order, by the returns policy",
            "arguments": [
                argument("order_id", "Order", "Such as ord-0001", true),
                argument("tone", "Tone", "friendly (usual), formal or apologetic", false),
                argument("language", "Language", "pt-BR (usual) or en", false),
            ],
        }),
    ];
    Ok(Answer::fresh(
        page(call, "prompts", prompts)?,
        Freshness::FIXED,
    ))
}

#[derive(Deserialize)]
struct Params {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

impl Params {
    fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name).and_then(Value::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, WireError> {
        self.text(name)
            .ok_or_else(|| WireError::invalid_params(format!("The argument \"{name}\" is missing")))
    }

    fn choice<'a>(&'a self, name: &str, known: &[&'a str]) -> Result<&'a str, WireError> {
        match self.text(name) {
            None | Some("") => Ok(known.first().copied().unwrap_or_default()),
            Some(value) if known.contains(&value) => Ok(value),
            Some(_) => Err(WireError::invalid_params(format!(
                "The argument \"{name}\" must be one of {}",
                known.join(", ")
            ))),
        }
    }
}

/// `prompts/get`.
pub(super) fn get(call: &Call) -> Result<Answer, WireError> {
    let params: Params = call.params()?;
    let result = match params.name.as_str() {
        SUMMARISE => summarise(call, &params)?,
        REPLY => reply(call, &params)?,
        other => {
            let shown: String = other.chars().take(100).collect();
            return Err(WireError::invalid_params(format!(
                "Unknown prompt: {shown}"
            )));
        }
    };
    Ok(Answer::once(result))
}

fn summarise(call: &Call, params: &Params) -> Result<Value, WireError> {
    let id = params.required("customer_id")?;
    let record = customer_text(&call.server.store, id)
        .ok_or_else(|| WireError::invalid_params("There is no such customer"))?;
    Ok(json!({
        "description": "Summary of a customer",
        "messages": [
            user_text(
                "Summarise this customer in five sentences at most for a colleague who takes \
                 over. Leave out the CPF and the telephone number.",
            ),
            user_resource(&format!("customer://{id}"), "application/json", &record),
        ],
    }))
}

fn reply(call: &Call, params: &Params) -> Result<Value, WireError> {
    let unknown = || WireError::invalid_params("There is no such order");
    let store = &call.server.store;
    let order = store
        .order(params.required("order_id")?)
        .ok_or_else(unknown)?;
    let customer = store.customer(&order.customer_id).ok_or_else(unknown)?;
    let tone = params.choice("tone", &TONES)?;
    let language = params.choice("language", &LANGUAGES)?;
    let (uri, policy) = returns_policy(language)
        .ok_or_else(|| WireError::internal("The returns policy is missing in this language"))?;
    let (description, task) = if language == "en" {
        ("Reply to a complaint", english(&customer, &order, tone))
    } else {
        (
            "Resposta a uma reclamação",
            portuguese(&customer, &order, tone),
        )
    };
    Ok(json!({
        "description": description,
        "messages": [user_text(&task), user_resource(uri, "text/markdown", policy)],
    }))
}

fn products(order: &Order) -> String {
    let names: Vec<&str> = order.items.iter().map(|item| &*item.product).collect();
    names.join(", ")
}

fn english(customer: &Customer, order: &Order, tone: &str) -> String {
    format!(
        "Write a {tone} reply in English to the complaint of {} about the order {} of {} \
         ({}; status: {}). Follow the returns policy below and offer a clear next step.",
        customer.name,
        order.id,
        order.placed_on,
        products(order),
        order.status
    )
}

fn portuguese(customer: &Customer, order: &Order, tone: &str) -> String {
    let tone = match tone {
        "formal" => "formal",
        "apologetic" => "de desculpas",
        _ => "cordial",
    };
    let status = match order.status.as_str() {
        "processing" => "em preparação",
        "shipped" => "enviado",
        "cancelled" => "cancelado",
        "returned" => "devolvido",
        _ => "entregue",
    };
    format!(
        "Escreva uma resposta em português, em tom {tone}, à reclamação de {} sobre o pedido {} \
         de {} ({}; situação: {status}). Siga a política de devoluções abaixo e proponha um \
         próximo passo claro.",
        customer.name,
        order.id,
        order.placed_on,
        products(order)
    )
}

fn user_text(text: &str) -> Value {
    json!({"role": "user", "content": {"type": "text", "text": text}})
}

fn user_resource(uri: &str, mime: &str, text: &str) -> Value {
    json!({
        "role": "user",
        "content": {
            "type": "resource",
            "resource": {"uri": uri, "mimeType": mime, "text": text},
        },
    })
}
