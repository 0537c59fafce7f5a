//! What feature flags cost a call: kill switches of several kinds, and a policy that reads a flag.
//!
//! ```sh
//! cargo run --release -p mcp-ultra-domain --example flags_cost
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that can't be made has no result"
)]

use std::{hint::black_box, sync::Arc, time::Duration, time::Instant};

use mcp_ultra_domain::{
    Attributes, Principal, PrincipalKind,
    flags::{Flags, Source, Switches},
    policy::{
        Action, Annotations, Ask, Circumstances, DataClass, Policies, Resource, Source as Policy,
        Target,
    },
};

const CALLS: usize = 1_000_000;

/// So many switches of other tools besides, and one with this rule for the tool that is called.
fn flags(others: usize, rule: &str) -> Arc<Flags> {
    let flag = |rule: &str| {
        format!(
            r#"{{"state": "ENABLED", "variants": {{"on": true, "off": false}}, "defaultVariant": "on", "targeting": {rule}}}"#
        )
    };
    let mut all = vec![format!("\"tool.crm_find.enabled\": {}", flag(rule))];
    for at in 0..others {
        all.push(format!("\"tool.other_{at}.enabled\": {}", flag("{}")));
    }
    let text = format!(
        r#"{{"metadata": {{"owner": "ops", "expires": "2030-01-01"}}, "flags": {{{}}}}}"#,
        all.join(",")
    );
    let name = "flags.json".to_owned();
    Arc::new(Flags::read(&[Source { name, text }]).unwrap())
}

fn tool(name: &'static str) -> Resource {
    let target = Target::Tool(Annotations::default());
    let name = bytestring::ByteString::from_static(name);
    Resource::new(target, name, "crm".into(), DataClass::Internal)
}

fn principal() -> Principal {
    let mut attributes = Attributes::new(
        PrincipalKind::User,
        "acme",
        "https://login.example.com",
        "5c3d8535-f81a-4478-a6d3-afaa4d51199e",
    );
    attributes.roles = ["reader", "support"].map(ToOwned::to_owned).into();
    attributes.into()
}

fn measure(what: &str, calls: usize, mut call: impl FnMut() -> bool) {
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    let nanos = begun.elapsed().as_nanos() / calls as u128;
    println!("{nanos:>6} ns  {what}");
}

fn main() {
    let (find, list, who) = (tool("crm_find"), tool("crm_list"), principal());
    let now = Duration::from_secs(1_700_000_000);
    let none: Option<Arc<Switches>> = black_box(None);
    measure("no switches", CALLS, || {
        none.as_ref()
            .is_none_or(|switches| switches.off(&find, &who, now).is_none())
    });
    for (what, rule) in [
        ("a switch without rules", "{}"),
        (
            "by tenant",
            r#"{"if": [{"==": [{"var": "tenant"}, "evil"]}, "off"]}"#,
        ),
        (
            "by role",
            r#"{"if": [{"in": ["admin", {"var": "roles"}]}, "off"]}"#,
        ),
        (
            "by share of callers",
            r#"{"fractional": [["on", 90], ["off", 10]]}"#,
        ),
    ] {
        let switches = Switches::of(&flags(10_000 - 1, rule)).unwrap();
        measure(&format!("10,000 switches, {what}"), CALLS, || {
            switches.off(&find, &who, now).is_none()
        });
        if rule == "{}" {
            measure("10,000 switches, none of this tool", CALLS, || {
                switches.off(&list, &who, now).is_none()
            });
        }
    }
    for (what, condition) in [
        (
            "a policy that asks for the tenant",
            "principal.tenant == \"acme\"",
        ),
        (
            "a policy that reads a flag",
            "context.flags[\"tool.crm_find.enabled\"]",
        ),
    ] {
        let text = format!(
            "permit(principal, action in Action::\"tools\", resource) when {{ {condition} }};"
        );
        let name = "p.cedar".to_owned();
        let policies =
            Policies::compile_with_flags(&[Policy { name, text }], None, Some(flags(0, "{}")));
        let policies = policies.unwrap();
        let standing = policies.standing(&who);
        policies.prepare(&find);
        measure(
            &format!("{what}, where its answer is not kept"),
            CALLS / 10,
            || {
                let around = Circumstances::default();
                let verdict =
                    policies.decide(&standing, Action::ToolsCall, &find, Ask::Call, &around);
                verdict.decision.allowed
            },
        );
    }
}
