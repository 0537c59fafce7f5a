//! `update_address`: changes where a customer lives, after a person has confirmed it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Done, Failure, Output, Running, Tool, arguments, shapes, unknown_customer};
use crate::demo::{
    call::Call,
    data::{Address, Change},
    elicit::{self, Asked, Question},
    events,
};

pub(super) const TOOL: Tool = Tool {
    name: "update_address",
    definition,
    run,
};

fn definition() -> Value {
    let mut properties = Map::new();
    properties.insert("customer_id".into(), shapes::id("cus", "Customer id"));
    if let Value::Object(address) = shapes::address_properties() {
        properties.extend(address);
    }
    let required: Vec<&str> = ["customer_id"]
        .into_iter()
        .chain(shapes::ADDRESS_REQUIRED)
        .collect();
    json!({
        "title": "Change an address",
        "description": "Replaces the postal address of a customer. Asks the user for a \
            confirmation first, and changes nothing without it.",
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "updated": {"type": "boolean"},
                "reason": {"type": "string", "description": "Why nothing was changed"},
                "customer": shapes::customer(),
            },
            "required": ["updated"],
        },
        "annotations": shapes::annotations(false, true, true),
    })
}

#[derive(Deserialize)]
struct Who {
    customer_id: String,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let (customer_id, address) = read(given)?;
        let store = &call.server.store;
        let customer = store
            .customer(&customer_id)
            .ok_or_else(|| unknown_customer(&customer_id))?;
        let question = Question {
            message: format!(
                "Change the address of {} ({customer_id}) to {}, {}, {} - {}, {}?",
                customer.name,
                address.street,
                address.number,
                address.city,
                address.state,
                address.cep
            ),
            form: json!({
                "type": "object",
                "properties": {
                    "confirm": {
                        "type": "boolean",
                        "title": "Confirm",
                        "description": "The new address is right",
                        "default": false,
                    },
                },
                "required": ["confirm"],
            }),
            // With the revision in it, one confirmation makes one change.
            subject: json!({
                "tool": TOOL.name,
                "customer_id": customer_id,
                "revision": customer.revision,
                "address": address,
            }),
        };
        let form = match elicit::ask(call, &question).await? {
            Asked::NotYet(result) => return Ok(Done::InputRequired(result)),
            Asked::Declined => return Ok(unchanged("The user declined.")),
            Asked::Dismissed => return Ok(unchanged("The user closed the question.")),
            Asked::Accepted(form) => form,
        };
        if form.get("confirm") != Some(&Value::Bool(true)) {
            return Ok(unchanged("The user did not tick the confirmation."));
        }
        match store.change_address(&customer_id, customer.revision, address) {
            Change::Made => {}
            Change::Outdated => {
                return Err(Failure::refused(
                    "The record was changed while the user was asked. Nothing was changed; read \
                     it with get_customer and try again.",
                ));
            }
            Change::Unknown => return Err(unknown_customer(&customer_id)),
        }
        call.server.events.tell(events::Change::Resource(format!(
            "customer://{customer_id}"
        )));
        call.log(
            "notice",
            json!({"event": "address_changed", "customer_id": customer_id}),
        )
        .await;
        let customer = store.customer(&customer_id);
        Ok(Output::structured(json!({"updated": true, "customer": customer})).into())
    })
}

fn read(given: Value) -> Result<(String, Address), Failure> {
    let mut members = match given {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let id = members.remove("customer_id");
    let Who { customer_id } = arguments(json!({"customer_id": id}))?;
    let address: Address = arguments(Value::Object(members))?;
    let texts = [
        ("street", &address.street, 200),
        ("number", &address.number, 20),
        ("district", &address.district, 100),
        ("city", &address.city, 100),
    ];
    for (name, text, most) in texts {
        if text.trim().is_empty() || text.chars().count() > most {
            return Err(Failure::refused(format!(
                "\"{name}\" must have 1 to {most} characters."
            )));
        }
    }
    if address
        .complement
        .as_ref()
        .is_some_and(|text| text.chars().count() > 100)
    {
        return Err(Failure::refused(
            "\"complement\" must have at most 100 characters.",
        ));
    }
    if address.state.len() != 2 || !address.state.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Failure::refused(
            "\"state\" must be two capital letters, such as SP.",
        ));
    }
    if !is_cep(&address.cep) {
        return Err(Failure::refused("\"cep\" must look like 01310-100."));
    }
    Ok((customer_id, address))
}

fn is_cep(text: &str) -> bool {
    text.len() == 9
        && text.bytes().enumerate().all(|(at, byte)| match at {
            5 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn unchanged(reason: &str) -> Done {
    Output::structured(json!({"updated": false, "reason": reason})).into()
}
