//! What identity, policies and limits add to a call and to a list: one gateway for each way of
//! configuring them, all measured in turns beside one with nothing configured.

use std::{fmt::Write, path::Path};

use super::{
    Effort,
    children::{Extra, Gateway, Upstream},
    listing::{ECHOES, MANY_TOOLS, list_all, wait_for_tools},
    progress,
    sample::{Meter, Sample, Samples},
    standing::figure,
};
use crate::{
    error::{Error, Result},
    issuer::{Algorithm, Issuer},
    load,
    message::Address,
    report::{AccessRow, Figure, Verdict},
};

/// The most that all of it may add to a call, the token known, with 100 policies (µs).
const MOST_ADDED_US: f64 = 12.0;
/// The most that deciding by 10,000 policies may take, in times of deciding by 100.
const MOST_GROWTH: f64 = 3.0;
/// The most that filtering a list of 10,000 tools may take (ms).
const MOST_FILTERING_MS: f64 = 30.0;
/// The role of whoever calls. A policy speaks of it wherever there are more than a few.
const ROLE: &str = "team-007";
/// Principals whose first lists are measured, each told apart from the others by a policy.
const LISTERS: usize = 20;

/// Rates, quotas and concurrency of all that can have them, never reached.
pub(super) const LIMITS: &str = ", rates: { tenant: 1000000/s, principal: 1000000/s, tool: 1000000/s, \
                      server: 1000000/s }, quotas: { tenant: 4000000000, principal: 4000000000, \
                      tool: 4000000000 }, concurrency: { tenant: 100000, principal: 100000, \
                      server: 100000 }";

/// How the calls of a row are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// Without a token.
    Anonymous,
    /// All with one token.
    Known(Algorithm),
    /// Each with a token that was not seen before.
    New(Algorithm),
    /// All with one token that is bound to a key (`DPoP`), each with a proof of its own.
    Proved(Algorithm),
}

/// A way to configure a gateway.
struct Setup {
    tokens: bool,
    policies: Option<String>,
    limits: bool,
}

/// A row: what is measured, of which gateway, and how.
const ROWS: [(&str, usize, Calls); 12] = [
    ("nothing configured", 0, Calls::Anonymous),
    ("token (ES256), known", 1, Calls::Known(Algorithm::Es256)),
    ("token (RS256), known", 1, Calls::Known(Algorithm::Rs256)),
    ("token (ES256), new", 1, Calls::New(Algorithm::Es256)),
    ("token (RS256), new", 1, Calls::New(Algorithm::Rs256)),
    (
        "known token, proof (DPoP)",
        1,
        Calls::Proved(Algorithm::Es256),
    ),
    ("1 policy", 2, Calls::Anonymous),
    (FEW_POLICIES, 3, Calls::Anonymous),
    (MANY_POLICIES, 4, Calls::Anonymous),
    ("100 policies, kept answer", 5, Calls::Anonymous),
    ("limits", 6, Calls::Anonymous),
    (ALL, 7, Calls::Known(Algorithm::Es256)),
];
const FEW_POLICIES: &str = "100 policies";
const MANY_POLICIES: &str = "10,000 policies";
const ALL: &str = "known token, 100 policies, limits";

fn setups() -> [Setup; 8] {
    let with = |tokens, policies, limits| Setup {
        tokens,
        policies,
        limits,
    };
    [
        with(false, None, false),
        with(true, None, false),
        with(false, Some(policies(1, EACH_CALL)), false),
        with(false, Some(policies(100, EACH_CALL)), false),
        with(false, Some(policies(10_000, EACH_CALL)), false),
        with(false, Some(policies(100, KEPT)), false),
        with(false, None, true),
        with(true, Some(policies(100, EACH_CALL)), true),
    ]
}

/// A condition that has to be evaluated with each call.
const EACH_CALL: &str = "context.time.hour >= 0 && !resource.destructive || context has network";
/// One whose answer is the same for every call.
const KEPT: &str = "!resource.destructive || resource.openWorld";

