//! The gateway as the client of the conformance suite's own servers: the suite starts a server, our
//! `conformance-client` starts the gateway in front of it and makes the calls, and the suite judges
//! what the gateway sent.
//!
//! Scenarios run one by one: the requirement sets also name those of authorization, which is not the
//! gateway's to answer towards upstreams yet.

use std::{path::PathBuf, time::Duration};

use crate::{
    conformance::{required, suite},
    real_clients_installed::finish,
};

/// For one scenario; they take one to three seconds.
const LIMIT: Duration = Duration::from_mins(1);

const LEGACY: [&str; 4] = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
];
const MODERN: [&str; 7] = [
    "tools_call",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
];

/// The client of the testkit, which cargo builds beside the gateway.
fn driver() -> PathBuf {
    let driver =
        PathBuf::from(env!("CARGO_BIN_EXE_mcp-ultra")).with_file_name("conformance-client");
    assert!(
        driver.exists(),
        "{} is missing: run `cargo build -p mcp-ultra-testkit`",
        driver.display()
    );
    driver
}

/// Whether the suite's last lines say that checks were made and all passed, without a warning.
fn passed(output: &str) -> bool {
    let all = output.lines().any(|line| {
        let counts = line.strip_prefix("Passed: ").unwrap_or_default();
        let Some((passed, rest)) = counts.split_once('/') else {
            return false;
        };
        passed != "0" && rest == format!("{passed}, 0 failed, 0 warnings")
    });
    all && output.lines().any(|line| line.ends_with("OVERALL: PASSED"))
}

async fn every_required_scenario_passes(revision: &str, expected: &[&str]) {
    let mut required = required(revision, "Client scenarios").await;
    required.retain(|scenario| !scenario.starts_with("auth/"));
    assert_eq!(required, expected);
    let driver = driver();
    let mut failed = Vec::new();
    for scenario in &required {
        let mut run = suite();
        run.args(["client", "--scenario", scenario])
            .args(["--spec-version", revision])
            // The set decides what runs, not the revision at which a scenario was introduced.
            .arg("--force")
            .arg("--command")
            .arg(&driver)
            .env("MCP_ULTRA_BIN", env!("CARGO_BIN_EXE_mcp-ultra"));
        let run = finish(run, LIMIT).await;
        if run.code != Some(0) || !passed(&run.text) {
            failed.push(format!(
                "{scenario}: exit code {:?}
{}",
                run.code, run.text
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_scenario_has_passed_only_with_checks_and_without_failures_or_warnings() {
    let output = |counts: &str| format!("Test Results:\n{counts}\n\n✅ OVERALL: PASSED\n");
    assert!(passed(&output("Passed: 5/5, 0 failed, 0 warnings")));
    assert!(!passed(&output("Passed: 0/0, 0 failed, 0 warnings")));
    assert!(!passed(&output("Passed: 4/5, 0 failed, 1 warnings")));
    assert!(!passed("Passed: 5/5, 0 failed, 0 warnings\n"));
    assert!(!passed(""));
}

#[tokio::test]
async fn towards_legacy_servers() {
    every_required_scenario_passes("2025-11-25", &LEGACY).await;
}

#[tokio::test]
async fn towards_modern_servers() {
    every_required_scenario_passes("2026-07-28", &MODERN).await;
}
