use std::time::Duration;

use mcp_ultra_domain::{
    Attributes, Principal, PrincipalKind,
    flags::{
        Details, ErrorCode, Feature, FlagContext, FlagErrors, FlagType, FlagValue, Flags, Reason,
        Source, Switches,
    },
    policy::{Annotations, DataClass, Resource, Target},
};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

pub(super) fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.into(),
        text: text.into(),
    }
}

/// A flag with a rule, whose variants have their own names as values.
pub(super) fn ruled(key: &str, variants: &[&str], rule: &Json) -> Flags {
    let variants: Map<String, Json> = variants
        .iter()
        .map(|name| ((*name).to_owned(), json!(name)))
        .collect();
    let first = variants.keys().next().unwrap().clone();
    let text = json!({
        "metadata": { "owner": "ops", "expires": "2030-01-01" },
        "flags": { key: {
            "state": "ENABLED", "variants": variants, "defaultVariant": first, "targeting": rule,
        }},
    });
    Flags::read(&[source("f.json", &text.to_string())]).unwrap()
}

pub(super) fn caller(tenant: &str, subject: &str, roles: &[&str]) -> Principal {
    let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", subject);
    attributes.roles = roles.iter().map(|role| (*role).to_owned()).collect();
    attributes.into()
}

fn tool(name: &str, server: &str) -> Resource {
    let target = Target::Tool(Annotations::default());
    let name = bytestring::ByteString::from(name.to_owned());
    Resource::new(target, name, server.into(), DataClass::Internal)
}

