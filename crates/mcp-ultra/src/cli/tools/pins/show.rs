//! How tools that wait are shown.

use mcp_ultra_control::pins::{ChangeView, PinView, segment};
use mcp_ultra_domain::scan::printable;

/// How much of a value is shown on its line.
const VALUE: usize = 300;

/// A tool with its findings and what differs, a line each.
pub(super) fn tool(pin: &PinView) -> String {
    let mut lines = vec![format!(
        "{}{}  {}{}",
        name(pin),
        if in_urls(pin) == name(pin) {
            String::new()
        } else {
            format!("  ({})", in_urls(pin))
        },
        pin.standing,
        match pin.gone_since {
            None => String::new(),
            Some(since) => format!(", not offered since {since}"),
        }
    )];
    if let Some(fingerprint) = &pin.fingerprint {
        lines.push(format!("  {fingerprint}"));
    }
    for finding in &pin.findings {
        lines.push(format!(
            "  ! {} {}: {}: {}",
            finding.severity, finding.at, finding.kind, finding.what
        ));
    }
    match &pin.changes {
        None => lines.push("  (too large to be shown)".to_owned()),
        Some(changes) => lines.extend(changes.iter().flat_map(change)),
    }
    lines.join("\n")
}

/// `SERVER/TOOL`, as `tools approve` takes it.
pub(super) fn name(pin: &PinView) -> String {
    printable(&format!("{}/{}", pin.server, pin.tool))
}

/// `SERVER/TOOL` as in URLs, where each tool has another one: what can't be typed can be named so.
pub(super) fn in_urls(pin: &PinView) -> String {
    format!("{}/{}", pin.server, segment(&pin.tool))
}

fn change(change: &ChangeView) -> Vec<String> {
    let at = printable(&change.at);
    let line = |sign: char, value: &String| {
        let value = printable(value);
        match value.char_indices().nth(VALUE) {
            Some((end, _)) => format!("  {sign} {at}: {}...", &value[..end]),
            None => format!("  {sign} {at}: {value}"),
        }
    };
    let before = change.before.as_ref().map(|value| line('-', value));
    let after = change.after.as_ref().map(|value| line('+', value));
    before.into_iter().chain(after).collect()
}
