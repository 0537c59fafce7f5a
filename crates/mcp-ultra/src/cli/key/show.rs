//! How keys are shown.

use std::collections::BTreeSet;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use mcp_ultra_control::keys::KeyView;
use mcp_ultra_domain::{ApiKey, Clock, SystemClock};
use secrecy::ExposeSecret;
use serde_json::json;

use super::Made;

use crate::cli::exit::{CommandResult, print};

/// Prints a new secret: alone on standard output, so that it can go straight into a file or a
/// secret store; what else is to be said goes to standard error.
pub(super) fn secret(made: &Made, done: &str, as_json: bool) -> CommandResult {
    let (key, token) = (&made.key, made.token.expose_secret());
    if as_json {
        let mut value = json!(key);
        value["token"] = token.into();
        return print(&value.to_string());
    }
    let end = key.expires.map_or("never".to_owned(), |at| at.to_string());
    eprintln!(
        "API key {} ({}) of tenant {} {done}; it ends: {end}.\nThis is shown once; send it as `Authorization: Bearer …`:",
        key.name, key.id, key.tenant
    );
    print(token)
}

/// A key as it is now, without its secrets.
pub(super) fn view(key: &ApiKey) -> KeyView {
    KeyView::of(key, SystemClock.now())
}

/// The keys, a line each.
pub(super) fn table(keys: &[KeyView]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "NAME",
            "ID",
            "STATE",
            "ROLES",
            "SCOPES",
            "ENDS",
            "LAST USED",
        ]);
    for key in keys {
        let words = |words: &BTreeSet<String>| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            words.join(" ")
        };
        let never = |time: Option<Timestamp>| {
            time.map_or("never".to_owned(), |at| at.strftime("%FT%TZ").to_string())
        };
        table.add_row([
            key.name.clone(),
            key.id.clone(),
            key.state.clone(),
            words(&key.roles),
            words(&key.scopes),
            never(key.expires),
            never(key.last_used()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
