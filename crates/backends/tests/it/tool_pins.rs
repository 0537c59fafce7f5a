use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    pinning::{
        Definition, Ground, LONGEST_NAME, MOST_PINS, PinHead, Sighting, Standing, fingerprint,
    },
    ports::{MemoryPinStore, PinStore, PinStoreError},
    scan::{Finding, FindingKind, Severity},
};

contracts!(
    MemoryPinStore,
    the_first_sight_is_approved_and_a_change_waits,
    what_returns_waits_no_more,
    what_is_suspicious_waits_until_it_is_approved,
    an_approval_is_for_what_was_meant,
    of_two_that_see_a_tool_first_one_decides,
    of_many_approvals_one_is_counted,
    a_lock_file_outweighs_what_is_known,
    what_is_gone_is_remembered,
    what_is_forgotten_is_seen_for_the_first_time,
    what_has_been_gone_for_long_ends_unless_it_waits,
    servers_that_nobody_reads_offer_nothing,
    the_number_of_approvals_does_not_go_back,
    pages_follow_each_other,
    a_server_that_offers_without_end_pushes_nothing_out,
    names_are_whatever_servers_make_them,
);

const AT: Duration = Duration::from_secs(100);
const FIRST: Ground = Ground::FirstSight { suspicious: false };
const SUSPICIOUS: Ground = Ground::FirstSight { suspicious: true };

fn sighting(tool: &str, text: &str, ground: Ground) -> Sighting {
    Sighting {
        tool: tool.into(),
        definition: Definition::new(&text.into()),
        findings: Vec::new(),
        ground,
    }
}

async fn see(store: &dyn PinStore, tool: &str, text: &str, ground: Ground) {
    let seen = [sighting(tool, text, ground)];
    store.saw("crm", &seen, &[], AT).await.unwrap();
}

async fn standing(store: &dyn PinStore, tool: &str) -> Standing {
    store.get("crm", tool).await.unwrap().unwrap().standing()
}

async fn the_first_sight_is_approved_and_a_change_waits(store: &dyn PinStore) {
    see(store, "it's \"é\"", "1", FIRST).await;
    let mut changed = sighting("it's \"é\"", "2", FIRST);
    changed.findings.push(Finding {
        kind: FindingKind::Invisible,
        severity: Severity::High,
        at: "title".into(),
        what: "U+200B".into(),
    });
    let seen = std::slice::from_ref(&changed);
    store.saw("crm", seen, &[], AT * 2).await.unwrap();
    store.saw("crm", seen, &[], AT * 3).await.unwrap();
    let pin = store.get("crm", "it's \"é\"").await.unwrap().unwrap();
    let approved = pin.approved.as_ref().unwrap();
    assert_eq!((approved.text.as_deref(), approved.at), (Some("1"), AT));
    let (waiting, standing) = pin.waiting.as_ref().unwrap();
    assert_eq!(
        (waiting.text.as_deref(), waiting.at, *standing),
        (Some("2"), AT * 2, Standing::Changed),
        "what waits keeps the time at which it was first seen"
    );
    assert_eq!(
        (&pin.findings, &pin.approved_by),
        (&changed.findings, &None)
    );
    let heads = store.of_server("crm").await.unwrap();
    assert_eq!(heads, [pin.head()]);
    assert_eq!(store.of_server("cr").await.unwrap(), []);
    assert_eq!(store.get("crm", "other").await.unwrap(), None);
}

async fn what_returns_waits_no_more(store: &dyn PinStore) {
    for text in ["1", "2", "3", "1"] {
        see(store, "a", text, FIRST).await;
    }
    let pin = store.get("crm", "a").await.unwrap().unwrap();
    assert_eq!((pin.standing(), &pin.waiting), (Standing::Approved, &None));
    let late = store.approve("crm", "a", fingerprint("2"), "ana", AT).await;
    assert_eq!(late, Err(PinStoreError::Changed));
}

async fn what_is_suspicious_waits_until_it_is_approved(store: &dyn PinStore) {
    see(store, "a", "1", SUSPICIOUS).await;
    assert_eq!(standing(store, "a").await, Standing::Suspicious);
    // A harmless one that comes after it was agreed to by nobody either.
    see(store, "a", "2", FIRST).await;
    assert_eq!(standing(store, "a").await, Standing::Unknown);
    see(store, "a", "1", SUSPICIOUS).await;
    let approved = store
        .approve("crm", "a", fingerprint("1"), "ana", AT * 2)
        .await;
    assert_eq!(approved.unwrap().approved_by.as_deref(), Some("ana"));
    see(store, "a", "1", SUSPICIOUS).await;
    assert_eq!(standing(store, "a").await, Standing::Approved);
}

