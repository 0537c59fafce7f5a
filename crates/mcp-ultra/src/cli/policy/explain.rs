//! `mcp-ultra policy explain`.

use std::{io::Read, net::IpAddr, path::PathBuf, time::Duration};

use mcp_ultra_config::{ClaimPaths, Config};
use mcp_ultra_domain::{Clock as _, Principal, SystemClock, policy::Decision};
use serde_json::{Map, Value, json};

use super::{
    failure,
    request::{Around, Request, What, Who},
    source::PolicyArgs,
};
use crate::{
    cli::exit::{CommandResult, Failure, print},
    wiring::claim_paths,
};

/// Arguments of `policy explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: PolicyArgs,
    /// The time zone of `context.time` [default: that of --config, else UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The claims of a token (JSON): a file, or `-` for standard input. They are read as
    /// `auth.claims` of --config says for their issuer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "issuer", "tenant", "role", "scope", "kind", "acr", "amr", "auth_time"])]
    claims: Option<PathBuf>,
    /// Who asks: the subject
    #[arg(long)]
    subject: Option<String>,
    /// Who vouches for the subject
    #[arg(long)]
    issuer: Option<String>,
    /// The tenant of the subject
    #[arg(long)]
    tenant: Option<String>,
    /// A role of the subject; may be repeated
    #[arg(long)]
    role: Vec<String>,
    /// A scope of the subject's credential; may be repeated
    #[arg(long)]
    scope: Vec<String>,
    /// How strongly the subject logged in (the claim `acr`)
    #[arg(long)]
    acr: Option<String>,
    /// What the login was proven by, such as mfa (the claim `amr`); may be repeated
    #[arg(long)]
    amr: Vec<String>,
    /// When the subject logged in (the claim `auth_time`), such as 2026-11-02T12:30:00Z
    #[arg(long, value_name = "TIME")]
    auth_time: Option<String>,
    /// The kind of caller: user, agent, workload or anonymous
    #[arg(long)]
    kind: Option<String>,
    /// What is done: an MCP method, or an action of the admin API [default: the one that calls what is named]
    #[arg(long, value_name = "METHOD")]
    action: Option<String>,
    /// The tool, by its public name
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// The prompt, by its public name
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// The resource, by its public URI
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// The resource template, or one that the resource is of; may be repeated for a resource
    #[arg(long, value_name = "TEMPLATE")]
    template: Vec<String>,
    /// What is administered, by its id in policies: `tenant:NAME` or `gateway`
    #[arg(long, value_name = "ID")]
    administration: Option<String>,
    /// The server [default: what stands before the name]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// What it may hold: public, internal, confidential, personal or sensitive
    #[arg(long, value_name = "CLASS")]
    data_class: Option<String>,
    /// The tool states that it changes nothing
    #[arg(long)]
    read_only: bool,
    /// The arguments of the call (a JSON object)
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// The address that the call comes from
    #[arg(long)]
    address: Option<IpAddr>,
    /// The time of the call, such as 2026-11-02T12:30:00Z [default: now]
    #[arg(long)]
    time: Option<String>,
    /// Ask whether it is listed, instead of whether it may be called
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A request that makes no sense.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the request makes no sense: {0}")]
#[diagnostic(help("see `mcp-ultra policy explain --help`"))]
struct Senseless(String);

pub(super) async fn run(args: &Args) -> CommandResult {
    let read = args.source.read(args.time_zone.as_deref()).await?;
    let policies = read.policies.map_err(|errors| failure(&errors))?;
    let senseless = |problem| Failure::usage(Senseless(problem));
    let request = args.request(read.config.as_ref()).map_err(senseless)?;
    let decision = request.decide(&policies);
    if args.json {
        return print(&format!("{:#}", as_json(&decision, policies.revision())));
    }
    print(&in_words(&decision))
}

impl Args {
    fn request(&self, config: Option<&Config>) -> Result<Request, String> {
        let arguments = match &self.arguments {
            None => None,
            Some(text) => Some(
                serde_json::from_str::<Map<String, Value>>(text)
                    .map_err(|error| format!("--arguments is not a JSON object: {error}"))?,
            ),
        };
        let around = Around {
            time: self.time.clone(),
            address: self.address,
            arguments,
        };
        let now = around.now(SystemClock.now())?;
        let who = match &self.claims {
            Some(path) => of_claims(&claims(path)?, config, now)?,
            None => Who {
                kind: self.kind.clone(),
                subject: self.subject.clone(),
                issuer: self.issuer.clone(),
                tenant: self.tenant.clone(),
                roles: self.role.clone(),
                scopes: self.scope.clone(),
                acr: self.acr.clone(),
                amr: self.amr.clone(),
                auth_time: self.auth_time.clone(),
                authorization_details: None,
            }
            .principal()?,
        };
        let what = What {
            tool: self.tool.clone(),
            prompt: self.prompt.clone(),
            resource: self.resource.clone(),
            template: self.template.clone(),
            administration: self.administration.clone(),
            server: self.server.clone(),
            class: self.data_class.clone(),
            read_only: self.read_only.then_some(true),
            ..What::default()
        };
        let action = self.action.as_deref();
        Request::new(who, action, &what, &around, self.list, now)
    }
}

/// The principal of a token with these claims, as the gateway would have it at that time.
fn of_claims(claims: &Value, config: Option<&Config>, now: Duration) -> Result<Principal, String> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    let issuer = issuer.ok_or("--claims have no `iss`: who vouches for them")?;
    let none = ClaimPaths::default();
    let skew = config.map_or(Duration::ZERO, |config| config.auth.clock_skew.get());
    let paths = config.map_or(&none, |config| config.auth.claims_of(issuer));
    claim_paths(paths)
        .principal(claims, issuer, now.saturating_add(skew))
        .map_err(|_| "a gateway would refuse --claims: subject, tenant or kind is not there, or not as the configuration says".to_owned())
}

fn claims(path: &PathBuf) -> Result<Value, String> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|error| format!("--claims can't be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("--claims is not JSON: {error}"))
}

fn as_json(decision: &Decision, revision: &str) -> Value {
    let names = |names: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        names.map(str::to_owned).collect()
    };
    let failures: Vec<Value> = decision
        .failures
        .iter()
        .map(|failure| json!({ "policy": &*failure.policy, "reason": failure.reason }))
        .collect();
    json!({
        "decision": if decision.allowed { "allow" } else { "deny" },
        "policies": names(&mut decision.policies.iter().map(|name| &**name)),
        "failures": failures,
        "revision": revision,
    })
}

fn in_words(decision: &Decision) -> String {
    let list = |names: Vec<String>| names.join("\n  ");
    let policies = list(decision.policies.iter().map(ToString::to_string).collect());
    if !decision.failures.is_empty() {
        let failures = decision
            .failures
            .iter()
            .map(|failure| format!("{}: {}", failure.policy, failure.reason));
        return format!(
            "Denied: policies that can't be evaluated:\n  {}",
            list(failures.collect())
        );
    }
    match (decision.allowed, policies.is_empty()) {
        (true, _) => format!("Allowed by:\n  {policies}"),
        (false, true) => "Denied: no policy permits it.".to_owned(),
        (false, false) => format!("Denied by:\n  {policies}"),
    }
}