/// Calls `look` with the answer for one caller.
pub(super) fn answer<R>(
    flags: &Flags,
    key: &str,
    principal: &Principal,
    attributes: &Json,
    look: impl FnOnce(Details<'_>) -> R,
) -> R {
    let target = tool("crm_find", "crm");
    let context = FlagContext {
        principal,
        target: Some(&target),
        now: Duration::from_secs(1_700_000_000),
        attributes: attributes.as_object(),
    };
    look(flags.evaluate(key, &context))
}

fn chosen(rule: &Json) -> (Option<String>, Reason) {
    let flags = ruled("f", &["false", "no", "true", "yes"], rule);
    let ana = caller("acme", "ana", &["support", "reader"]);
    let attributes =
        json!({ "version": "1.2.0", "email": "a@x.org", "user": { "tags": ["a", "b"] } });
    answer(&flags, "f", &ana, &attributes, |details| {
        (details.variant.map(str::to_owned), details.reason)
    })
}

fn is(rule: &Json, expected: bool) {
    let (variant, reason) = chosen(rule);
    assert_eq!(
        variant.as_deref(),
        Some(if expected { "true" } else { "false" }),
        "{rule}"
    );
    assert_eq!(reason, Reason::TargetingMatch);
}

#[test]
fn rules_ask_for_callers_and_for_what_is_called() {
    for (rule, expected) in [
        (json!({"==": [{"var": "tenant"}, "acme"]}), true),
        (json!({"in": ["support", {"var": "roles"}]}), true),
        (json!({"in": ["admin", {"var": "roles"}]}), false),
        (json!({"==": [{"var": "principal"}, "idp|ana"]}), true),
        (json!({"==": [{"var": ["targetingKey"]}, "idp|ana"]}), true),
        (json!({"==": [{"var": "kind"}, "user"]}), true),
        (json!({"starts_with": [{"var": "tool"}, "crm_"]}), true),
        (json!({"===": [{"var": "server"}, "crm"]}), true),
        (json!({"!": [{"var": "prompt"}]}), true),
        (json!({"!!": {"var": "scopes"}}), false),
        (
            json!({"some": [{"var": "roles"}, {"ends_with": [{"var": ""}, "er"]}]}),
            true,
        ),
        (
            json!({"all": [{"var": "roles"}, {"ends_with": [{"var": ""}, "er"]}]}),
            false,
        ),
        (
            json!({"none": [{"var": "scopes"}, {"==": [{"var": ""}, "x"]}]}),
            true,
        ),
        (json!({"==": [{"var": "$flagd.flagKey"}, "f"]}), true),
        (
            json!({">": [{"var": "$flagd.timestamp"}, 1_699_999_999]}),
            true,
        ),
        (
            json!({"sem_ver": [{"var": "version"}, ">=", "1.1.0"]}),
            true,
        ),
        (json!({"==": [{"var": "user.tags.1"}, "b"]}), true),
        (json!({"==": [{"var": ["nowhere", "x"]}, "x"]}), true),
        (json!({"!!": [{"missing": ["tenant"]}]}), false),
        (json!({"!!": [{"missing": ["tenant", "planet"]}]}), true),
        (
            json!({"!!": [{"missing_some": [1, ["tenant", "planet"]]}]}),
            false,
        ),
    ] {
        is(&rule, expected);
    }
}

#[test]
fn operations_are_those_of_json_logic() {
    for (rule, expected) in [
        (json!({"==": [1, "1"]}), true),
        (json!({"===": [1, "1"]}), false),
        (json!({"!=": [null, 0]}), true),
        (json!({"<": [1, 2, 3]}), true),
        (json!({"<": [1, 3, 3]}), false),
        (json!({"<=": [1, 3, 3]}), true),
        (json!({"<": ["b", "a"]}), false),
        (json!({">": ["x", 1]}), false),
        (json!({"!!": {"and": [1, "", true]}}), false),
        (json!({"!!": {"or": [0, "a"]}}), true),
        (json!({"==": [{"+": [1, "2", 3]}, 6]}), true),
        (json!({"==": [{"-": [5]}, -5]}), true),
        (json!({"==": [{"%": [7, 4]}, 3]}), true),
        (json!({"===": [{"/": [1, 0]}, null]}), true),
        (json!({"==": [{"max": [1, 9, 3]}, 9]}), true),
        (json!({"==": [{"min": [4, 2]}, 2]}), true),
        (
            json!({"==": [{"cat": ["a", 1, true, null, 1.5]}, "a1true1.5"]}),
            true,
        ),
        (
            json!({"==": [{"substr": ["jsonlogic", -5, 2]}, "lo"]}),
            true,
        ),
        (
            json!({"==": [{"substr": ["jsonlogic", 1, -5]}, "son"]}),
            true,
        ),
        (json!({"in": [3, {"merge": [[1, 2], 3]}]}), true),
        (json!({"in": ["ring", "Springfield"]}), true),
        (json!({"!!": [[]]}), false),
        (json!({"!!": ["0"]}), true),
        (
            json!({"if": [false, "no", true, {"!": [false]}, "yes"]}),
            true,
        ),
        (json!({"?:": [true, true, false]}), true),
    ] {
        is(&rule, expected);
    }
}

#[test]
fn what_comes_of_a_rule_is_a_variant_the_default_or_an_error() {
    let yes = Some("yes".to_owned());
    let default = Some("false".to_owned());
    assert_eq!(
        chosen(&json!({"if": [true, "yes"]})),
        (yes, Reason::TargetingMatch)
    );
    assert_eq!(
        chosen(&json!({"if": [false, "yes"]})),
        (default.clone(), Reason::Default)
    );
    assert_eq!(chosen(&json!({})), (default, Reason::Static));
    assert_eq!(chosen(&json!({"var": "email"})), (None, Reason::Error));
    assert_eq!(chosen(&json!({"merge": []})), (None, Reason::Error));
}

#[test]
fn an_answer_costs_only_so_much() {
    let list: Vec<u32> = (0..300).collect();
    let all = json!({"all": [list, {"all": [list, {"all": [list, {"!!": [1]}]}]}]});
    assert_eq!(chosen(&all).1, Reason::Error);
    let deep = (0..60).fold(json!(true), |rule, _| json!({"!": [rule]}));
    let text = json!({"flags": {"f": {
        "state": "ENABLED", "variants": {"true": true, "false": false}, "defaultVariant": "true",
        "targeting": deep, "metadata": {"owner": "o", "expires": "2030-01-01"},
    }}});
    let errors = Flags::read(&[source("f.json", &text.to_string())]).unwrap_err();
    assert!(errors.to_string().contains("nested more than"), "{errors}");
}

#[test]
fn types_and_keys_that_are_not_there_are_errors_of_openfeature() {
    let flags = ruled("f", &["a"], &json!({}));
    let ana = caller("acme", "ana", &[]);
    let context = FlagContext {
        principal: &ana,
        target: None,
        now: Duration::ZERO,
        attributes: None,
    };
    let wrong = flags.evaluate_as("f", FlagType::Boolean, &context);
    assert_eq!(
        (wrong.reason, wrong.error),
        (Reason::Error, Some(ErrorCode::TypeMismatch))
    );
    let absent = flags.evaluate("g", &context);
    assert_eq!(absent.error, Some(ErrorCode::FlagNotFound));
    let right = flags.evaluate_as("f", FlagType::Text, &context);
    assert_eq!(right.value, Some(&FlagValue::Text("a".into())));
}

const GOOD: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "metadata": { "owner": "platform" },
  "$evaluators": { "staff": { "in": ["staff", { "var": "roles" }] } },
  "flags": {
    "server.crm.enabled": {
      "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "on",
      "targeting": { "if": [{ "==": [{ "var": "tenant" }, "evil"] }, "off"] },
      "metadata": { "expires": "2027-06-30" }
    },
    "tool.crm_find.enabled": {
      "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off",
      "targeting": { "if": [{ "$ref": "staff" }, "on", null] },
      "metadata": { "expires": "2027-06-30", "owner": "crm" }
    },
    "limit": {
      "state": "DISABLED", "variants": { "few": 10, "many": 1e3 }, "defaultVariant": "few",
      "metadata": { "expires": "2027-06-30" }
    }
  }
}"#;