async fn an_approval_is_for_what_was_meant(store: &dyn PinStore) {
    let approve = async |text| {
        store
            .approve("crm", "a", fingerprint(text), "ana", AT * 2)
            .await
    };
    assert_eq!(approve("1").await, Err(PinStoreError::NotFound));
    see(store, "a", "1", FIRST).await;
    see(store, "a", "2", FIRST).await;
    let before = store.approvals().await.unwrap();
    assert_eq!(approve("3").await, Err(PinStoreError::Changed));
    assert_eq!(store.approvals().await.unwrap(), before);
    let pin = approve("2").await.unwrap();
    let approved = pin.approved.clone().unwrap();
    assert_eq!((approved.text.as_deref(), approved.at), (Some("2"), AT * 2));
    assert_eq!(pin.waiting, None);
    let after = store.approvals().await.unwrap();
    assert_ne!(after, before);
    // Sent again, it is the same and nothing happens.
    assert_eq!(approve("2").await, Ok(pin));
    assert_eq!(store.approvals().await.unwrap(), after);
    see(store, "a", "1", FIRST).await;
    assert_eq!(standing(store, "a").await, Standing::Changed);
}

async fn of_two_that_see_a_tool_first_one_decides(store: &dyn PinStore) {
    let texts: Vec<String> = (0..4).map(|number| number.to_string()).collect();
    for round in 0..10 {
        let tool = &format!("tool {round}");
        let sees = texts.iter().map(|text| async move {
            see(store, tool, text, FIRST).await;
            let pin = store.get("crm", tool).await.unwrap().unwrap();
            pin.approved.unwrap().fingerprint
        });
        let approved = join_all(sees).await;
        let first = approved[0];
        assert!(approved.iter().all(|one| *one == first), "{approved:?}");
        assert!(texts.iter().any(|text| fingerprint(text) == first));
        let pin = store.get("crm", tool).await.unwrap().unwrap();
        let (waiting, standing) = pin.waiting.unwrap();
        assert_eq!(standing, Standing::Changed);
        assert_ne!(waiting.fingerprint, first);
    }
}

async fn of_many_approvals_one_is_counted(store: &dyn PinStore) {
    see(store, "a", "1", FIRST).await;
    see(store, "a", "2", FIRST).await;
    let names: Vec<String> = (0..8).map(|number| format!("admin {number}")).collect();
    let approvals = names
        .iter()
        .map(|by| store.approve("crm", "a", fingerprint("2"), by, AT));
    for approved in join_all(approvals).await {
        approved.unwrap();
    }
    let pin = store.get("crm", "a").await.unwrap().unwrap();
    let by = pin.approved_by.unwrap();
    assert!(names.contains(&by));
    assert_eq!(store.approvals().await, Ok(1));
}

async fn a_lock_file_outweighs_what_is_known(store: &dyn PinStore) {
    see(store, "a", "1", FIRST).await;
    see(store, "a", "2", Ground::Lock(Standing::Approved)).await;
    see(store, "b", "1", Ground::Lock(Standing::Unknown)).await;
    assert_eq!(standing(store, "a").await, Standing::Approved);
    assert_eq!(standing(store, "b").await, Standing::Unknown);
    see(store, "a", "1", Ground::Lock(Standing::Changed)).await;
    let pin = store.get("crm", "a").await.unwrap().unwrap();
    assert_eq!(pin.approved.unwrap().text.as_deref(), Some("2"));
}

async fn what_is_gone_is_remembered(store: &dyn PinStore) {
    see(store, "a", "1", FIRST).await;
    let gone_names = ["a".to_owned(), "never".to_owned()];
    store.saw("crm", &[], &gone_names, AT).await.unwrap();
    assert_eq!(gone(store, "a").await, Some(AT));
    store.saw("crm", &[], &gone_names, AT * 2).await.unwrap();
    assert_eq!(
        gone(store, "a").await,
        Some(AT),
        "since it was first missed"
    );
    // Whoever takes a tool away and brings another one back has not been seen for the first time.
    see(store, "a", "2", FIRST).await;
    let pin = store.get("crm", "a").await.unwrap().unwrap();
    assert_eq!((pin.standing(), pin.gone), (Standing::Changed, None));
    store.saw("crm", &[], &gone_names, AT).await.unwrap();
    see(store, "a", "1", FIRST).await;
    let pin = store.get("crm", "a").await.unwrap().unwrap();
    assert_eq!((pin.standing(), pin.gone), (Standing::Approved, None));
    store.saw("crm", &[], &gone_names, AT).await.unwrap();
    see(store, "a", "1", FIRST).await;
    assert_eq!(gone(store, "a").await, None);
}

