//! What is said about a file that can't be used: where, what, and what would be right.

mod access;
mod form;
mod messaging;
mod production;
mod storage;
mod values;

use mcp_ultra_config::load_str;

/// The lines of the error for a text, without the name of the file.
fn refuse(text: &str) -> Vec<String> {
    let error = load_str(text, "c.yaml").expect_err(text);
    let line = |problem: &mcp_ultra_config::Problem| problem.to_string().replace("c.yaml:", "");
    error.problems().iter().map(line).collect()
}

/// Each text has exactly one problem, and this is it.
fn refused_with(cases: &[(&str, &str)]) {
    let found: Vec<String> = cases
        .iter()
        .map(|(text, _)| refuse(text).join("\n"))
        .collect();
    let expected: Vec<&str> = cases.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(found, expected);
}