#[test]
fn flags_have_owners_and_days() {
    let flags = Flags::read(&[source("a.json", GOOD)]).unwrap();
    let limit = flags.get("limit").unwrap();
    assert_eq!((limit.owner(), limit.place()), ("platform", ("a.json", 16)));
    assert_eq!(flags.get("tool.crm_find.enabled").unwrap().owner(), "crm");
    // 2027-07-01T00:00:00Z
    assert!(limit.is_expired(Duration::from_hours(504_000)));
    assert!(!limit.is_expired(Duration::from_secs(504_000 * 3_600 - 1)));
    assert_eq!(limit.default_variant(), ("few", &FlagValue::Number(10.0)));
    let other = Flags::read(&[source("b.json", &GOOD.replace("2027", "2028"))]).unwrap();
    assert_ne!(other.revision(), flags.revision());
}

#[test]
fn switches_switch_servers_and_tools_for_those_they_are_for() {
    let flags = Flags::read(&[source("a.json", GOOD)]).unwrap();
    let switches = Switches::of(&flags).unwrap();
    let off = |who: &Principal, what: &Resource| {
        switches
            .off(what, who, Duration::ZERO)
            .map(|off| off.flag.key().to_owned())
    };
    let (find, list) = (tool("crm_find", "crm"), tool("crm_list", "crm"));
    let other = tool("crm_find2", "other");
    let (ana, staff) = (
        caller("acme", "ana", &[]),
        caller("acme", "bob", &["staff"]),
    );
    let evil = caller("evil", "eve", &["staff"]);
    assert_eq!(off(&ana, &find).as_deref(), Some("tool.crm_find.enabled"));
    assert_eq!((off(&ana, &list), off(&staff, &find)), (None, None));
    assert_eq!(off(&evil, &list).as_deref(), Some("server.crm.enabled"));
    assert_eq!(off(&evil, &other), None);
    let prompt = Resource::new(
        Target::Prompt,
        "crm_find".into(),
        "x".into(),
        DataClass::Internal,
    );
    assert_eq!(off(&ana, &prompt), None);
    // Who is answered alike has one key, and who is not has another.
    let key = |who: &Principal| switches.depends().key(who.attributes());
    assert_eq!(key(&ana), key(&caller("acme", "cleo", &[])));
    assert!(key(&ana) != key(&staff) && key(&staff) != key(&evil));
    assert!(Switches::of(&ruled("f", &["a"], &json!({}))).is_none());
}

