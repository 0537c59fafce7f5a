//! What a decision costs, in CPU time: with 1, 100 and 10,000 policies, by the index and by Cedar
//! with the whole set; and what it costs to filter a list of 10,000 tools.
//!
//! `cargo run --release -p mcp-ultra-domain --example policy_cost`

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement that can't be made has no result"
)]

use std::{fmt::Write, hint::black_box, str::FromStr};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request, Schema};
use mcp_ultra_domain::{
    Attributes, Principal, PrincipalKind,
    policy::{
        Action, Annotations, Ask, Circumstances, DataClass, Lister, Policies, Resource, SCHEMA,
        Source, Target,
    },
};

const TYPES: &str = "type Arguments = { amount?: Long };";

/// A set as organisations have them: most policies let a role use a server or a tool, each fifth
/// has a condition, and one holds for all.
fn policies(count: usize) -> String {
    let mut text = String::from(
        "forbid(principal, action == Action::\"tools/call\", resource in DataClass::\"sensitive\")\n  unless { principal.roles.contains(\"privacy\") };\n",
    );
    for at in 1..count {
        let (role, server) = (at / 5, at % 10);
        let condition = match at % 5 {
            0 => " when { resource.readOnly || principal.tenant == \"acme\" }",
            _ => "",
        };
        let resource = match at % 3 {
            0 => format!("resource in Server::\"s{server}\""),
            1 => format!("resource == Tool::\"s{server}_t{at}\""),
            _ => format!("resource is Tool in Server::\"s{server}\""),
        };
        writeln!(
            text,
            "permit(principal in Role::\"r{role}\", action == Action::\"tools/call\", {resource}){condition};"
        )
        .unwrap();
    }
    text
}

/// A set of policies that all have a condition and fit every tool of one role, so that no index
/// helps; `by_name` makes each tool one of its own for them.
fn conditions(count: usize, by_name: bool) -> String {
    let mut text = String::new();
    for at in 0..count {
        let condition = if by_name {
            format!("resource.name like \"s{at}_*\"")
        } else {
            format!("resource.server == Server::\"s{at}\"")
        };
        writeln!(
            text,
            "permit(principal in Role::\"r1\", action, resource is Tool) when {{ resource has readOnly && resource.readOnly && {condition} }};"
        )
        .unwrap();
    }
    text
}

fn compile(text: &str) -> Policies {
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    Policies::compile(
        &[source("p.cedar", text), source("t.cedarschema", TYPES)],
        None,
    )
    .unwrap()
}

fn principal() -> Principal {
    let mut attributes = Attributes::new(PrincipalKind::User, "acme", "https://idp", "ana");
    attributes.roles = ["r1", "r2", "staff"].map(ToOwned::to_owned).into();
    attributes.into()
}

fn tools(count: usize) -> Vec<Resource> {
    (0..count)
        .map(|at| {
            let server = format!("s{}", at % 10);
            let annotations = Annotations {
                read_only: at % 2 == 0,
                ..Annotations::default()
            };
            Resource::new(
                Target::Tool(annotations),
                format!("{server}_t{at}").into(),
                server.into(),
                DataClass::Internal,
            )
        })
        .collect()
}

/// The CPU time of this thread in nanoseconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The least of several runs, in nanoseconds a turn.
fn nanoseconds(turns: usize, mut run: impl FnMut(usize)) -> f64 {
    (0..5)
        .map(|_| {
            let began = cpu();
            (0..turns).for_each(&mut run);
            (cpu() - began) / turns as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// Cedar's own authorizer with all policies.
fn whole(text: &str, turns: usize) -> f64 {
    let schema = Schema::from_cedarschema_str(&format!("{SCHEMA}\n{TYPES}\ntype Flags = {{}};"))
        .unwrap()
        .0;
    let set = PolicySet::from_str(text).unwrap();
    let entities = serde_json::json!([
        {"uid": {"type": "Principal", "id": "https://idp|ana"},
         "parents": [{"type": "Tenant", "id": "acme"}, {"type": "Role", "id": "r1"}, {"type": "Role", "id": "r2"}],
         "attrs": {"kind": {"__entity": {"type": "Kind", "id": "user"}}, "subject": "ana", "issuer": "https://idp",
                   "tenant": "acme", "roles": ["r1", "r2"], "scopes": []}},
        {"uid": {"type": "Tool", "id": "s2_t12"},
         "parents": [{"type": "Server", "id": "s2"}, {"type": "DataClass", "id": "internal"}],
         "attrs": {"name": "s2_t12", "server": {"__entity": {"type": "Server", "id": "s2"}},
                   "dataClass": {"__entity": {"type": "DataClass", "id": "internal"}},
                   "readOnly": true, "destructive": false, "idempotent": false, "openWorld": true}},
    ]);
    let entities = Entities::from_json_value(entities, Some(&schema)).unwrap();
    let uid = |text: &str| EntityUid::from_str(text).unwrap();
    let request = Request::new(
        uid("Principal::\"https://idp|ana\""),
        uid("Action::\"tools/call\""),
        uid("Tool::\"s2_t12\""),
        Context::empty(),
        None,
    )
    .unwrap();
    let authorizer = Authorizer::new();
    nanoseconds(turns, |_| {
        black_box(authorizer.is_authorized(&request, &set, &entities));
    })
}

fn line(name: &str, text: &str, tools: &[Resource]) {
    let who = principal();
    let nothing = Circumstances::default();
    let set = compile(text);
    let standing = set.standing(&who);
    let one = |tool: &Resource| {
        black_box(set.decide(&standing, Action::ToolsCall, tool, Ask::Call, &nothing));
    };
    // Tools of all servers, so that different policies fit.
    let decision = nanoseconds(200_000, |turn| one(&tools[turn % 100]));
    let standings = nanoseconds(50_000, |_| {
        black_box(set.standing(&who));
    });
    let turns = if set.len() > 1_000 { 20 } else { 2_000 };
    let whole = whole(text, turns);
    let list = (0..3)
        .map(|_| {
            let tools = tools.to_vec();
            // As the gateway does when it has read a catalog.
            for tool in &tools {
                set.prepare(tool);
            }
            let began = cpu();
            let mut lister = Lister::new(&set, &standing, nothing);
            let listed = tools
                .iter()
                .filter(|tool| lister.shows(Action::ToolsCall, tool).allowed);
            black_box(listed.count());
            cpu() - began
        })
        .fold(f64::INFINITY, f64::min);
    println!(
        "{name:>20}  {:>8.2}  {:>8.2}  {:>10.2}  {:>9.2}",
        decision / 1e3,
        standings / 1e3,
        whole / 1e3,
        list / 1e6
    );
}

fn main() {
    let tools = tools(10_000);
    println!("CPU time; decisions in µs, the list of 10,000 tools in ms");
    println!(
        "{:>20}  {:>8}  {:>8}  {:>10}  {:>9}",
        "policies", "decision", "standing", "whole set", "list cold"
    );
    for count in [1, 100, 10_000] {
        line(&count.to_string(), &policies(count), &tools);
    }
    for count in [1, 5, 20] {
        line(
            &format!("{count} with conditions"),
            &conditions(count, false),
            &tools,
        );
    }
    for count in [1, 5, 20] {
        line(
            &format!("{count} by name"),
            &conditions(count, true),
            &tools,
        );
    }
}
