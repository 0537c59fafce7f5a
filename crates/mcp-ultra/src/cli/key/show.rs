//! How keys are shown.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use mcp_ultra_control::keys::Shown;
use mcp_ultra_domain::{ApiKey, Clock, SystemClock};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cli::exit::{CommandResult, print};

/// Prints a new secret: alone on standard output, so that it can go straight into a file or a
/// secret store; what else is to be said goes to standard error.
pub(super) fn secret(shown: &Shown, done: &str, as_json: bool) -> CommandResult {
    let token = shown.token.expose_secret();
    if as_json {
        let mut value = json(&shown.key);
        value["token"] = token.into();
        return print(&value.to_string());
    }
    let key = &shown.key;
    let end = key.expires.map_or("never".to_owned(), time);
    eprintln!(
        "API key {} ({}) of tenant {} {done}; it ends: {end}.\nThis is shown once; send it as `Authorization: Bearer …`:",
        key.name, key.id, key.tenant
    );
    print(token)
}

/// A key without its secrets.
pub(super) fn json(key: &ApiKey) -> Value {
    let at = |time: Option<Duration>| time.map(self::time);
    let secrets = key.secrets.iter().map(|one| {
        json!({
            "prefix": format!("mcpu_{}", one.lookup),
            "created": time(one.created),
            "expires": at(one.expires),
            "last_used": at(one.last_used),
        })
    });
    json!({
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "kind": key.kind.as_str(),
        "roles": key.roles,
        "scopes": key.scopes,
        "created": time(key.created),
        "expires": at(key.expires),
        "revoked": at(key.revoked),
        "revision": key.revision,
        "secrets": secrets.collect::<Vec<_>>(),
    })
}

/// The keys, a line each.
pub(super) fn table(keys: &[ApiKey]) -> String {
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
    let now = SystemClock.now();
    for key in keys {
        let state = match key.revoked {
            Some(_) => "revoked",
            None if key.is_valid(now) => "valid",
            None => "expired",
        };
        let words = |words: &std::collections::BTreeSet<String>| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            words.join(" ")
        };
        table.add_row([
            key.name.clone(),
            key.id.clone(),
            state.to_owned(),
            words(&key.roles),
            words(&key.scopes),
            key.expires.map_or("never".to_owned(), time),
            key.last_used().map_or("never".to_owned(), time),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// RFC 3339, in whole seconds.
fn time(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |at| at.to_string())
}
