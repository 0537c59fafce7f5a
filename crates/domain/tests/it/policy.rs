use std::time::Duration;

use mcp_ultra_domain::{
    Attributes, Login, Principal, PrincipalKind,
    catalog::{Labels, Templates},
    policy::{
        Action, Annotations, Ask, Circumstances, Classes, DataClass, Lister, Policies, Resource,
        Source, Target,
    },
};
use mcp_ultra_protocol::names::Naming;

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.into(),
        text: text.into(),
    }
}

fn policies(text: &str) -> Policies {
    Policies::compile(&[source("p.cedar", text)], None).unwrap()
}

fn typed(types: &str, text: &str) -> Policies {
    let sources = [source("p.cedar", text), source("t.cedarschema", types)];
    Policies::compile(&sources, None).unwrap()
}

fn principal(tenant: &str, subject: &str, roles: &[&str]) -> Principal {
    let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", subject);
    attributes.roles = roles.iter().map(|role| (*role).to_owned()).collect();
    attributes.into()
}

fn tool(name: &'static str) -> Resource {
    let name = bytestring::ByteString::from_static(name);
    Resource::new(
        Target::Tool(Annotations::default()),
        name,
        "crm".into(),
        DataClass::Internal,
    )
}

fn asked(
    policies: &Policies,
    who: &Principal,
    what: &Resource,
    ask: Ask,
    circumstances: &Circumstances<'_>,
) -> (bool, Vec<String>, usize) {
    let standing = policies.standing(who);
    let verdict = policies.decide(&standing, Action::ToolsCall, what, ask, circumstances);
    let decision = verdict.decision;
    let names = decision.policies.iter().map(ToString::to_string).collect();
    (decision.allowed, names, decision.failures.len())
}

fn may(policies: &Policies, who: &Principal, what: &Resource) -> bool {
    asked(policies, who, what, Ask::Call, &Circumstances::default()).0
}

#[test]
fn without_a_policy_that_permits_everything_is_refused_and_forbid_wins() {
    let who = principal("acme", "ana", &["support"]);
    assert!(!may(&policies(""), &who, &tool("crm_find")));
    let set = policies(
        r#"@id("all") permit(principal, action, resource);
           @id("not") forbid(principal, action, resource == Tool::"crm_drop");"#,
    );
    assert!(may(&set, &who, &tool("crm_find")));
    let dropped = asked(
        &set,
        &who,
        &tool("crm_drop"),
        Ask::Call,
        &Circumstances::default(),
    );
    assert_eq!(dropped, (false, vec!["not".to_owned()], 0));
}

#[test]
fn what_is_administered_is_told_apart_by_its_tenant() {
    let set = policies(
        "permit(principal, action, resource is Administration) \
         when { resource has tenant && resource.tenant == principal.tenant };",
    );
    let standing = set.standing(&principal("acme", "ana", &[]));
    let mut lister = Lister::new(&set, &standing, Circumstances::default());
    for (tenant, allowed) in [(Some("other"), false), (None, false), (Some("acme"), true)] {
        let shown = lister.shows(Action::AdminKeysRead, &Resource::administration(tenant));
        assert_eq!(shown.allowed, allowed, "{tenant:?}");
    }
}