async fn gone(store: &dyn PinStore, tool: &str) -> Option<Duration> {
    store.get("crm", tool).await.unwrap().unwrap().gone
}

async fn leave(store: &dyn PinStore, tool: &str, at: Duration) {
    store.saw("crm", &[], &[tool.to_owned()], at).await.unwrap();
}

async fn what_is_forgotten_is_seen_for_the_first_time(store: &dyn PinStore) {
    let head = async |tool: &str| store.get("crm", tool).await.unwrap().map(|pin| pin.head());
    see(store, "a", "1", FIRST).await;
    see(store, "b", "1", SUSPICIOUS).await;
    let (before, waits) = (head("a").await.unwrap(), head("b").await.unwrap());
    // What is offered is not forgotten, whatever was meant.
    for meant in [
        before.clone(),
        PinHead {
            offered: false,
            ..before.clone()
        },
    ] {
        let offered = store.forget("crm", &meant).await;
        assert_eq!(offered, Err(PinStoreError::Changed));
    }
    leave(store, "a", AT).await;
    leave(store, "b", AT).await;
    let gone = head("a").await.unwrap();
    assert_eq!(
        store.forget("crm", &before).await,
        Err(PinStoreError::Changed)
    );
    assert_eq!(
        store.forget("mail", &gone).await,
        Err(PinStoreError::NotFound)
    );
    // Nor what was seen changed in between.
    for (text, waiting) in [("2", true), ("1", false)] {
        see(store, "a", text, FIRST).await;
        leave(store, "a", AT).await;
        let now = head("a").await.unwrap();
        assert_eq!(now.waiting.is_some(), waiting);
        let forgotten = store
            .forget("crm", if waiting { &gone } else { &waits })
            .await;
        assert_eq!(forgotten, Err(PinStoreError::Changed));
    }
    store.forget("crm", &gone).await.unwrap();
    assert_eq!(
        store.forget("crm", &gone).await,
        Err(PinStoreError::NotFound)
    );
    store
        .forget("crm", &head("b").await.unwrap())
        .await
        .unwrap();
    assert_eq!(store.of_server("crm").await.unwrap(), []);
    see(store, "a", "2", FIRST).await;
    see(store, "b", "2", FIRST).await;
    assert_eq!(standing(store, "a").await, Standing::Approved);
    assert_eq!(standing(store, "b").await, Standing::Approved);
}

async fn what_has_been_gone_for_long_ends_unless_it_waits(store: &dyn PinStore) {
    for (tool, since) in [("early", AT), ("late", AT * 2), ("waits", AT)] {
        see(store, tool, "1", FIRST).await;
        if tool == "waits" {
            see(store, tool, "2", FIRST).await;
        }
        leave(store, tool, since).await;
    }
    see(store, "here", "1", FIRST).await;
    assert_eq!(store.forget_gone(AT).await, Ok(0));
    assert_eq!(store.forget_gone(AT * 2).await, Ok(1));
    let left = store.of_server("crm").await.unwrap();
    let left: Vec<&str> = left.iter().map(|head| &*head.tool).collect();
    assert_eq!(left, ["here", "late", "waits"]);
}

async fn servers_that_nobody_reads_offer_nothing(store: &dyn PinStore) {
    for server in ["crm", "mail", "old"] {
        let seen = [sighting("a", "1", FIRST), sighting("b", "1", FIRST)];
        store.saw(server, &seen, &[], AT).await.unwrap();
    }
    store.saw("old", &[], &["a".to_owned()], AT).await.unwrap();
    store.only(&["mail", "crm"], AT * 3).await.unwrap();
    store.only(&["mail", "crm"], AT * 4).await.unwrap();
    for (server, expected) in [
        ("crm", [None, None]),
        ("mail", [None, None]),
        ("old", [Some(AT), Some(AT * 3)]),
    ] {
        for (tool, gone) in ["a", "b"].into_iter().zip(expected) {
            let pin = store.get(server, tool).await.unwrap().unwrap();
            assert_eq!(pin.gone, gone, "{server}/{tool}");
        }
    }
}

