//! The index of policies against Cedar with the whole set.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr, sync::LazyLock, time::Duration};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet, Request, Schema,
    ValidationMode, Validator,
};
use mcp_ultra_domain::{
    Attributes, AuthorizationDetail, Login, Principal, PrincipalKind,
    catalog::Templates,
    policy::{
        Action, Annotations, Ask, Circumstances, DataClass, Lister, Policies, Resource, SCHEMA,
        Source, Target, WithTime,
    },
};
use proptest::{prelude::*, sample::select};
use serde_json::json;

const PRINCIPALS: [&str; 9] = [
    "principal",
    "principal is Principal",
    r#"principal in Role::"a""#,
    r#"principal in Role::"b""#,
    r#"principal in Tenant::"t""#,
    r#"principal in TenantRole::"t/a""#,
    r#"principal is Principal in Role::"a""#,
    r#"principal == Principal::"idp|ana""#,
    r#"principal in Principal::"idp|eve""#,
];
const ACTIONS: [&str; 10] = [
    "action",
    r#"action == Action::"tools/call""#,
    r#"action in Action::"tools""#,
    r#"action in [Action::"prompts", Action::"tools/call"]"#,
    r#"action in Action::"resources""#,
    r#"action == Action::"resources/read""#,
    r#"action in Action::"completion/complete""#,
    r#"action in Action::"admin""#,
    r#"action == Action::"admin/keys/read""#,
    r#"action in [Action::"admin/keys/manage", Action::"tools/call"]"#,
];
const RESOURCES: [&str; 20] = [
    "resource",
    "resource is Tool",
    "resource is Resource",
    r#"resource == Tool::"x""#,
    r#"resource in Tool::"y""#,
    r#"resource == Prompt::"x""#,
    r#"resource in Server::"s1""#,
    r#"resource is Tool in Server::"s1""#,
    r#"resource is Prompt in Server::"s2""#,
    r#"resource in DataClass::"personal""#,
    r#"resource in ResourceTemplate::"r://{x}""#,
    r#"resource == ResourceTemplate::"r://{x}""#,
    r#"resource in ResourceTemplate::"{+y}""#,
    r#"resource is Resource in ResourceTemplate::"r://{z}""#,
    r#"resource == Resource::"r://1""#,
    "resource is Administration",
    r#"resource in Tenant::"t""#,
    r#"resource is Administration in Tenant::"u""#,
    r#"resource == Administration::"gateway""#,
    r#"resource in Administration::"tenant:t""#,
];
const CONDITIONS: [&str; 28] = [
    "",
    "",
    "",
    r#"when { principal.roles.contains("b") }"#,
    r#"when { principal.tenant == "t" }"#,
    r#"unless { principal in Role::"b" }"#,
    r#"when { resource.name like "*x*" }"#,
    r#"when { resource.name like "x" || principal.tenant == "t" }"#,
    r#"unless { ["x", "r://1"].contains(resource.name) }"#,
    r#"when { resource has readOnly && resource.readOnly && "x" == resource.name }"#,
    r#"when { !(resource.name like "r*") && principal in Role::"a" }"#,
    r#"when { resource.name == "x" } unless { resource.name like "*{*" }"#,
    r#"when { resource in ResourceTemplate::"{+y}" }"#,
    r#"unless { resource in [ResourceTemplate::"r://{x}", ResourceTemplate::"r://{z}"] }"#,
    r#"when { resource.server == Server::"s1" }"#,
    r#"when { resource.dataClass == DataClass::"personal" }"#,
    "when { resource has readOnly && resource.readOnly }",
    r#"when { action in Action::"tools" }"#,
    r#"when { principal.subject == "ana" } unless { resource in Server::"s2" }"#,
    r#"when { principal.amr.contains("mfa") }"#,
    r#"when { principal has acr && principal.acr == "gold" }"#,
    "unless { principal has acr }",
    r#"when { principal has authTime && principal.authTime > datetime("1970-01-01T00:01:00Z") }"#,
    r#"unless { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("15m") }"#,
    "when { context.arguments has n && context.arguments.n > 3 }",
    "when { resource has tenant && resource.tenant == principal.tenant }",
    r#"unless { resource in Tenant::"t" }"#,
    // Fails where the number is large.
    "when { context.arguments has n && context.arguments.n * 4611686018427387904 != 1 }",
];

