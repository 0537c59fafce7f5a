//! Policies that read flags.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Principal,
    flags::Flags,
    policy::{
        Action, Annotations, Ask, Circumstances, DataClass, Lister, Policies, Resource, Source,
        Target, WithTime,
    },
};

use crate::flags::{caller, source as flag_source};

const FLAGS: &str = r#"{
  "metadata": { "owner": "ops", "expires": "2030-01-01" },
  "flags": {
    "new-search": {
      "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
      "targeting": { "if": [{ "in": ["pilot", { "var": "roles" }] }, "on"] }
    },
    "of.tool": {
      "state": "ENABLED", "variants": { "yes": "yes", "no": "no" }, "defaultVariant": "no",
      "targeting": { "if": [{ "starts_with": [{ "var": "tool" }, "crm_"] }, "yes"] }
    },
    "later": {
      "state": "ENABLED", "variants": { "true": true, "false": false }, "defaultVariant": "false",
      "targeting": { ">": [{ "var": "$flagd.timestamp" }, 100] }
    },
    "most": { "state": "ENABLED", "variants": { "few": 10, "many": 100 }, "defaultVariant": "few" },
    "rate": { "state": "ENABLED", "variants": { "a": 0.25, "b": 1 }, "defaultVariant": "a" },
    "off": { "state": "DISABLED", "variants": { "on": true, "x": false }, "defaultVariant": "on" },
    "broken": {
      "state": "ENABLED", "variants": { "on": true, "x": false }, "defaultVariant": "on",
      "targeting": { "var": "tenant" }
    },
    "shape": { "state": "ENABLED", "variants": { "a": {} }, "defaultVariant": "a" }
  }
}"#;

fn compile(condition: &str) -> Result<Policies, String> {
    let flags = Flags::read(&[flag_source("f.json", FLAGS)]).unwrap();
    let text =
        format!("permit(principal, action in Action::\"tools\", resource) when {{ {condition} }};");
    let name = "p.cedar".to_owned();
    let source = Source { name, text };
    Policies::compile_with_flags(&[source], None, Some(Arc::new(flags)))
        .map_err(|errors| errors.to_string())
}

fn tool(name: &'static str) -> Resource {
    let target = Target::Tool(Annotations::default());
    let name = bytestring::ByteString::from_static(name);
    Resource::new(target, name, "crm".into(), DataClass::Internal)
}

fn may(policies: &Policies, who: &Principal, what: &Resource, seconds: u64) -> (bool, bool, usize) {
    let standing = policies.standing(who);
    let around = Circumstances {
        now: Duration::from_secs(seconds),
        ..Circumstances::default()
    };
    let verdict = policies.decide(&standing, Action::ToolsCall, what, Ask::Call, &around);
    let mut lister = Lister::new(policies, &standing, around);
    let shown = lister.shows(Action::ToolsCall, what);
    assert_eq!(shown.allowed, verdict.decision.allowed);
    assert_eq!(shown.fixed, verdict.fixed);
    (
        verdict.decision.allowed,
        verdict.fixed,
        verdict.decision.failures.len(),
    )
}

#[test]
fn a_policy_reads_flags_for_the_caller_and_the_tool() {
    let pilot = caller("acme", "ana", &["pilot"]);
    let other = caller("acme", "bob", &[]);
    let (crm, web) = (tool("crm_find"), tool("web_find"));
    let search = compile("context.flags[\"new-search\"]").unwrap();
    assert_eq!(may(&search, &pilot, &crm, 0), (true, true, 0));
    assert_eq!(may(&search, &other, &crm, 0), (false, true, 0));
    // Nobody whose flag differs is taken for another.
    assert_ne!(search.key(&pilot), search.key(&other));
    assert_eq!(search.key(&other), search.key(&caller("acme", "cleo", &[])));

    let of_tool = compile("context.flags[\"of.tool\"] == \"yes\"").unwrap();
    assert_eq!(may(&of_tool, &other, &crm, 0), (true, true, 0));
    assert_eq!(may(&of_tool, &other, &web, 0), (false, true, 0));
    let standing = of_tool.standing(&other);
    let mut lister = Lister::new(&of_tool, &standing, Circumstances::default());
    assert!(lister.shows(Action::ToolsCall, &crm).allowed);
    assert!(!lister.shows(Action::ToolsCall, &web).allowed);

    let later = compile("context.flags.later").unwrap();
    assert_eq!(may(&later, &other, &crm, 99), (false, false, 0));
    assert_eq!(may(&later, &other, &crm, 101), (true, false, 0));
    assert_eq!(later.with_time(), WithTime::AnyMoment);
    assert_eq!(search.with_time(), WithTime::Never);
}

#[test]
fn flags_have_the_types_of_cedar_and_refuse_where_they_fail() {
    let ana = caller("acme", "ana", &[]);
    let crm = tool("crm_find");
    for (condition, expected) in [
        ("context.flags.most < 11", (true, true, 0)),
        (
            "context.flags.rate.lessThan(decimal(\"0.3\"))",
            (true, true, 0),
        ),
        ("context.flags.off", (true, true, 0)),
        ("context.flags.broken", (false, true, 1)),
        ("!context.flags.broken", (false, true, 1)),
    ] {
        let policies = compile(condition).unwrap();
        assert_eq!(may(&policies, &ana, &crm, 0), expected, "{condition}");
    }
    for (condition, told) in [
        ("context.flags.nothing", "nothing"),
        ("context.flags.shape == {}", "shape"),
        ("context.flags.most", "Bool"),
    ] {
        let error = compile(condition).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_set_that_reads_flags_is_another_one_with_other_flags() {
    let with = |flags: &str, condition: &str| {
        let flags = Flags::read(&[flag_source("f.json", flags)]).unwrap();
        let text = format!(
            "permit(principal, action in Action::\"tools\", resource) when {{ {condition} }};"
        );
        let sources = [Source {
            name: "p.cedar".to_owned(),
            text,
        }];
        let policies = Policies::compile_with_flags(&sources, None, Some(Arc::new(flags)));
        policies.unwrap().revision().clone()
    };
    let other = FLAGS.replace("\"off\": false", "\"off\":  false");
    assert_ne!(
        with(FLAGS, "context.flags.off"),
        with(&other, "context.flags.off")
    );
    assert_eq!(with(FLAGS, "true"), with(&other, "true"));
}
