//! The public conformance suite as the client of the gateway, with the fixture upstream behind it
//! under its own names: every scenario that a revision requires of a server, whichever eras the
//! upstream speaks.

use std::time::Duration;

use mcp_ultra_testkit::fixture::{Era, Options, http as fixture};
use serde_json::json;
use tokio::process::Command;

use crate::real_clients_installed::{Gateway, command, finish, node, package};

/// A whole set takes about 20 seconds.
const LIMIT: Duration = Duration::from_mins(5);
/// Scenarios that each set requires of a server (package version 0.2.0-alpha.12): fewer would mean
/// that the list was misread.
const OF_MODERN: usize = 37;
const OF_LEGACY: usize = 30;

/// The suite's command line.
pub(crate) fn suite() -> Command {
    let mut command = command(&node());
    command.arg(package("@modelcontextprotocol/conformance/dist/index.js"));
    command
}

/// The scenarios that `revision` requires under the heading that begins with `heading`.
pub(crate) async fn required(revision: &str, heading: &str) -> Vec<String> {
    let mut list = suite();
    list.args(["list", "--requirements", revision]);
    let listed = finish(list, Duration::from_mins(1)).await;
    assert_eq!(listed.code, Some(0), "{}", listed.text);
    let mut lines = listed.text.lines();
    assert!(
        lines.any(|line| line.starts_with(heading)),
        "no {heading:?} in {}",
        listed.text
    );
    lines
        .map_while(|line| line.trim_start().strip_prefix("- "))
        .map(ToOwned::to_owned)
        .collect()
}

/// Whether `output` says that the scenario passed at least one check and failed none.
fn passed(output: &str, scenario: &str) -> bool {
    let counts = output
        .lines()
        .find_map(|line| line.strip_prefix('✓')?.trim().strip_prefix(scenario))
        .and_then(|rest| rest.strip_prefix(": "));
    counts.is_some_and(|counts| !counts.starts_with("0 passed") && counts.ends_with(", 0 failed"))
}

async fn every_required_scenario_passes(revision: &str, count: usize, upstream: Era) {
    let required = required(revision, "Server scenarios").await;
    assert_eq!(required.len(), count, "{required:?}");
    let upstream = fixture::start(Options::new(upstream)).await.unwrap();
    let server = json!([{ "name": "fixture", "url": upstream.url(), "prefix": "none" }]);
    let gateway = Gateway::start(&server).await;
    let mut scenarios = suite();
    scenarios.args(["server", "--url", gateway.url(), "--requirements", revision]);
    let run = finish(scenarios, LIMIT).await;
    let missing: Vec<_> = required
        .iter()
        .filter(|scenario| !passed(&run.text, scenario))
        .collect();
    assert!(
        run.code == Some(0) && missing.is_empty(),
        "exit code {:?}, not passed: {missing:?}\n{}\nthe gateway's log:\n{}",
        run.code,
        run.text,
        gateway.log()
    );
}

#[test]
fn a_scenario_has_passed_only_with_a_check_and_without_a_failure() {
    let output = "✓ a: 2 passed, 0 failed\n✓ b: 0 passed, 0 failed\n✗ c: 1 passed, 1 failed\n";
    assert!(passed(output, "a"));
    assert!(!passed(output, "b") && !passed(output, "c") && !passed(output, "d"));
    assert!(!passed("✓ a-longer: 2 passed, 0 failed\n", "a"));
}

#[tokio::test]
async fn modern_through_to_a_modern_upstream() {
    every_required_scenario_passes("2026-07-28", OF_MODERN, Era::Modern).await;
}

#[tokio::test]
async fn modern_through_to_an_upstream_of_both_eras() {
    every_required_scenario_passes("2026-07-28", OF_MODERN, Era::Dual).await;
}

#[tokio::test]
async fn legacy_through_to_a_legacy_upstream() {
    every_required_scenario_passes("2025-11-25", OF_LEGACY, Era::Legacy).await;
}

#[tokio::test]
async fn legacy_translated_to_a_modern_upstream() {
    every_required_scenario_passes("2025-11-25", OF_LEGACY, Era::Modern).await;
}