fn policy() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    (
        effect,
        select(&PRINCIPALS[..]),
        select(&ACTIONS[..]),
        select(&RESOURCES[..]),
        select(&CONDITIONS[..]),
    )
        .prop_map(|(effect, principal, action, resource, condition)| {
            format!("{effect}({principal}, {action}, {resource}) {condition};\n")
        })
}

/// What asks for nothing but the login: acr, amr, the time, and the age.
const OF_LOGIN: [&str; 8] = [
    r#"when { principal.amr.contains("mfa") }"#,
    r#"unless { principal.amr.containsAny(["pwd", "otp"]) }"#,
    r#"when { principal has acr && principal.acr == "gold" }"#,
    "unless { principal has acr }",
    "when { principal has authTime }",
    r#"when { principal has authTime && principal.authTime > datetime("1970-01-01T00:01:00Z") }"#,
    r#"when { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("15m") }"#,
    r#"unless { principal has authTime && context.time.now.durationSince(principal.authTime) > duration("15m") }"#,
];

/// A policy for everyone and everything that asks for the login, so that the login decides.
fn policy_of_login() -> impl Strategy<Value = String> {
    let effect = prop_oneof![4 => Just("permit"), 1 => Just("forbid")];
    (effect, select(&OF_LOGIN[..])).prop_map(|(effect, condition)| {
        format!("{effect}(principal, action, resource) {condition};\n")
    })
}

/// What asks for what was allowed in detail.
const OF_DETAILS: [&str; 3] = [
    "when { principal.authorizationDetails.isEmpty() }",
    r#"when { principal.authorizationDetails.contains({ type: "t", action: "read", location: "", identifier: "", more: false }) }"#,
    r#"unless { principal.authorizationDetails.contains({ type: "t", action: "read", location: "", identifier: "", more: true }) }"#,
];

fn policy_of_details() -> impl Strategy<Value = String> {
    let effect = prop_oneof![4 => Just("permit"), 1 => Just("forbid")];
    (effect, select(&OF_DETAILS[..])).prop_map(|(effect, condition)| {
        format!("{effect}(principal, action, resource) {condition};\n")
    })
}

fn details() -> impl Strategy<Value = BTreeSet<AuthorizationDetail>> {
    let one = (
        select(&["t", "u"][..]),
        select(&["read", ""][..]),
        any::<bool>(),
    );
    let one = one.prop_map(|(kind, action, more)| AuthorizationDetail {
        kind: kind.to_owned(),
        action: action.to_owned(),
        location: String::new(),
        identifier: String::new(),
        more,
    });
    proptest::collection::btree_set(one, 0..3)
}

/// Few policies, so that one of them decides.
fn policies_of_login() -> impl Strategy<Value = Vec<String>> {
    let any = proptest::collection::vec(policy(), 0..2);
    let of_login = proptest::collection::vec(policy_of_login(), 1..3);
    (of_login, any).prop_map(|(of_login, any)| [of_login, any].concat())
}

/// What depends on the time, the address, or neither.
const OF_TIME: [&str; 9] = [
    "",
    "when { context.time.hour < 2 }",
    "unless { context.time.minute >= 30 && context.time.hour == 1 }",
    r#"when { context.time.weekday == Weekday::"thursday" }"#,
    r#"when { context.time.now < datetime("1970-01-01T01:00:00Z") }"#,
    r#"unless { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("15m") }"#,
    "when { [context.time].contains(context.time) && context.time.minute < 10 }",
    r#"when { context.network.address.isInRange(ip("10.0.0.1/32")) }"#,
    r#"when { principal.amr.contains("mfa") }"#,
];

fn policy_of_time() -> impl Strategy<Value = String> {
    let effect = prop_oneof![3 => Just("permit"), 1 => Just("forbid")];
    (effect, select(&OF_TIME[..])).prop_map(|(effect, condition)| {
        format!("{effect}(principal, action, resource) {condition};\n")
    })
}

