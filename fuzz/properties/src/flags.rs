//! Definitions of flags are read or refused with reasons, and what was read has an answer for
//! everybody: the same each time, and the same for those who differ by nothing that it depends on.

use std::time::Duration;

use mcp_ultra_domain::{
    Attributes, Principal, PrincipalKind,
    flags::{Flag, FlagContext, Flags, Reason, Source, Switches},
    policy::{Annotations, DataClass, Resource, Target},
};

/// The property.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let source = Source {
        name: "fuzz.json".to_owned(),
        text: text.to_owned(),
    };
    let flags = match Flags::read(&[source]) {
        Ok(flags) => flags,
        Err(errors) => {
            assert!(!errors.0.is_empty(), "an error says what is wrong");
            let lines = text.lines().count().max(1);
            assert!(errors.0.iter().all(|problem| problem.line <= lines + 1));
            return;
        }
    };
    let switches = Switches::of(&flags);
    let target = Resource::new(
        Target::Tool(Annotations::default()),
        "crm_find".into(),
        "crm".into(),
        DataClass::default(),
    );
    let (one, other) = (
        caller("acme", "ana", "reader"),
        caller("umbrella", "bob", "admin"),
    );
    for flag in flags.iter() {
        assert!(!flag.owner().is_empty());
        let first = answer(flag, &one, &target);
        assert_eq!(first, answer(flag, &one, &target));
        let depends = flag.depends();
        if depends.key(one.attributes()) == depends.key(other.attributes()) {
            assert_eq!(first, answer(flag, &other, &target));
        }
    }
    if let Some(switches) = switches {
        let off = switches.off(&target, &one, Duration::ZERO);
        assert!(off.is_none() || switches.of_resource(&target).is_some());
    }
}

fn caller(tenant: &str, subject: &str, role: &str) -> Principal {
    let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", subject);
    attributes.roles.insert(role.to_owned());
    attributes.into()
}

/// The variant, which is one of the flag's, and why it is that one.
fn answer<'f>(flag: &'f Flag, who: &Principal, target: &Resource) -> (Option<&'f str>, Reason) {
    let context = FlagContext {
        principal: who,
        target: Some(target),
        now: Duration::from_secs(1_700_000_000),
        attributes: None,
    };
    let details = flag.evaluate(&context);
    let has_value = !matches!(details.reason, Reason::Disabled | Reason::Error);
    assert_eq!(details.value.is_some(), has_value);
    assert_eq!(details.error.is_some(), details.reason == Reason::Error);
    let mut variants = flag.variants().map(|(name, _)| name);
    let variant = details
        .variant
        .and_then(|chosen| variants.find(|name| *name == chosen));
    assert_eq!(variant.is_some(), has_value);
    (variant, details.reason)
}
