//! `mcp-ultra config validate`.

use serde_json::json;

use mcp_ultra_config::{Config, Loaded};
use mcp_ultra_domain::policy::PolicyErrors;

use super::{SourceArgs, load_failure, warn};
use crate::{
    cli::{
        exit::{CommandResult, Exit, Failure, print},
        policy,
    },
    wiring::{
        policy::{odd_about_admin, policies},
        secrets::LoadError,
    },
};

/// Arguments of `config validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Do not read the files of `policy.files`, which may not be at hand here
    #[arg(long)]
    without_policies: bool,
}

/// Loads the configuration and its policies as the gateway would, and says what came of it.
pub(super) async fn run(args: &Args) -> CommandResult {
    match args.source.load().await {
        Ok(loaded) => match args.checked(&loaded.config) {
            Ok(odd) => valid(args, &loaded, odd.as_deref()),
            Err(errors) if args.source.json => {
                let problems: Vec<_> = errors.0.iter().map(policy::as_json).collect();
                invalid(&json!(problems))
            }
            Err(errors) => Err(policy::failure(&errors)),
        },
        Err(LoadError::Config(error)) if args.source.json => invalid(&json!(error.problems())),
        Err(error) => Err(load_failure(error)),
    }
}

impl Args {
    /// What is odd about the policies, where there are any.
    fn checked(&self, config: &Config) -> Result<Option<String>, PolicyErrors> {
        if self.without_policies {
            return Ok(None);
        }
        let policies = policies(&config.policy)?;
        let administered = policies.filter(|_| config.admin.port.is_some());
        Ok(administered.and_then(|policies| odd_about_admin(&policies)))
    }
}

fn valid(args: &Args, loaded: &Loaded, odd: Option<&str>) -> CommandResult {
    if args.source.json {
        let mut warnings = vec![];
        warnings.extend(loaded.warnings.iter().map(|warning| json!(warning)));
        warnings.extend(odd.map(|message| json!({ "message": message, "help": null })));
        let said = json!({ "valid": true, "problems": [], "warnings": warnings });
        return print(&format!("{said:#}"));
    }
    warn(&loaded.warnings);
    if let Some(odd) = odd {
        eprintln!("warning: {odd}");
    }
    let servers = loaded.config.servers.len();
    let plural = if servers == 1 { "" } else { "s" };
    print(&format!(
        "The configuration is valid: {servers} server{plural}."
    ))
}

fn invalid(problems: &serde_json::Value) -> CommandResult {
    let said = json!({ "valid": false, "problems": problems, "warnings": [] });
    print(&format!("{said:#}"))?;
    Err(Failure {
        exit: Exit::Usage,
        report: None,
    })
}