#[test]
fn a_switch_that_fails_is_off_and_a_disabled_one_switches_nothing() {
    for (state, rule, expected) in [
        ("ENABLED", json!({"var": "tenant"}), true),
        ("DISABLED", json!({"var": "tenant"}), false),
        ("ENABLED", json!({"==": [1, 2]}), true),
    ] {
        let text = json!({"flags": {"server.crm.enabled": {
            "state": state, "variants": {"true": true, "false": false}, "defaultVariant": "true",
            "targeting": rule, "metadata": {"owner": "o", "expires": "2030-01-01"},
        }}});
        let flags = Flags::read(&[source("f.json", &text.to_string())]).unwrap();
        let switches = Switches::of(&flags).unwrap();
        let off = switches.off(
            &tool("x", "crm"),
            &caller("acme", "ana", &[]),
            Duration::ZERO,
        );
        assert_eq!(off.is_some(), expected, "{state} {rule}");
    }
}

#[test]
fn features_are_on_unless_a_flag_says_otherwise() {
    let ana = caller("acme", "ana", &[]);
    let context = FlagContext {
        principal: &ana,
        target: None,
        now: Duration::ZERO,
        attributes: None,
    };
    let with = |default: &str| {
        let text = json!({"flags": {"gateway.legacy-sessions.enabled": {
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": default,
            "metadata": {"owner": "o", "expires": "2030-01-01"},
        }}});
        Flags::read(&[source("f.json", &text.to_string())]).unwrap()
    };
    let is_on = |flags: &Flags| Feature::LegacySessions.is_on(flags, &context);
    assert!(is_on(&Flags::default()) && is_on(&with("on")) && !is_on(&with("off")));
}

fn wrong(text: &str) -> FlagErrors {
    Flags::read(&[source("f.json", text)]).unwrap_err()
}

