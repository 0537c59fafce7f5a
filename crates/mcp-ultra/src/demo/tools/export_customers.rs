//! `export_customers`: takes its time, tells how far it is, and stops when it is cancelled.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Output, Running, Tool, arguments, shapes};
use crate::demo::call::Call;

const LONGEST: u64 = 60;
const USUAL: u64 = 5;
/// A log message every so many customers.
const LOG_EVERY: u64 = 5;

pub(super) const TOOL: Tool = Tool {
    name: "export_customers",
    definition,
    run,
};

fn definition() -> Value {
    json!({
        "title": "Export customers",
        "description": "Exports all customers as CSV. Takes as long as it is told to, reports \
            progress and writes log messages on the way, and can be cancelled.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "seconds": {
                    "type": "integer",
                    "description": "How long the export takes",
                    "minimum": 0,
                    "maximum": LONGEST,
                    "default": USUAL,
                },
            },
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "exported": {"type": "integer"},
                "csv": {"type": "string"},
            },
            "required": ["exported", "csv"],
        },
        "annotations": shapes::annotations(true, false, true),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    seconds: Option<u64>,
}

fn run(call: &Call, given: Value) -> Running<'_> {
    Box::pin(async move {
        let Arguments { seconds } = arguments(given)?;
        let seconds = seconds.unwrap_or(USUAL);
        if seconds > LONGEST {
            return Err(Failure::refused(format!(
                "\"seconds\" must be 0 to {LONGEST}."
            )));
        }
        let customers = call.server.store.customers();
        let total = customers.len() as u64;
        let step = Duration::from_millis(seconds * 1000 / total.max(1));
        let mut csv = String::from("id,name,cpf,email,phone,city,state\n");
        call.log(
            "info",
            json!({"event": "export_started", "customers": total}),
        )
        .await;
        // A cancellation drops this future at one of the waits.
        for (done, customer) in (1..).zip(customers) {
            tokio::time::sleep(step).await;
            let fields = [
                &customer.id,
                &customer.name,
                &customer.cpf,
                &customer.email,
                &customer.phone,
                &customer.address.city,
                &customer.address.state,
            ];
            csv.push_str(&fields.map(|field| quote(field)).join(","));
            csv.push('\n');
            call.progress(done, total, &format!("{done} of {total} customers"))
                .await;
            if done % LOG_EVERY == 0 {
                call.log("info", json!({"event": "export_running", "done": done}))
                    .await;
            }
        }
        call.log(
            "notice",
            json!({"event": "export_finished", "customers": total}),
        )
        .await;
        Ok(Output::structured(json!({"exported": total, "csv": csv})).into())
    })
}

/// A field of a CSV line (RFC 4180).
fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