/// In the first two days.
fn moment() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0..172_800_000_u64).prop_map(Duration::from_millis),
        (0..7_200_000_u64).prop_map(Duration::from_millis),
    ]
}

/// When everything is asked: 15 minutes and a bit after one of the logins.
const NOW: Circumstances<'static> = Circumstances {
    now: Duration::from_millis(960_001),
    address: None,
    arguments: None,
};

#[derive(Debug, Clone)]
struct Asked {
    principal: Principal,
    action: Action,
    resource: Resource,
    n: Option<i64>,
}

fn login() -> impl Strategy<Value = Login> {
    (
        proptest::option::of(select(&["gold", "silver", ""][..])),
        proptest::collection::btree_set(select(&["mfa", "pwd"][..]), 0..3),
        proptest::option::of(select(&[0, 60_000, 60_001, 900_000][..])),
    )
        .prop_map(|(acr, amr, auth_time)| Login {
            acr: acr.map(ToOwned::to_owned),
            amr: amr.into_iter().map(ToOwned::to_owned).collect(),
            auth_time: auth_time.map(Duration::from_millis),
        })
}

/// Some templates for certain, and some of the others perhaps.
fn templates() -> impl Strategy<Value = Templates> {
    let all = ["r://{x}", "{+y}", "r://{z}"];
    proptest::array::uniform3(0_u8..3).prop_map(move |how: [u8; 3]| {
        let of = |wanted: u8| {
            let all = all.iter().zip(how).filter(|(_, how)| *how == wanted);
            all.map(|(template, _)| (*template).into()).collect()
        };
        Templates {
            exact: of(1),
            possible: of(2),
        }
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let principal = (
        select(&["t", "u"][..]),
        select(&["ana", "eve"][..]),
        proptest::collection::btree_set(select(&["a", "b", "c"][..]), 0..3),
        login(),
    )
        .prop_map(|(tenant, subject, roles, login)| {
            let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", subject);
            attributes.roles = roles.into_iter().map(ToOwned::to_owned).collect();
            attributes.login = login;
            Principal::from(attributes)
        });
    let target = prop_oneof![
        any::<bool>().prop_map(|read_only| Target::Tool(Annotations {
            read_only,
            ..Annotations::default()
        })),
        Just(Target::Prompt),
        templates().prop_map(|templates| Target::Resource { templates }),
        Just(Target::Template),
        select(&[Some("t"), Some("u"), None][..]).prop_map(|tenant| Target::Administration {
            tenant: tenant.map(Into::into),
        }),
    ];
    let resource = (
        target,
        select(&["s1", "s2"][..]),
        select(&["x", "y"][..]),
        any::<bool>(),
    )
        .prop_map(|(target, server, name, personal)| {
            let name = match &target {
                Target::Tool(_) | Target::Prompt => name,
                Target::Resource { .. } => "r://1",
                Target::Template => "r://{x}",
                Target::Administration { tenant } => {
                    return Resource::administration(tenant.as_deref());
                }
            };
            let class = if personal {
                DataClass::Personal
            } else {
                DataClass::Internal
            };
            Resource::new(target, name.to_owned().into(), server.into(), class)
        });
    let n = proptest::option::of(select(&[1_i64, 4, i64::MAX][..]));
    (principal, resource, any::<proptest::sample::Index>(), n).prop_map(
        |(principal, resource, at, n)| {
            let actions: &[Action] = match resource.target {
                Target::Tool(_) => &[Action::ToolsCall, Action::TasksGet],
                Target::Prompt => &[Action::PromptsGet, Action::Complete],
                Target::Administration { .. } => &[
                    Action::AdminKeysRead,
                    Action::AdminKeysManage,
                    Action::AdminKeysGrantAnything,
                ],
                _ => &[Action::ResourcesRead, Action::ResourcesSubscribe],
            };
            Asked {
                action: *at.get(actions),
                principal,
                resource,
                n,
            }
        },
    )
}

const TYPES: &str = "type Arguments = { n?: Long };";

static WHOLE_SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let text = format!("{SCHEMA}\n{TYPES}\ntype Flags = {{}};");
    Schema::from_cedarschema_str(&text).unwrap().0
});