#[test]
fn faults_say_what_where_and_what_to_do() {
    for (from, to, expected) in [
        (
            "\"limit\": {",
            "\"limit\": 7, \"other\": {",
            "f.json:16:14: /flags/limit: not a JSON object",
        ),
        (
            "\"owner\": \"platform\"",
            "\"team\": 1",
            "f.json:9:19: /flags/server.crm.enabled/metadata: it has no owner",
        ),
        (
            "\"expires\": \"2027-06-30\" }\n    },\n    \"tool",
            "\"x\": 1 }\n    },\n    \"tool",
            "/flags/server.crm.enabled/metadata: it has no expiry",
        ),
        (
            "2027-06-30\", \"owner",
            "soon\", \"owner",
            "/flags/tool.crm_find.enabled/metadata: it has no expiry",
        ),
        (
            "\"defaultVariant\": \"on\"",
            "\"defaultVariant\": \"up\"",
            "defaultVariant: this is no variant of the flag (it has off, on)",
        ),
        (
            "\"defaultVariant\": \"few\",",
            "",
            "/flags/limit/defaultVariant: there is no default",
        ),
        (
            "\"few\": 10",
            "\"few\": \"x\"",
            "\"many\" is a number, and \"few\" a string",
        ),
        (
            "\"on\": true, \"off\": false",
            "\"on\": 1, \"off\": 0",
            "is a kill switch",
        ),
        (
            "\"DISABLED\"",
            "\"OFF\"",
            "/flags/limit/state: the state must be ENABLED or DISABLED",
        ),
        (
            "\"limit\"",
            "\"gateway.warp\"",
            "there is no part of the gateway that \"gateway.warp\" would switch",
        ),
        (
            "\"staff\" }, \"on\"",
            "\"nobody\" }, \"on\"",
            "there is no rule \"nobody\" in $evaluators",
        ),
        (
            "\"evil\"] }, \"off\"",
            "\"evil\"] }, \"of\"",
            "the rules choose \"of\", which is no variant of the flag",
        ),
        (
            "{ \"==\": [{ \"var\": \"tenant\" }, \"evil\"] }",
            "{ \"eq\": [1, 2] }",
            "f.json:8:37: /flags/server.crm.enabled/targeting/if/0/eq: there is no operation \"eq\" here",
        ),
        (
            "{ \"in\": [\"staff\", { \"var\": \"roles\" }] }",
            "{ \"in\": [{ \"$ref\": \"staff\" }, \"x\"] }",
            "may not refer to others",
        ),
        (
            "\"var\": \"roles\"",
            "\"var\": { \"cat\": [\"a\"] }",
            "the name of an attribute must be written out",
        ),
        (
            "\"limit\"",
            "\"server.crm.enabled\"",
            "stands more than once",
        ),
        (
            "\"limit\": {",
            "\"limit\": { \"defaultVariants\": \"x\",",
            "there is nothing called \"defaultVariants\" in a flag",
        ),
        (
            "\"$schema\"",
            "\"schema\"",
            "there is nothing called \"schema\" beside the flags",
        ),
        ("\"flags\": {", "\"flags\": {,", "this is no JSON"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let errors = wrong(&GOOD.replacen(from, to, 1));
        assert!(
            errors.to_string().contains(expected),
            "{expected}: {errors}"
        );
    }
    let twice = [source("a.json", GOOD), source("b.json", GOOD)];
    let errors = Flags::read(&twice).unwrap_err();
    assert!(
        errors.to_string().contains("is there already, in a.json:6"),
        "{errors}"
    );
}

/// Rules of every operation, some of them wrong.
fn rule() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-z.$]{0,6}".prop_map(Json::from),
        Just(Json::Null),
        prop::sample::select(vec![
            "tenant",
            "roles",
            "tool",
            "$flagd.timestamp",
            "deep.1.x",
            "",
            "roles.0"
        ])
        .prop_map(|name| json!({ "var": name })),
    ];
    let operations = vec![
        "var",
        "missing",
        "missing_some",
        "if",
        "?:",
        "and",
        "or",
        "!",
        "!!",
        "==",
        "===",
        "!=",
        "!==",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "min",
        "max",
        "in",
        "cat",
        "substr",
        "merge",
        "all",
        "some",
        "none",
        "starts_with",
        "ends_with",
        "sem_ver",
        "fractional",
        "map",
    ];
    leaf.prop_recursive(6, 60, 4, move |inner| {
        prop_oneof![
            (
                prop::sample::select(operations.clone()),
                prop::collection::vec(inner.clone(), 0..4)
            )
                .prop_map(|(name, operands)| json!({ name: operands })),
            prop::collection::vec(inner, 0..4).prop_map(Json::from),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_rule_makes_it_panic_and_answers_stay_the_same(rule in rule(), subject in ".{0,8}") {
        let text = json!({"flags": {"f": {
            "state": "ENABLED", "variants": {"true": true, "false": false},
            "defaultVariant": "true", "targeting": rule,
            "metadata": {"owner": "o", "expires": "2030-01-01"},
        }}});
        let Ok(flags) = Flags::read(&[source("f.json", &text.to_string())]) else {
            return Ok(());
        };
        let who = caller("acme", &subject, &["a", "b"]);
        let attributes = json!({"deep": [0, {"x": "y"}]});
        let look = |details: Details<'_>| (details.variant.map(str::to_owned), details.reason);
        let first = answer(&flags, "f", &who, &attributes, look);
        prop_assert_eq!(&first, &answer(&flags, "f", &who, &attributes, look));
        // A caller that differs by nothing that the rules depend on is answered the same.
        let depends = flags.get("f").unwrap().depends();
        let other = caller("umbrella", "somebody else", &["c"]);
        if depends.key(who.attributes()) == depends.key(other.attributes()) {
            prop_assert_eq!(&first, &answer(&flags, "f", &other, &attributes, look));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        drop(Flags::read(&[source("f.json", &text)]));
    }
}
