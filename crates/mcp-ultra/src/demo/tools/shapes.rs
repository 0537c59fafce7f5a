//! The JSON Schemas of the records, for the definitions of several tools.

use serde_json::{Value, json};

/// An id such as `cus-0001`.
pub(super) fn id(prefix: &str, what: &str) -> Value {
    json!({
        "type": "string",
        "description": format!("{what}, such as {prefix}-0001"),
        "pattern": format!("^{prefix}-[0-9]{{4}}$"),
    })
}

/// What a tool does to the world, for hosts that ask before they call it. Nothing here reaches
/// beyond the demo's own data.
pub(super) fn annotations(read_only: bool, destructive: bool, idempotent: bool) -> Value {
    json!({
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": false,
    })
}

/// The properties of a postal address.
pub(super) fn address_properties() -> Value {
    json!({
        "street": {"type": "string", "minLength": 1, "maxLength": 200},
        "number": {"type": "string", "minLength": 1, "maxLength": 20},
        "complement": {"type": "string", "maxLength": 100},
        "district": {"type": "string", "minLength": 1, "maxLength": 100},
        "city": {"type": "string", "minLength": 1, "maxLength": 100},
        "state": {"type": "string", "description": "Two letters, such as SP", "pattern": "^[A-Z]{2}$"},
        "cep": {"type": "string", "description": "Postal code, such as 01310-100", "pattern": "^[0-9]{5}-[0-9]{3}$"},
    })
}

/// The parts of an address that can't be missing.
pub(super) const ADDRESS_REQUIRED: [&str; 6] =
    ["street", "number", "district", "city", "state", "cep"];

/// A customer.
pub(super) fn customer() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": id("cus", "Customer id"),
            "name": {"type": "string"},
            "cpf": {"type": "string", "description": "Brazilian taxpayer number"},
            "email": {"type": "string"},
            "phone": {"type": "string"},
            "birth_date": {"type": "string", "description": "YYYY-MM-DD"},
            "address": {
                "type": "object",
                "properties": address_properties(),
                "required": ADDRESS_REQUIRED,
            },
        },
        "required": ["id", "name", "cpf", "email", "phone", "birth_date", "address"],
    })
}

/// A note.
pub(super) fn note() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": id("note", "Note id"),
            "customer_id": id("cus", "Customer id"),
            "text": {"type": "string"},
        },
        "required": ["id", "customer_id", "text"],
    })
}

/// An order.
pub(super) fn order() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": id("ord", "Order id"),
            "customer_id": id("cus", "Customer id"),
            "placed_on": {"type": "string", "description": "YYYY-MM-DD"},
            "status": {"type": "string"},
            "region": {"type": "string"},
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "product": {"type": "string"},
                        "quantity": {"type": "integer"},
                        "unit_price_cents": {"type": "integer", "description": "In cents of BRL"},
                    },
                    "required": ["product", "quantity", "unit_price_cents"],
                },
            },
            "total_cents": {"type": "integer", "description": "In cents of BRL"},
        },
        "required": ["id", "customer_id", "placed_on", "status", "region", "items", "total_cents"],
    })
}