/// This many policies, of which the first, and the last where there are several, are for whoever
/// calls; the others are for other roles and tools, as in an organisation of many teams.
fn policies(count: usize, condition: &str) -> String {
    let mut text = format!(
        "permit(principal, action in Action::\"tools\", resource in Server::\"bench\") when {{ {condition} }};\n"
    );
    for number in 2..count {
        let _ = writeln!(
            text,
            "permit(principal in Role::\"team-{number:03}\", action == Action::\"tools/call\", \
             resource == Tool::\"record_{number}\") when {{ {condition} }};"
        );
    }
    if count > 1 {
        let _ = writeln!(
            text,
            "forbid(principal, action, resource in DataClass::\"sensitive\") unless {{ principal.kind == Kind::\"user\" }};"
        );
    }
    text
}

/// The rows of calls.
pub(crate) async fn calls(binary: &Path, effort: &Effort) -> Result<Vec<AccessRow>> {
    let issuer = Issuer::start().await?;
    let upstream = Upstream::start(1, 0).await?;
    let mut gateways = Vec::new();
    for setup in setups() {
        gateways.push(start(binary, &upstream, &issuer, setup).await?);
    }
    let mut samples = Samples::of_rows(ROWS.len());
    for round in 0..effort.rounds {
        for step in 0..ROWS.len() {
            let at = (step + round) % ROWS.len();
            let (what, gateway, calls) = ROWS[at];
            progress(&format!("round {} of {}: {what}", round + 1, effort.rounds));
            let gateway = &mut gateways[gateway];
            let sample = turn(gateway, &issuer, calls, effort).await;
            gateway.still_there()?;
            samples[at].push(sample?);
        }
    }
    for gateway in gateways {
        gateway.stop().await;
    }
    upstream.stop().await;
    Ok(rows(&samples))
}

async fn start(
    binary: &Path,
    upstream: &Upstream,
    issuer: &Issuer,
    setup: Setup,
) -> Result<Gateway> {
    let extra = Extra {
        sections: if setup.tokens {
            issuer.section()
        } else {
            String::new()
        },
        limits: if setup.limits { LIMITS } else { "" },
        policies: setup.policies,
        ..Extra::default()
    };
    let mut gateway = Gateway::start_with(binary, upstream.ports(), &extra).await?;
    let token = setup
        .tokens
        .then(|| issuer.token(Algorithm::Es256, "ana", ROLE))
        .transpose()?;
    wait_for_tools(&mut gateway, token.as_deref(), ECHOES).await?;
    Ok(gateway)
}

async fn turn(gateway: &Gateway, issuer: &Issuer, calls: Calls, effort: &Effort) -> Result<Sample> {
    let to = Address::on(gateway.port());
    let mut plan = effort.small_calls(to.clone());
    let watched = gateway.watched();
    let mut meter = Meter::of(&watched);
    let mut at = |edge| meter.at(edge);
    let outcome = match calls {
        Calls::Anonymous => load::drive(&plan, &mut at).await?,
        Calls::Known(algorithm) => {
            plan.to = to.with(issuer.token(algorithm, "ana", ROLE)?);
            load::drive(&plan, &mut at).await?
        }
        Calls::New(algorithm) => {
            let callers: Result<Vec<Address>> = (0..effort.new_tokens)
                .map(|_| Ok(to.clone().with(issuer.token(algorithm, "ana", ROLE)?)))
                .collect();
            load::drive_each(&plan, callers?, &mut at).await?
        }
        Calls::Proved(algorithm) => {
            let token = issuer.bound_token(algorithm, "ana", ROLE)?;
            let callers: Result<Vec<Address>> = (0..effort.new_tokens)
                .map(|_| Ok(to.clone().with_proof(&token, issuer.proof(&token)?)))
                .collect();
            load::drive_each(&plan, callers?, &mut at).await?
        }
    };
    Ok(Sample::of(&[(meter.seconds(), outcome)]))
}