#[test]
fn scopes_name_principals_tenants_roles_and_roles_of_tenants() {
    let find = tool("crm_find");
    for (scope, ana, eve) in [
        (r#"principal == Principal::"idp|ana""#, true, false),
        (r#"principal in Tenant::"acme""#, true, false),
        (r#"principal in Role::"support""#, true, true),
        (r#"principal in TenantRole::"acme/support""#, true, false),
        (
            r#"principal in TenantRole::"evil/acme/support""#,
            false,
            true,
        ),
        (r#"principal is Principal in Role::"support""#, true, true),
    ] {
        let set = policies(&format!("permit({scope}, action, resource);"));
        let found = (
            may(&set, &principal("acme", "ana", &["support"]), &find),
            may(
                &set,
                &principal("evil", "eve", &["support", "acme/support"]),
                &find,
            ),
        );
        assert_eq!(found, (ana, eve), "{scope}");
    }
}

#[test]
fn a_role_of_one_tenant_is_not_one_of_another() {
    let set = policies(r#"permit(principal in TenantRole::"a/b/c", action, resource);"#);
    assert!(may(&set, &principal("a", "x", &["b/c"]), &tool("t")));
    assert!(!may(&set, &principal("a/b", "x", &["c"]), &tool("t")));
}

#[test]
fn arguments_are_what_they_are_declared_as_or_the_call_is_refused() {
    let set = typed(
        "type Arguments = { amount?: Long, price?: decimal, to?: { city?: String }, tags?: Set<String> };",
        r#"@id("small") permit(principal, action == Action::"tools/call", resource == Tool::"pay")
             when { context.arguments has amount && context.arguments.amount <= 1000 };
           @id("near") permit(principal, action == Action::"tools/call", resource == Tool::"ship")
             when { context.arguments has to.city && context.arguments.to.city like "Rio*" };
           @id("cheap") permit(principal, action == Action::"tools/call", resource == Tool::"buy")
             when { context.arguments has price && context.arguments.price.lessThan(decimal("9.5")) };
           @id("all-but-red") permit(principal, action == Action::"tools/call", resource == Tool::"paint")
             unless { context.arguments has tags && context.arguments.tags.contains("red") };"#,
    );
    let who = principal("acme", "ana", &[]);
    let call = |name, arguments: Option<&str>| {
        let circumstances = Circumstances {
            arguments,
            ..Circumstances::default()
        };
        let (allowed, _, failures) = asked(&set, &who, &tool(name), Ask::Call, &circumstances);
        (allowed, failures)
    };
    for (name, arguments, expected) in [
        ("pay", r#"{"amount":1000,"x":[{}]}"#, (true, 0)),
        ("pay", r#"{"amount":1001}"#, (false, 0)),
        ("pay", r#"{"amount":"5"}"#, (false, 1)),
        ("pay", r#"{"amount":5.0}"#, (false, 1)),
        ("pay", r#"{"amount":5,"amount":5000}"#, (false, 1)),
        ("pay", r#"{"amount":null}"#, (false, 0)),
        (
            "pay",
            r#"{"amount":{"__extn":{"fn":"decimal","arg":"1.0"}}}"#,
            (false, 1),
        ),
        ("ship", r#"{"to":{"city":"Rio Claro"}}"#, (true, 0)),
        ("ship", r#"{"to":{"city":"Santos"}}"#, (false, 0)),
        ("ship", r#"{"to":"Rio"}"#, (false, 1)),
        ("buy", r#"{"price":9}"#, (true, 0)),
        ("buy", r#"{"price":9.49}"#, (true, 0)),
        ("buy", r#"{"price":"9.5"}"#, (false, 0)),
        ("buy", r#"{"price":9.00001}"#, (false, 1)),
        ("paint", r#"{"tags":["blue"]}"#, (true, 0)),
        ("paint", r#"{"tags":["blue","r\u0065d"]}"#, (false, 0)),
    ] {
        assert_eq!(call(name, Some(arguments)), expected, "{name} {arguments}");
    }
    assert_eq!(call("pay", None), (false, 0));
    assert_eq!(call("paint", None), (true, 0));
}

#[test]
fn what_may_be_called_with_some_arguments_is_listed() {
    let set = typed(
        "type Arguments = { amount?: Long };",
        r#"permit(principal in Role::"clerk", action, resource == Tool::"pay")
             when { principal.tenant == "acme" && context.arguments has amount && context.arguments.amount <= 1000 };
           forbid(principal, action == Action::"tools/call", resource == Tool::"pay")
             when { context.arguments has amount && context.arguments.amount < 0 };"#,
    );
    let listed = |who: &Principal| {
        asked(
            &set,
            who,
            &tool("pay"),
            Ask::List,
            &Circumstances::default(),
        )
        .0
    };
    assert!(listed(&principal("acme", "ana", &["clerk"])));
    assert!(!listed(&principal("other", "ana", &["clerk"])));
    assert!(!listed(&principal("acme", "ana", &[])));
}

#[test]
fn a_policy_about_lists_hides_but_never_shows() {
    let who = principal("acme", "ana", &[]);
    let hidden = policies(
        r#"permit(principal, action, resource);
           forbid(principal, action, resource == Tool::"t") when { context.view == View::"list" };"#,
    );
    let shown =
        policies(r#"permit(principal, action, resource) when { context.view == View::"list" };"#);
    let both = |set: &Policies| {
        [Ask::List, Ask::Call]
            .map(|ask| asked(set, &who, &tool("t"), ask, &Circumstances::default()).0)
    };
    assert_eq!(both(&hidden), [false, true]);
    assert_eq!(both(&shown), [false, false]);
}

#[test]
fn time_is_that_of_the_zone_and_addresses_are_those_of_the_connection() {
    let text = r#"permit(principal, action, resource) when {
        context.time.weekday == Weekday::"monday" && context.time.hour >= 9 && context.time.hour < 18
        && context.network.address.isInRange(ip("10.0.0.0/8"))
        && context.time.now > datetime("2020-01-01") };"#;
    let set = Policies::compile(&[source("p.cedar", text)], Some("America/Sao_Paulo")).unwrap();
    let who = principal("acme", "ana", &[]);
    // Monday, 2 November 2026, 12:30 UTC.
    let minutes = |minutes: u64| Duration::from_mins(29_893_710 + minutes);
    let noon = minutes(0);
    let call = |now, address: Option<&str>| {
        let circumstances = Circumstances {
            now,
            address: address.map(|address| address.parse().unwrap()),
            arguments: None,
        };
        let (allowed, _, failures) = asked(&set, &who, &tool("t"), Ask::Call, &circumstances);
        (allowed, failures)
    };
    assert_eq!(call(noon, Some("10.1.2.3")), (true, 0));
    assert_eq!(call(noon, Some("192.168.0.1")), (false, 0));
    // As a socket says that listens to both kinds of addresses.
    assert_eq!(call(noon, Some("::ffff:10.1.2.3")), (true, 0));
    assert_eq!(call(noon, Some("::ffff:192.168.0.1")), (false, 0));
    assert_eq!(call(minutes(12 * 60), Some("10.1.2.3")), (false, 0));
    // It is not known where the caller is, so nobody can say.
    assert_eq!(call(noon, None), (false, 1));
}

#[test]
fn an_answer_that_depends_on_the_request_is_not_kept() {
    let set = typed(
        "type Arguments = { n?: Long };",
        r#"permit(principal, action, resource == Tool::"a");
           permit(principal, action, resource == Tool::"b") when { context.time.hour > 8 };
           permit(principal, action, resource == Tool::"c") when { context.arguments has n };
           permit(principal, action, resource == Tool::"d") when { resource.destructive };"#,
    );
    let standing = set.standing(&principal("acme", "ana", &[]));
    let fixed = |name, ask| {
        let circumstances = Circumstances::default();
        set.decide(
            &standing,
            Action::ToolsCall,
            &tool(name),
            ask,
            &circumstances,
        )
        .fixed
    };
    let calls = ["a", "b", "c", "d"].map(|name| fixed(name, Ask::Call));
    assert_eq!(calls, [true, false, false, true]);
    let lists = ["a", "b", "c", "d"].map(|name| fixed(name, Ask::List));
    assert_eq!(lists, [true, false, true, true]);
}

#[test]
fn principals_that_policies_do_not_tell_apart_have_one_key() {
    let ana = principal("acme", "ana", &["support", "other"]);
    let eve = principal("acme", "eve", &["support"]);
    let key = |text: &str| {
        let set = policies(text);
        set.key(&ana) == set.key(&eve)
    };
    assert!(key(
        r#"permit(principal in Role::"support", action, resource);"#
    ));
    assert!(!key(
        r#"permit(principal in Role::"other", action, resource);"#
    ));
    assert!(!key(
        r#"permit(principal in TenantRole::"acme/other", action, resource);"#
    ));
    assert!(!key(
        r#"permit(principal == Principal::"idp|eve", action, resource);"#
    ));
    assert!(!key(
        r#"permit(principal, action, resource) when { principal.roles.contains("x") };"#
    ));
    assert!(!key(
        r#"permit(principal, action, resource) when { principal.subject == "x" };"#
    ));
    assert!(key(
        r#"permit(principal, action, resource) when { principal.kind == Kind::"user" };"#
    ));
    let set = policies("");
    assert_ne!(set.key(&ana), set.key(&principal("b", "ana", &[])));
}

#[test]
fn the_login_of_a_token_decides_where_a_policy_asks_for_it() {
    let set = policies(
        r#"@id("by-two") permit(principal, action, resource == Tool::"drop") when { principal.amr.contains("mfa") };
           @id("gold") permit(principal, action, resource == Tool::"pay") when { principal has acr && principal.acr == "gold" };
           @id("recent") permit(principal, action, resource == Tool::"ship")
             when { principal has authTime && context.time.now.durationSince(principal.authTime) <= duration("15m") };"#,
    );
    let noon = Duration::from_hours(12);
    let at = |now| Circumstances {
        now,
        ..Circumstances::default()
    };
    let logged_in = |acr: Option<&str>, amr: &[&str], auth_time| {
        let mut attributes = principal("acme", "ana", &[]).attributes().clone();
        attributes.login = Login {
            acr: acr.map(str::to_owned),
            amr: amr.iter().map(|&one| one.to_owned()).collect(),
            auth_time,
        };
        Principal::from(attributes)
    };
    let may = |who: &Principal, name, now| asked(&set, who, &tool(name), Ask::Call, &at(now)).0;
    let strong = logged_in(Some("gold"), &["pwd", "mfa"], Some(noon));
    for name in ["drop", "pay", "ship"] {
        assert!(may(&strong, name, noon), "{name}");
        for weak in [
            logged_in(None, &[], None),
            logged_in(Some("silver"), &["pwd"], Some(Duration::ZERO)),
        ] {
            assert!(!may(&weak, name, noon), "{name}");
            assert_ne!(set.key(&strong), set.key(&weak));
        }
    }
    // The login grows old while the token is good.
    let end = noon + Duration::from_mins(15);
    assert!(may(&strong, "ship", end));
    assert!(!may(&strong, "ship", end + Duration::from_millis(1)));
    // Each by itself, and nothing where nobody asks.
    for (condition, told) in [
        (r#"principal.amr.contains("mfa")"#, [false, true, false]),
        (
            r#"principal has acr && principal.acr like "*""#,
            [true, false, false],
        ),
        ("principal has authTime", [false, false, true]),
        ("principal == Principal::\"x|y\"", [false; 3]),
        ("[principal].contains(principal)", [true; 3]),
    ] {
        let set = policies(&format!(
            "permit(principal, action, resource) when {{ {condition} }};"
        ));
        let one = logged_in(None, &[], None);
        let others = [
            logged_in(Some(""), &[], None),
            logged_in(None, &[""], None),
            logged_in(None, &[], Some(Duration::ZERO)),
        ];
        let apart = others
            .each_ref()
            .map(|other| set.key(other) != set.key(&one));
        assert_eq!(apart, told, "{condition}");
        if told == [true; 3] {
            assert_ne!(set.key(&others[0]), set.key(&others[1]));
        }
    }
    // A time that can't be written is none.
    let never = logged_in(None, &[], Some(Duration::MAX));
    assert!(!may(&never, "ship", noon));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (name, text, place, message) in [
        (
            "p.cedar",
            "permit(principal, action, resource)",
            "p.cedar:1:36",
            "unexpected end",
        ),
        (
            "p.cedar",
            "permit(principal, action, resource);\n\npermit(principal, action == Action::\"tools/cal\", resource);",
            "p.cedar:3:",
            "unrecognized action",
        ),
        (
            "p.cedar",
            "permit(principal, action == Action::\"tools/call\", resource)\n  when { resource.readonly };",
            "p.cedar:2:10",
            "`readonly`",
        ),
        (
            "p.cedar",
            "permit(principal, action == Action::\"tools/call\", resource) when { resource.dataClass == DataClass::\"secret\" };",
            "p.cedar:1:",
            "secret",
        ),
        (
            "p.cedar",
            "permit(principal == ?principal, action, resource);",
            "p.cedar:1:1",
            "template",
        ),
        (
            "p.cedar",
            "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
            "p.cedar:2:1",
            "there already",
        ),
        (
            "t.cedarschema",
            "type Arguments = { a?: Lng };",
            "t.cedarschema",
            "Lng",
        ),
        (
            "t.cedarschema",
            "type Arguments = { a: Long };",
            "t.cedarschema",
            "optional",
        ),
        (
            "t.cedarschema",
            "type Arguments = ",
            "t.cedarschema:1:",
            "unexpected end",
        ),
        (
            "t.cedarschema",
            "entity Spy;",
            "t.cedarschema",
            "only types",
        ),
    ] {
        let error = Policies::compile(&[source(name, text)], None).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(place), "{text}\n{shown}");
        assert!(shown.contains(message), "{text}\n{shown}");
    }
    let error = Policies::compile(&[], Some("Mars/Base")).unwrap_err();
    assert!(error.to_string().contains("Mars/Base"), "{error}");
}

#[test]
fn a_policy_without_a_name_is_known_by_its_line() {
    let set = Policies::compile(
        &[source(
            "some/roles.cedar",
            "\npermit(principal, action, resource);",
        )],
        None,
    )
    .unwrap();
    let who = principal("acme", "ana", &[]);
    let (_, names, _) = asked(&set, &who, &tool("t"), Ask::Call, &Circumstances::default());
    assert_eq!(names, ["roles.cedar:2"]);
}

#[test]
fn the_revision_follows_the_text() {
    let (a, b) = (
        policies("permit(principal, action, resource);"),
        policies(""),
    );
    assert_ne!(a.revision(), b.revision());
    assert_eq!(
        a.revision(),
        policies("permit(principal, action, resource);").revision()
    );
}

#[test]
fn a_policy_for_everything_is_told_what_an_administration_does_not_have() {
    for asked in [
        r#"resource.name like "crm_*""#,
        r#"resource.server == Server::"crm""#,
        r#"resource.dataClass == DataClass::"personal""#,
    ] {
        let text = format!("permit(principal, action, resource)\n  when {{ {asked} }};");
        let errors = Policies::compile(&[source("p.cedar", &text)], None).unwrap_err();
        let problem = &errors.0[0];
        assert_eq!((problem.line, errors.0.len()), (2, 1), "{errors}");
        let help = problem.help.as_deref().unwrap_or_default();
        assert!(help.contains(r#"action in Action::"tools""#), "{errors}");
        // As it says.
        for instead in [
            text.replace("action,", r#"action in Action::"tools","#),
            text.replace("resource)", "resource is Tool)"),
            text.replace(
                "resource.",
                "resource has name && resource has server && resource has dataClass && resource.",
            ),
        ] {
            let compiled = Policies::compile(&[source("p.cedar", &instead)], None);
            assert!(compiled.is_ok(), "{instead}: {compiled:?}");
        }
    }
}

/// A resource of the server `crm`, as the gateway asks about it.
fn resource(original: &str, labels: &Labels) -> Resource {
    let none = Templates::default;
    labels.resource(original, &Naming::prefixed("crm").unwrap(), none(), |_| {
        none()
    })
}

/// Whether anybody may read it, and whether it is listed, which has to be the same.
fn readable(policies: &Policies, what: &Resource) -> bool {
    let standing = policies.standing(&principal("acme", "ana", &[]));
    let now = Circumstances::default();
    let [call, list] = [Ask::Call, Ask::List].map(|ask| {
        let verdict = policies.decide(&standing, Action::ResourcesRead, what, ask, &now);
        verdict.decision.allowed
    });
    let shown = Lister::new(policies, &standing, now).shows(Action::ResourcesRead, what);
    assert_eq!((list, shown.allowed), (call, call), "{}", what.name);
    call
}

#[test]
fn a_forbid_holds_for_every_spelling_of_a_uri() {
    for forbid in [
        r#"forbid(principal, action, resource == Resource::"crm+db://acme/rows/~1");"#,
        r#"forbid(principal, action, resource in Resource::"crm+DB://Acme/x/../rows/%7e1");"#,
        r#"forbid(principal, action, resource is Resource in Resource::"crm+db://ACME/rows/~1");"#,
        r#"forbid(principal, action, resource is Resource) when { resource.name like "*/rows/~1" };"#,
        r#"forbid(principal, action, resource is Resource) when { resource.name like "crm+db://ACME/rows/*" };"#,
        r#"forbid(principal, action, resource) when { resource == Resource::"crm+DB://acme/rows/%7E1" };"#,
        r#"forbid(principal, action, resource is Resource) when { ["crm+DB://acme/rows/%7E1"].contains(resource.name) };"#,
    ] {
        let policies = policies(&format!("permit(principal, action, resource);{forbid}"));
        let labels = Labels {
            server: "crm".into(),
            ..Labels::default()
        };
        for spelling in [
            "db://acme/rows/~1",
            "DB://acme/rows/~1",
            "db://Acme/rows/~1",
            "db://acme/rows/%7E1",
            "db://acme/rows/%7e1",
            "db://acme/x/../rows/~1",
            "db://acme/./rows/%2e%2E/rows/~1",
            "db:\\\\acme\\rows\\~1",
            " db://ac\nme/rows/~1",
        ] {
            assert!(
                !readable(&policies, &resource(spelling, &labels)),
                "{spelling} {forbid}"
            );
        }
        for other in ["db://acme/Rows/1", "DB://acme/x/../other", "db://beta/~1"] {
            assert!(
                readable(&policies, &resource(other, &labels)),
                "{other} {forbid}"
            );
        }
    }
}

#[test]
fn a_permit_is_no_way_to_what_another_spelling_means() {
    let labels = Labels {
        server: "crm".into(),
        ..Labels::default()
    };
    let of = |text: &str, uri: &str| readable(&policies(text), &resource(uri, &labels));
    let public = r#"permit(principal, action, resource is Resource) when { resource.name like "crm+file:///public/*" };"#;
    assert!(of(public, "file:///public/a") && of(public, "file:///public/x/../a"));
    for outside in [
        "file:///public/../a",
        "file:///public/%2e%2e/a",
        "file:///x/../public/a",
    ] {
        assert!(!of(public, outside), "{outside}");
    }
    // What a policy writes as its server lists it is permitted, and nothing that is written
    // otherwise: names may have small and capital letters.
    for permit in [
        r#"permit(principal, action, resource == Resource::"crm+note://MyNote/%7e");"#,
        r#"permit(principal, action, resource is Resource) when { resource.name == "crm+note://MyNote/%7e" };"#,
        r#"permit(principal, action, resource is Resource) when { resource.name like "crm+note://My*/%7e" };"#,
    ] {
        assert!(of(permit, "note://MyNote/%7e"), "{permit}");
        assert!(
            !of(permit, "note://mynote/~") && !of(permit, "note://MyNote/~"),
            "{permit}"
        );
    }
}

#[test]
fn a_data_class_holds_for_every_spelling_of_a_uri() {
    let policies = policies(
        r#"permit(principal, action, resource);
           forbid(principal, action, resource in DataClass::"personal");"#,
    );
    for name in ["db://acme/people/*", "DB://Acme/x/../people/*"] {
        let labels = Labels {
            server: "crm".into(),
            classes: Classes {
                default: DataClass::Internal,
                exceptions: vec![(name.to_owned(), DataClass::Personal)],
            },
            ..Labels::default()
        };
        for uri in [
            "db://acme/people/1",
            "DB://acme/people/1",
            "db://acme/%70eople/1",
            "db://acme/x/../people/1",
        ] {
            assert!(
                !readable(&policies, &resource(uri, &labels)),
                "{uri} {name}"
            );
        }
        assert!(readable(
            &policies,
            &resource("db://acme/People/1", &labels)
        ));
    }
}
