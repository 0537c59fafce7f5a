//! What is told of tools: once for each definition, and not without end.

use mcp_ultra_domain::{
    pinning::{Fingerprint, Mode, Standing},
    scan::{Finding, Severity, printable},
};

/// How many lines one reading of an upstream may write of each sort.
const MOST_LINES: usize = 20;
/// How much of a tool's name is written.
const LONGEST_NAME: usize = 200;

/// Tells of tools whose standing is another one than before.
pub(super) fn standings(server: &str, mode: Mode, all: &[(&str, Standing, Fingerprint)]) {
    let news = all
        .iter()
        .filter(|(_, standing, _)| *standing != Standing::Approved);
    for (tool, standing, fingerprint) in news.clone().take(MOST_LINES) {
        tracing::warn!(
            upstream = server,
            tool = name(tool),
            standing = standing.as_str(),
            held_back = mode.holds_back(*standing),
            fingerprint = fingerprint.short(),
            "nobody has agreed to this definition of a tool; `mcp-ultra tools pending` shows it"
        );
    }
    let more = news.count().saturating_sub(MOST_LINES);
    if more > 0 {
        tracing::warn!(
            upstream = server,
            more,
            "nobody has agreed to the definitions of more tools"
        );
    }
}

/// Tells of what the scan found.
pub(super) fn findings(server: &str, all: &[(&str, &Finding)]) {
    for (tool, finding) in all.iter().take(MOST_LINES) {
        let Finding {
            kind,
            severity,
            at,
            what,
        } = finding;
        tracing::warn!(
            upstream = server,
            tool = name(tool),
            severity = severity.as_str(),
            kind = kind.as_str(),
            at,
            what,
            "something was found in the definition of a tool"
        );
    }
    let more = all.len().saturating_sub(MOST_LINES);
    if more > 0 {
        let high = all.iter().filter(|(_, one)| one.severity == Severity::High);
        let high = high.count();
        tracing::warn!(
            upstream = server,
            more,
            high,
            "more was found in the definitions of tools"
        );
    }
}

fn name(tool: &str) -> String {
    printable(tool).chars().take(LONGEST_NAME).collect()
}
