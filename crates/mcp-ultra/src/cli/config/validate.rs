//! `mcp-ultra config validate`.

use serde_json::{Value, json};

use mcp_ultra_config::{Config, Loaded};
use mcp_ultra_domain::{flags::FlagErrors, policy::PolicyErrors, registry::Registry};

use super::{SourceArgs, load_failure, warn};
use crate::{
    cli::{
        self,
        exit::{CommandResult, Exit, Failure, print},
        policy,
    },
    wiring::{
        flags::{flags, odd_about_switches},
        policy::{odd_about_admin, policies},
        secrets::LoadError,
    },
};

/// Arguments of `config validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Do not read the files of `policy.files` and `flags.files`, which may not be at hand here
    #[arg(long)]
    without_policies: bool,
}

/// Loads the configuration, its policies and its flags as the gateway would, and says what came of it.
pub(super) async fn run(args: &Args) -> CommandResult {
    match args.source.load().await {
        Ok(loaded) => match args.checked(&loaded.config) {
            Ok(odd) => valid(args, &loaded, &odd),
            Err(errors) if args.source.json => invalid(&errors.as_json()),
            Err(errors) => Err(errors.failure()),
        },
        Err(LoadError::Config(error)) if args.source.json => invalid(&json!(error.problems())),
        Err(error) => Err(load_failure(error)),
    }
}

impl Args {
    /// What is odd about the policies and flags, where there are any.
    fn checked(&self, config: &Config) -> Result<Vec<String>, Errors> {
        if self.without_policies {
            return Ok(Vec::new());
        }
        let nothing = Registry::default();
        let flags = flags(&config.flags, &nothing).map_err(Errors::Flags)?;
        let policies = policies(&config.policy, flags.as_ref(), &nothing);
        let policies = policies.map_err(Errors::Policies)?;
        let administered = policies.filter(|_| config.admin.port.is_some());
        let odd = administered.and_then(|policies| odd_about_admin(&policies));
        let switches = flags.and_then(|flags| odd_about_switches(&flags, config));
        Ok(odd.into_iter().chain(switches).collect())
    }
}

/// What is wrong with files that the configuration names.
enum Errors {
    Flags(FlagErrors),
    Policies(PolicyErrors),
}

impl Errors {
    fn as_json(&self) -> Value {
        match self {
            Self::Flags(errors) => errors.0.iter().map(cli::flags::as_json).collect(),
            Self::Policies(errors) => errors.0.iter().map(policy::as_json).collect(),
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Flags(errors) => cli::flags::failure(errors),
            Self::Policies(errors) => policy::failure(errors),
        }
    }
}

fn valid(args: &Args, loaded: &Loaded, odd: &[String]) -> CommandResult {
    if args.source.json {
        let mut warnings = vec![];
        warnings.extend(loaded.warnings.iter().map(|warning| json!(warning)));
        warnings.extend(
            odd.iter()
                .map(|message| json!({ "message": message, "help": null })),
        );
        let said = json!({ "valid": true, "problems": [], "warnings": warnings });
        return print(&format!("{said:#}"));
    }
    warn(&loaded.warnings);
    for odd in odd {
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