/// Within the hour after the Unix epoch.
fn datetime(time: Duration) -> serde_json::Value {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let text = format!("1970-01-01T00:{minutes:02}:{seconds:02}.{millis:03}Z");
    json!({"__extn": {"fn": "datetime", "arg": text}})
}

fn details_of(who: &Attributes) -> serde_json::Value {
    let details = who.authorization_details.iter();
    details
        .map(|one| {
            json!({"type": one.kind, "action": one.action, "location": one.location,
                   "identifier": one.identifier, "more": one.more})
        })
        .collect()
}

/// What Cedar says, without and with the templates that are only possible.
fn whole(text: &str, asked: &Asked) -> (bool, BTreeSet<String>, bool) {
    let certain = whole_with(text, asked);
    let Target::Resource { templates } = &asked.resource.target else {
        return certain;
    };
    if !certain.0 || certain.2 || templates.possible.is_empty() {
        return certain;
    }
    let Templates { exact, possible } = templates;
    let all = Templates {
        exact: exact.iter().chain(possible).cloned().collect(),
        possible: Vec::new(),
    };
    let resource = &asked.resource;
    let with_all = Asked {
        resource: Resource::new(
            Target::Resource { templates: all },
            resource.name.clone(),
            resource.server.clone(),
            resource.data_class,
        ),
        ..asked.clone()
    };
    let possible = whole_with(text, &with_all);
    if possible.0 && !possible.2 {
        certain
    } else {
        possible
    }
}

/// What Cedar says with all policies and with entities that it reads and closes itself.
fn whole_with(text: &str, asked: &Asked) -> (bool, BTreeSet<String>, bool) {
    let set = PolicySet::from_str(text).unwrap();
    let mut named = PolicySet::new();
    for policy in set.policies() {
        let at: usize = policy.id().to_string()["policy".len()..].parse().unwrap();
        let id = PolicyId::new(format!("p.cedar:{}", at + 1));
        named.add(policy.new_id(id)).unwrap();
    }
    let who = asked.principal.attributes();
    let entity = |of: &str, id: &str| json!({"type": of, "id": id});
    let mut parents = vec![entity("Tenant", &who.tenant)];
    for role in &who.roles {
        parents.push(entity("Role", role));
        parents.push(entity("TenantRole", &format!("{}/{role}", who.tenant)));
    }
    let principal = entity("Principal", &format!("idp|{}", who.subject));
    let (of, mut extra, mut within) = match &asked.resource.target {
        Target::Tool(stated) => (
            "Tool",
            json!({"readOnly": stated.read_only, "destructive": stated.destructive,
                   "idempotent": stated.idempotent, "openWorld": stated.open_world}),
            vec![],
        ),
        Target::Prompt => ("Prompt", json!({}), vec![]),
        Target::Resource { templates } => (
            "Resource",
            json!({}),
            templates
                .exact
                .iter()
                .map(|template| entity("ResourceTemplate", template))
                .collect(),
        ),
        Target::Template => ("ResourceTemplate", json!({}), vec![]),
        Target::Administration { tenant } => (
            "Administration",
            tenant
                .as_ref()
                .map_or(json!({}), |tenant| json!({"tenant": &**tenant})),
            tenant
                .iter()
                .map(|tenant| entity("Tenant", tenant))
                .collect(),
        ),
    };
    let server = entity("Server", &asked.resource.server);
    let class = entity("DataClass", asked.resource.data_class.as_str());
    if !asked.action.is_admin() {
        extra["name"] = json!(&*asked.resource.name);
        extra["server"] = json!({"__entity": server});
        extra["dataClass"] = json!({"__entity": class});
        within.extend([server, class]);
    }
    let resource = entity(of, &asked.resource.name);
    let mut own = json!({
        "kind": {"__entity": entity("Kind", "user")}, "subject": who.subject, "issuer": "idp",
        "tenant": &*who.tenant, "roles": who.roles, "scopes": who.scopes, "authorizationDetails": details_of(who), "amr": who.login.amr});
    if let Some(acr) = &who.login.acr {
        own["acr"] = json!(acr);
    }
    if let Some(time) = who.login.auth_time {
        own["authTime"] = datetime(time);
    }
    let entities = json!([
        {"uid": principal, "parents": parents, "attrs": own},
        {"uid": resource, "parents": within, "attrs": extra},
    ]);
    let entities = Entities::from_json_value(entities, Some(&WHOLE_SCHEMA)).unwrap();
    let arguments = asked.n.map_or(json!({}), |n| json!({"n": n}));
    let context = json!({"arguments": arguments, "time": {"now": datetime(NOW.now)}});
    let context = Context::from_json_value(context, None).unwrap();
    let uid = |value: &serde_json::Value| EntityUid::from_json(value.clone()).unwrap();
    let action = uid(&entity("Action", asked.action.as_str()));
    let request = Request::new(uid(&principal), action, uid(&resource), context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &named, &entities);
    let reasons = response.diagnostics().reason().map(ToString::to_string);
    (
        response.decision() == Decision::Allow,
        reasons.collect(),
        response.diagnostics().errors().next().is_some(),
    )
}

