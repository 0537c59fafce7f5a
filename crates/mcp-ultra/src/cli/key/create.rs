//! `mcp-ultra key create`.

use std::time::Duration;

use clap::ValueEnum;
use mcp_ultra_config::Period;
use mcp_ultra_control::keys::NewKey;
use mcp_ultra_domain::{Clock, PrincipalKind, SystemClock};

use super::{Common, show};
use crate::cli::exit::CommandResult;

/// Arguments of `key create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to call it: unique among the keys of the tenant
    name: String,
    #[command(flatten)]
    common: Common,
    /// A role of whoever holds the key; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A scope of whoever holds the key; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Who holds the key
    #[arg(long, value_enum, default_value_t = Kind::Agent)]
    kind: Kind,
    /// How long it lasts, such as 12h or 90d; `never` for a key without an end
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    expires: Lifetime,
}

/// Who holds a key.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A person
    User,
    /// A program that acts on its own account or for a person
    Agent,
    /// A service
    Workload,
}

/// How long a key lasts; `None` for ever.
#[derive(Debug, Clone, Copy)]
struct Lifetime(Option<Duration>);

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime(None));
    }
    let period: Period = text.parse()?;
    if period.is_zero() {
        return Err("a key that lasts no time is of no use".to_owned());
    }
    Ok(Lifetime(Some(period.get())))
}

/// Makes a key and shows it.
pub(super) async fn run(args: Args) -> CommandResult {
    let desk = args.common.open().await?;
    let expires = args.expires.0;
    let new = NewKey {
        tenant: String::new(),
        name: args.name,
        kind: match args.kind {
            Kind::User => PrincipalKind::User,
            Kind::Agent => PrincipalKind::Agent,
            Kind::Workload => PrincipalKind::Workload,
        },
        roles: args.roles,
        scopes: args.scopes,
        expires: expires.map(|time| SystemClock.now().saturating_add(time)),
    };
    let made = desk.create(new).await?;
    desk.close().await;
    show::secret(&made, "made", args.common.json)
}
