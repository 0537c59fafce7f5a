//! `mcp-ultra policy test`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mcp_ultra_domain::policy::{Decision, Policies};
use serde::Deserialize;

use super::{
    compile, failure,
    request::{Around, Request, What, Who},
    source::flags_of,
};
use crate::cli::exit::{CommandResult, Failure, print};

/// Arguments of `policy test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files of cases (YAML)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    /// Files and folders of policies, from the folder of this file.
    policies: Vec<PathBuf>,
    /// Files and folders of flags that the policies read, from the folder of this file.
    #[serde(default)]
    flags: Vec<PathBuf>,
    /// The time zone of `context.time`.
    #[serde(default)]
    time_zone: Option<String>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    principal: Who,
    /// An MCP method, or an action of the admin API. Without it: the one that calls the resource.
    #[serde(default)]
    action: Option<String>,
    resource: What,
    #[serde(default)]
    context: Around,
    /// Whether it is to be listed, instead of called.
    #[serde(default)]
    list: bool,
    expect: Expected,
    /// The policies that decide, by name and in any order.
    #[serde(default)]
    by: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

/// A file of cases that can't be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{file}: {problem}")]
#[diagnostic(help("docs/policies has examples of such files"))]
struct Unusable {
    file: String,
    problem: String,
}

pub(super) fn run(args: &Args) -> CommandResult {
    let mut failed = 0;
    let mut count = 0;
    for file in &args.files {
        let suite = read(file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let within = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().map(|path| folder.join(path)).collect()
        };
        let flags = flags_of(&within(&suite.flags))?;
        let policies = compile(&within(&suite.policies), suite.time_zone.as_deref(), flags)
            .map_err(|errors| failure(&errors))?;
        for case in &suite.cases {
            let found = case.run(&policies).map_err(|problem| {
                let problem = format!("the case \"{}\": {problem}", case.name);
                unusable(file, problem)
            })?;
            count += 1;
            if let Some(difference) = found {
                failed += 1;
                print(&format!(
                    "FAILED {}: {}: {difference}",
                    file.display(),
                    case.name
                ))?;
            }
        }
    }
    let noun = if count == 1 { "case" } else { "cases" };
    print(&format!("{count} {noun}, {failed} failed."))?;
    if failed > 0 {
        return Err(Failure::told());
    }
    Ok(())
}

fn unusable(file: &Path, problem: String) -> Failure {
    Failure::usage(Unusable {
        file: file.display().to_string(),
        problem,
    })
}

fn read(file: &Path) -> Result<Suite, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| unusable(file, format!("the file can't be read: {error}")))?;
    serde_saphyr::from_str(&text).map_err(|error| unusable(file, error.to_string()))
}

impl Case {
    /// What differs from what is expected, in words; `None` where nothing does.
    fn run(&self, policies: &Policies) -> Result<Option<String>, String> {
        // Without a time in the case it is a fixed one, so that a test says the same every day.
        let now = Duration::from_hours(24);
        let action = self.action.as_deref();
        let request = Request::new(
            self.principal.principal()?,
            action,
            &self.resource,
            &self.context,
            self.list,
            now,
        )?;
        let decision = request.decide(policies);
        let expected = self.expect == Expected::Allow;
        if decision.allowed != expected {
            let said = |allowed| if allowed { "allow" } else { "deny" };
            return Ok(Some(format!(
                "expected {}, found {}{}",
                said(expected),
                said(decision.allowed),
                grounds(&decision)
            )));
        }
        let Some(by) = &self.by else {
            return Ok(None);
        };
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let found = sorted(decision.policies.iter().map(ToString::to_string).collect());
        if sorted(by.clone()) != found {
            return Ok(Some(format!(
                "expected it by {by:?}, found it by {found:?}"
            )));
        }
        Ok(None)
    }
}

fn grounds(decision: &Decision) -> String {
    let failures: Vec<String> = decision
        .failures
        .iter()
        .map(|failure| format!("{} ({})", failure.policy, failure.reason))
        .collect();
    if !failures.is_empty() {
        return format!(": {} can't be evaluated", failures.join(", "));
    }
    if decision.policies.is_empty() {
        return ": no policy permits it".to_owned();
    }
    format!(" by {}", decision.policies.join(", "))
}
