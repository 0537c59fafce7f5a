//! `mcp-ultra flags eval`.

use std::time::Duration;

use mcp_ultra_domain::{
    Clock as _, Principal, SystemClock,
    flags::{ATTRIBUTES, Details, FlagContext, FlagValue},
    policy::Resource,
};
use serde_json::{Map, Value, json};

use super::{failure, source::FlagArgs};
use crate::cli::{
    exit::{CommandResult, Failure, print},
    policy::{Around, What, Who},
};

/// Arguments of `flags eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The flag
    key: String,
    #[command(flatten)]
    source: FlagArgs,
    /// Who calls, as policies name it: issuer, `|` and subject [default: an anonymous caller]
    #[arg(long, value_name = "ISSUER|SUBJECT")]
    principal: Option<String>,
    /// The tenant of the caller
    #[arg(long)]
    tenant: Option<String>,
    /// A role of the caller; may be repeated
    #[arg(long)]
    role: Vec<String>,
    /// A scope of the caller's credential; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// The kind of caller: user, agent, workload or anonymous
    #[arg(long)]
    kind: Option<String>,
    /// The tool that is called, by its public name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["prompt", "resource"])]
    tool: Option<String>,
    /// The prompt that is asked for, by its public name
    #[arg(long, value_name = "NAME", conflicts_with = "resource")]
    prompt: Option<String>,
    /// The resource that is read, by its public URI
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// The server of it [default: what stands before the name]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// An attribute that the gateway does not have, for rules that other programs share; a JSON
    /// value, or a text; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<String>,
    /// The time of the call, such as 2026-11-02T12:30:00Z [default: now]
    #[arg(long)]
    time: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A question that makes no sense.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the question makes no sense: {0}")]
#[diagnostic(help("see `mcp-ultra flags eval --help`"))]
struct Senseless(String);

pub(super) async fn run(args: &Args) -> CommandResult {
    let read = args.source.read().await?;
    let flags = read.flags.map_err(|errors| failure(&errors))?;
    let asked = args
        .asked()
        .map_err(|problem| Failure::usage(Senseless(problem)))?;
    let context = FlagContext {
        principal: &asked.principal,
        target: asked.target.as_ref(),
        now: asked.now,
        attributes: Some(&asked.attributes),
    };
    let details = flags.evaluate(&args.key, &context);
    if args.json {
        print(&format!("{:#}", as_json(&args.key, &details)))?;
    } else {
        print(&in_words(&args.key, &details))?;
    }
    match details.error {
        None => Ok(()),
        Some(_) => Err(Failure::told()),
    }
}

/// What a flag is evaluated for.
struct Asked {
    principal: Principal,
    target: Option<Resource>,
    now: Duration,
    attributes: Map<String, Value>,
}

impl Args {
    fn asked(&self) -> Result<Asked, String> {
        let around = Around {
            time: self.time.clone(),
            ..Around::default()
        };
        let what = What {
            tool: self.tool.clone(),
            prompt: self.prompt.clone(),
            resource: self.resource.clone(),
            server: self.server.clone(),
            ..What::default()
        };
        let names = [&self.tool, &self.prompt, &self.resource];
        let is_named = names.into_iter().any(Option::is_some);
        if self.server.is_some() && !is_named {
            return Err("--server is of a --tool, a --prompt or a --resource".to_owned());
        }
        let attributes = self.attribute.iter().map(|text| attribute(text));
        Ok(Asked {
            principal: self.principal()?,
            target: is_named.then(|| what.resource()).transpose()?,
            now: around.now(SystemClock.now())?,
            attributes: attributes.collect::<Result<_, String>>()?,
        })
    }

    fn principal(&self) -> Result<Principal, String> {
        let parts = self.principal.as_deref().map(|id| {
            let parts = id.split_once('|');
            parts.ok_or_else(|| format!("\"{id}\" is no issuer and subject with a | between them"))
        });
        let parts = parts.transpose()?;
        let issuer = parts.map(|(issuer, _)| issuer.replace("%7C", "|").replace("%25", "%"));
        Who {
            kind: self.kind.clone(),
            subject: parts.map(|(_, subject)| subject.to_owned()),
            issuer,
            tenant: self.tenant.clone(),
            roles: self.role.clone(),
            scopes: self.scope.clone(),
            ..Who::default()
        }
        .principal()
    }
}

/// An attribute as it stands on the command line.
fn attribute(text: &str) -> Result<(String, Value), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or_else(|| format!("\"{text}\" is no NAME=VALUE"))?;
    if ATTRIBUTES.iter().any(|(known, _)| *known == name) {
        return Err(format!(
            "\"{name}\" is an attribute of the gateway's own, which has an option or none"
        ));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

fn as_json(key: &str, details: &Details<'_>) -> Value {
    let value = details.value.map(FlagValue::to_json);
    json!({
        "flagKey": key,
        "value": value,
        "variant": details.variant,
        "reason": details.reason.as_str(),
        "errorCode": details.error.map(mcp_ultra_domain::flags::ErrorCode::as_str),
    })
}

fn in_words(key: &str, details: &Details<'_>) -> String {
    let reason = details.reason.as_str();
    match (details.value, details.error) {
        (Some(value), _) => {
            let variant = details.variant.unwrap_or_default();
            format!("{value}\nvariant: {variant}\nreason: {reason}")
        }
        (None, Some(error)) => format!(
            "{key} has no value.\nreason: {reason}\nerror: {}",
            error.as_str()
        ),
        (None, None) => format!(
            "{key} has no value: who asks takes what it would do without the flag.\nreason: {reason}"
        ),
    }
}
