//! Definitions under their public names.

use mcp_ultra_domain::catalog::{Item, Kind, Labels};
use mcp_ultra_protocol::{json::Object, names::Naming};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_./é -]{1,20}"
}

fn member() -> impl Strategy<Value = String> {
    (
        "[ ]{0,2}\"x[a-z]{1,6}\"[ ]{0,2}",
        prop::sample::select(vec![
            "1e400",
            "[ ]",
            "{\"b\":2, \"a\":1}",
            "null",
            r#""\ud800""#,
        ]),
    )
        .prop_map(|(key, value)| format!("{key}:{value}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_definition_keeps_every_byte_but_its_name(
        name in name(),
        before in prop::option::of(member()),
        behind in prop::option::of(member()),
        kind in prop::sample::select(Kind::ALL.to_vec()),
    ) {
        let key = match kind {
            Kind::Tool | Kind::Prompt => "name",
            Kind::Resource => "uri",
            Kind::Template => "uriTemplate",
        };
        let spelled = serde_json::to_string(&name).unwrap();
        let parts = |name: &str| {
            let members = [before.clone(), Some(format!("\"{key}\" : {name}")), behind.clone()];
            format!("{{{}}}", members.into_iter().flatten().collect::<Vec<_>>().join(" ,"))
        };
        let text = parts(&spelled);
        prop_assume!(Object::parse(&text).is_ok());
        let naming = Naming::prefixed("crm").unwrap();
        let item = Item::new(kind, &text, &naming, &Labels::default()).unwrap();
        prop_assert_eq!(&*item.original, &*name);
        prop_assert_eq!(&*item.modern, parts(&serde_json::to_string(&*item.public).unwrap()));
        prop_assert_eq!(&item.legacy, &item.modern);

        let item = Item::new(kind, &text, &Naming::identity(), &Labels::default()).unwrap();
        prop_assert_eq!(&*item.modern, text);
    }
}