fn rows(samples: &[Samples]) -> Vec<AccessRow> {
    let added = |at: usize| samples[at].added_us(&samples[0]);
    let position = |name| ROWS.iter().position(|(what, ..)| *what == name);
    let few = position(FEW_POLICIES).and_then(added);
    let row = |(at, &(what, ..)): (usize, &(&'static str, usize, Calls))| {
        let added = added(at).filter(|_| at > 0);
        let verdict = match what {
            ALL => added.map(|added| {
                let target = format!("added CPU ≤ {MOST_ADDED_US:.0} µs");
                Verdict::new(target, added <= MOST_ADDED_US)
            }),
            MANY_POLICIES => added.zip(few).map(|(added, few)| {
                let target = format!("added CPU ≤ {MOST_GROWTH:.0} × that of 100");
                Verdict::new(target, added <= MOST_GROWTH * few)
            }),
            _ => None,
        };
        samples[at].row(what, added, verdict)
    };
    ROWS.iter().enumerate().map(row).collect()
}

/// The figures of lists.
pub(crate) async fn lists(binary: &Path) -> Vec<Figure> {
    let (first, again) = match filtering(binary).await {
        Ok((first, again)) => (Ok(first), Ok(again)),
        Err(error) => {
            let text = error.to_string();
            (
                Err(Error::Unusable(text.clone())),
                Err(Error::Unusable(text)),
            )
        }
    };
    vec![
        figure(
            "gateway: CPU to filter 10,000 tools, 100 policies",
            "ms",
            Some(MOST_FILTERING_MS),
            first,
        ),
        figure(
            "gateway: CPU to list what was filtered before",
            "ms",
            None,
            again,
        ),
    ]
}

/// For each of 100 roles what only reads, and some more; for everyone not what five policies
/// forbid by name. Seven conditions are evaluated for each tool.
fn list_policies() -> String {
    let mut text = String::new();
    for number in 1..=95 {
        let _ = writeln!(
            text,
            "permit(principal in Role::\"team-{number:03}\", action in Action::\"tools\", resource in Server::\"bench\") \
             when {{ resource.readOnly || resource.name like \"*_{number:02}*\" }};"
        );
    }
    for number in 1..=5 {
        let _ = writeln!(
            text,
            "forbid(principal, action in Action::\"tools\", resource) when {{ resource.name like \"archive_*_{number}*\" }};"
        );
    }
    text
}

/// The first list of a principal less the second, and the second.
async fn filtering(binary: &Path) -> Result<((f64, String), (f64, String))> {
    progress("filtering 10,000 tools");
    let issuer = Issuer::start().await?;
    let upstream = Upstream::start(1, MANY_TOOLS).await?;
    let extra = Extra {
        sections: issuer.section(),
        policies: Some(list_policies()),
        ..Extra::default()
    };
    let mut gateway = Gateway::start_with(binary, upstream.ports(), &extra).await?;
    let to = Address::on(gateway.port());
    let of = |number: usize| -> Result<Address> {
        let role = format!("team-{number:03}");
        Ok(to
            .clone()
            .with(issuer.token(Algorithm::Es256, "ana", &role)?))
    };
    let token = of(95)?.token;
    wait_for_tools(&mut gateway, token.as_deref(), MANY_TOOLS / 4).await?;
    let watched = gateway.watched();
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let mut listed = None;
    for number in 1..=LISTERS {
        let to = of(number)?;
        for times in [&mut first, &mut again] {
            let before = watched.cpu_seconds()?;
            listed = Some(list_all(&to).await?);
            times.push((watched.cpu_seconds()? - before) * 1e3);
        }
    }
    gateway.still_there()?;
    gateway.stop().await;
    upstream.stop().await;
    // Single lists are near the step of the clock: only their mean says something.
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let (first, again) = (mean(&first), mean(&again));
    let tools = listed.map_or(0, |listed| listed.tools);
    Ok((
        (
            (first - again).max(0.0),
            format!("first list of {LISTERS} roles less their second, 7 conditions a tool"),
        ),
        (again, format!("mean of {LISTERS} lists of {tools} tools")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_policies_as_were_asked_for() {
        for count in [1, 2, 100] {
            let text = policies(count, KEPT);
            assert_eq!(text.lines().count(), count);
        }
        assert_eq!(list_policies().lines().count(), 100);
    }

    #[test]
    fn every_row_has_a_gateway() {
        let setups = setups();
        for (what, at, calls) in ROWS {
            let needs_tokens = calls != Calls::Anonymous;
            assert_eq!(setups[at].tokens, needs_tokens, "{what}");
        }
    }
}