/// Those policies that fit the schema, since a set with others is refused.
fn compiled(lines: Vec<String>) -> (String, Policies) {
    let validator = Validator::new(WHOLE_SCHEMA.clone());
    let fits = |line: &String| {
        let set = PolicySet::from_str(line).unwrap();
        validator
            .validate(&set, ValidationMode::Strict)
            .validation_passed()
    };
    let valid: Vec<String> = lines.into_iter().filter(fits).collect();
    let text = valid.concat();
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    let sources = [source("p.cedar", &text), source("t.cedarschema", TYPES)];
    let policies = Policies::compile(&sources, None).unwrap();
    assert_eq!(policies.len(), valid.len());
    (text, policies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_index_answers_as_the_whole_set_does(
        lines in proptest::collection::vec(policy(), 0..25),
        requests in proptest::collection::vec(asked(), 12),
    ) {
        let (text, policies) = compiled(lines);
        // A list is answered as each of its entries is.
        let standing = policies.standing(&requests[0].principal);
        let mut lister = Lister::new(&policies, &standing, NOW);
        for asked in &requests {
            let shown = lister.shows(asked.action, &asked.resource);
            let verdict = policies.decide(
                &standing, asked.action, &asked.resource, Ask::List, &NOW,
            );
            prop_assert_eq!(
                (shown.allowed, shown.fixed),
                (verdict.decision.allowed, verdict.fixed),
                "{}\n{:?}", text, asked
            );
        }
        for asked in requests {
            let (allowed, reasons, errors) = whole(&text, &asked);
            let arguments = asked.n.map(|n| format!("{{\"n\":{n}}}"));
            let circumstances = Circumstances {
                arguments: arguments.as_deref(),
                ..NOW
            };
            let standing = policies.standing(&asked.principal);
            let verdict = policies.decide(
                &standing, asked.action, &asked.resource, Ask::Call, &circumstances,
            );
            let ours = &verdict.decision;
            // What can't be evaluated is a refusal here, where Cedar goes on without it.
            prop_assert_eq!(ours.allowed, allowed && !errors, "{}\n{:?}", text, asked);
            if !errors {
                let names: BTreeSet<_> = ours.policies.iter().map(ToString::to_string).collect();
                prop_assert_eq!(names, reasons, "{}\n{:?}", text, asked);
            } else if allowed {
                prop_assert!(!ours.failures.is_empty());
            }
            // What is called with whatever arguments is listed.
            if ours.allowed {
                let listed = policies.decide(
                    &standing, asked.action, &asked.resource, Ask::List, &NOW,
                );
                prop_assert!(listed.decision.allowed, "{}\n{:?}", text, asked);
            }
        }
    }

    /// What is kept of answers outlives no moment at which they are others.
    #[test]
    fn answers_are_others_at_no_other_time_than_they_say(
        lines in proptest::collection::vec(policy_of_time(), 1..4),
        one in asked(),
        (now, later) in (moment(), moment()),
        ask in select(&[Ask::Call, Ask::List, Ask::Possible][..]),
    ) {
        let (text, policies) = compiled(lines);
        let standing = policies.standing(&one.principal);
        let answer = |now: Duration, address: Option<IpAddr>| {
            let around = Circumstances { now, address, arguments: None };
            policies.decide(&standing, one.action, &one.resource, ask, &around)
        };
        let address = |last| Some(IpAddr::from([10, 0, 0, last]));
        let first = answer(now, address(1));
        let same_minute = Duration::from_mins(now.as_secs() / 60) + Duration::from_millis(u64::try_from(later.as_millis()).unwrap() % 60_000);
        for (at, from) in [(later, address(1)), (later, address(2)), (now, address(2)), (same_minute, address(1))] {
            let other = answer(at, from);
            let may_differ = match first.with_time {
                WithTime::Never => false,
                WithTime::EachMinute => at.as_secs() / 60 != now.as_secs() / 60,
                WithTime::AnyMoment => at != now,
            } || (first.by_address && from != address(1));
            if first.fixed || !may_differ {
                prop_assert_eq!(&first, &other, "{}", text);
            }
        }
        prop_assert!(first.with_time <= policies.with_time() || ask == Ask::Call);
    }

    #[test]
    fn principals_with_one_key_are_answered_alike(
        lines in proptest::collection::vec(policy(), 0..12),
        one in asked(),
        other in asked(),
    ) {
        let (text, policies) = compiled(lines);
        if policies.key(&one.principal) == policies.key(&other.principal) {
            let answer = |principal: &Principal| {
                let standing = policies.standing(principal);
                policies.decide(
                    &standing, one.action, &one.resource, Ask::Call, &NOW,
                )
            };
            prop_assert_eq!(answer(&one.principal), answer(&other.principal), "{}", text);
        }
    }

    #[test]
    fn details_with_one_key_are_answered_as_cedar_answers_them(
        lines in proptest::collection::vec(policy_of_details(), 1..3),
        one in asked(),
        (first, second) in (details(), details()),
    ) {
        let (text, policies) = compiled(lines);
        let with = |details: &BTreeSet<AuthorizationDetail>| {
            let mut attributes = one.principal.attributes().clone();
            attributes.authorization_details = details.clone();
            let principal = Principal::from(attributes);
            let standing = policies.standing(&principal);
            let answer = policies.decide(&standing, one.action, &one.resource, Ask::Call, &NOW);
            let asked = Asked { principal: principal.clone(), n: None, ..one.clone() };
            (policies.key(&principal), answer, whole(&text, &asked).0)
        };
        let (first, second) = (with(&first), with(&second));
        prop_assert_eq!(first.1.decision.allowed, first.2, "{}", text);
        if first.0 == second.0 {
            prop_assert_eq!(first.1, second.1, "{}", text);
        }
    }

    #[test]
    fn logins_with_one_key_are_answered_alike(
        lines in policies_of_login(),
        one in asked(),
        other in login(),
    ) {
        let (text, policies) = compiled(lines);
        let own = one.principal.attributes().login.clone();
        let answer = |principal: &Principal| {
            let standing = policies.standing(principal);
            let ask = |ask| policies.decide(&standing, one.action, &one.resource, ask, &NOW);
            (ask(Ask::Call), ask(Ask::List))
        };
        // Those that differ in one thing alone are told apart by that alone, or not at all.
        for login in [
            Login { acr: other.acr.clone(), ..own.clone() },
            Login { amr: other.amr.clone(), ..own.clone() },
            Login { auth_time: other.auth_time, ..own },
            other,
        ] {
            let mut attributes = one.principal.attributes().clone();
            attributes.login = login;
            let other = Principal::from(attributes);
            let same = policies.key(&one.principal) == policies.key(&other);
            prop_assert!(same || one.principal != other);
            if same {
                prop_assert_eq!(answer(&one.principal), answer(&other), "{}", text);
            }
        }
    }
}
