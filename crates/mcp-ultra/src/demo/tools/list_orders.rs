//! `list_orders`: orders by customer, region and status. `region` is mirrored into a header, so
//! that an intermediary can route on it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes};
use crate::demo::{call::Call, data::Order};

const REGIONS: [&str; 5] = ["norte", "nordeste", "centro-oeste", "sudeste", "sul"];
const STATUSES: [&str; 5] = [
    "processing",
    "shipped",
    "delivered",
    "cancelled",
    "returned",
];
const MOST: usize = 60;
const USUAL: usize = 20;

pub(super) const TOOL: Tool = Tool {
    name: "list_orders",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "List orders",
        "description": "Lists orders, newest first, of one customer, one region or one status, \
            or any mix of them.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "customer_id": shapes::id("cus", "Customer id"),
                "region": {
                    "type": "string",
                    "description": "Region of Brazil that the order goes to",
                    "enum": REGIONS,
                    "x-mcp-header": "Region",
                },
                "status": {"type": "string", "enum": STATUSES},
                "limit": {
                    "type": "integer",
                    "description": "At most so many orders",
                    "minimum": 1,
                    "maximum": MOST,
                    "default": USUAL,
                },
            },
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "orders": {"type": "array", "items": shapes::order()},
                "total": {"type": "integer", "description": "How many there are without the limit"},
            },
            "required": ["orders", "total"],
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    customer_id: Option<String>,
    region: Option<String>,
    status: Option<String>,
    limit: Option<usize>,
}

impl Arguments {
    fn check(&self) -> Result<(), Failure> {
        let one_of = |name: &str, value: &Option<String>, known: &[&str]| match value {
            Some(value) if !known.contains(&value.as_str()) => Err(Failure::refused(format!(
                "\"{name}\" must be one of {}.",
                known.join(", ")
            ))),
            _ => Ok(()),
        };
        one_of("region", &self.region, &REGIONS)?;
        one_of("status", &self.status, &STATUSES)?;
        match self.limit {
            Some(limit) if !(1..=MOST).contains(&limit) => {
                Err(Failure::refused(format!("\"limit\" must be 1 to {MOST}.")))
            }
            _ => Ok(()),
        }
    }

    fn fits(&self, order: &Order) -> bool {
        let same = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        same(&self.customer_id, &order.customer_id)
            && same(&self.region, &order.region)
            && same(&self.status, &order.status)
    }
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let wanted: Arguments = arguments(given)?;
        wanted.check()?;
        let mut orders = call.server.store.orders();
        orders.retain(|order| wanted.fits(order));
        orders.reverse();
        let total = orders.len();
        orders.truncate(wanted.limit.unwrap_or(USUAL));
        Ok(Output::structured(json!({"orders": orders, "total": total})).into())
    })
}
