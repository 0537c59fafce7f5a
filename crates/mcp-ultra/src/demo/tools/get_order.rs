//! `get_order`: one order, with a link to its customer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes};
use crate::demo::call::Call;

pub(super) const TOOL: Tool = Tool {
    name: "get_order",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Read an order",
        "description": "Returns one order with its items, and a link to the customer.",
        "inputSchema": {
            "type": "object",
            "properties": {"order_id": shapes::id("ord", "Order id")},
            "required": ["order_id"],
            "additionalProperties": false,
        },
        "outputSchema": shapes::order(),
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    order_id: String,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { order_id } = arguments(given)?;
        let order = call.server.store.order(&order_id).ok_or_else(|| {
            let shown: String = order_id.chars().take(40).collect();
            Failure::refused(format!(
                "There is no order {shown}. Find the id with list_orders."
            ))
        })?;
        let link = json!({
            "type": "resource_link",
            "uri": format!("customer://{}", order.customer_id),
            "name": order.customer_id,
            "description": "The customer of the order",
            "mimeType": "application/json",
        });
        Ok(Output::structured(json!(order)).with(link).into())
    })
}