async fn the_number_of_approvals_does_not_go_back(store: &dyn PinStore) {
    for tool in ["a", "b"] {
        see(store, tool, "1", FIRST).await;
        see(store, tool, "2", FIRST).await;
    }
    let approve = async |tool| {
        let approved = store.approve("crm", tool, fingerprint("2"), "ana", AT);
        approved.await.unwrap();
    };
    approve("a").await;
    let before = store.approvals().await.unwrap();
    leave(store, "a", AT).await;
    let head = store.get("crm", "a").await.unwrap().unwrap().head();
    store.forget("crm", &head).await.unwrap();
    approve("b").await;
    assert_ne!(store.approvals().await.unwrap(), before);
}

async fn pages_follow_each_other(store: &dyn PinStore) {
    for server in ["b", "a"] {
        let seen = [sighting("y", "1", FIRST), sighting("x", "1", SUSPICIOUS)];
        store.saw(server, &seen, &[], AT).await.unwrap();
    }
    for (waiting, expected) in [
        (false, &["a/x", "a/y", "b/x", "b/y"][..]),
        (true, &["a/x", "b/x"]),
    ] {
        let mut seen: Vec<(String, String)> = Vec::new();
        loop {
            let after = seen.last().map(|(server, tool)| (&**server, &**tool));
            let page = store.list(after, waiting, 1).await.unwrap();
            let Some(pin) = page.into_iter().next() else {
                break;
            };
            seen.push((pin.server, pin.tool));
        }
        let names: Vec<String> = seen.iter().map(|(s, t)| format!("{s}/{t}")).collect();
        assert_eq!(names, expected);
    }
}

async fn a_server_that_offers_without_end_pushes_nothing_out(store: &dyn PinStore) {
    see(store, "a", "1", FIRST).await;
    for round in 0..3 {
        let names = (0..MOST_PINS / 2).map(|number| format!("t-{round}-{number}"));
        let seen: Vec<_> = names.map(|name| sighting(&name, "1", FIRST)).collect();
        store.saw("crm", &seen, &[], AT).await.unwrap();
    }
    assert_eq!(store.of_server("crm").await.unwrap().len(), MOST_PINS);
    see(store, "a", "2", FIRST).await;
    assert_eq!(standing(store, "a").await, Standing::Changed);
}

async fn names_are_whatever_servers_make_them(store: &dyn PinStore) {
    // What no compression makes shorter.
    let noise = |length: usize| -> String {
        let steps = (0..length).scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(33 + (*state >> 24) % 90)
        });
        steps.collect()
    };
    let names = [
        "with\0nul".to_owned(),
        "\0".to_owned(),
        "\u{10FFFF}0".to_owned(),
        "'; DROP TABLE tool_pins; --".to_owned(),
        noise(LONGEST_NAME),
    ];
    let sightings = |text: &str| -> Vec<_> {
        let named = names.iter().map(|name| sighting(name, text, FIRST));
        named
            .chain([sighting(&noise(LONGEST_NAME + 1), text, FIRST)])
            .collect()
    };
    store.saw("crm", &sightings("a\0b"), &[], AT).await.unwrap();
    store.saw("crm", &sightings("2"), &[], AT).await.unwrap();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let heads = store.of_server("crm").await.unwrap();
    let mut known: Vec<_> = heads.into_iter().map(|head| head.tool).collect();
    known.sort_unstable();
    assert_eq!(known, expected, "and not the one that is too long");
    for name in &names {
        let pin = store.get("crm", name).await.unwrap().unwrap();
        let text = pin.approved.as_ref().unwrap().text.as_deref();
        assert_eq!((text, pin.standing()), (Some("a\0b"), Standing::Changed));
    }
}

#[tokio::test]
async fn pins_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Database::open_sqlite(&path).await.unwrap();
    see(&store, "a", "1", FIRST).await;
    see(&store, "a", "2", FIRST).await;
    let before = PinStore::get(&store, "crm", "a").await.unwrap();
    store.close().await;
    let store = Database::open_sqlite(&path).await.unwrap();
    assert_eq!(PinStore::get(&store, "crm", "a").await.unwrap(), before);
    let pin = store.approve("crm", "a", fingerprint("2"), "ana", AT).await;
    assert_eq!(pin.unwrap().standing(), Standing::Approved);
}
