use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    ports::{MemoryRegistryStore, RegistryStore, RegistryStoreError},
    registry::{Change, KEPT_CHANGES, Kind, Registry},
};

contracts!(
    MemoryRegistryStore,
    what_is_put_is_read_in_the_order_in_which_it_came,
    a_change_is_made_on_the_revision_that_it_was_checked_with_alone,
    of_many_changes_on_one_revision_one_is_made,
    what_was_changed_is_known_for_a_while,
);

const AT: Duration = Duration::from_millis(1_800_000_000_123);

fn change(kind: Kind, name: &str, text: Option<&str>) -> Change {
    Change {
        kind,
        name: name.into(),
        text: text.map(Into::into),
        by: "user:4:acme:olga".into(),
        at: AT,
    }
}

async fn what_is_put_is_read_in_the_order_in_which_it_came(store: &dyn RegistryStore) {
    assert_eq!(store.read().await.unwrap(), Registry::default());
    assert_eq!(store.revision().await.unwrap(), 0);
    let mut model = Registry::default();
    for made in [
        change(
            Kind::Server,
            "z",
            Some("url: \"https://z\"\nodd: \0\u{10FFFF}"),
        ),
        change(
            Kind::Policy,
            "z",
            Some("permit(principal, action, resource);"),
        ),
        change(Kind::Server, "a", Some("")),
        change(Kind::Flag, "f", Some("{}")),
        change(Kind::Server, "z", Some("url: https://z2")),
        change(Kind::Policy, "z", None),
        change(Kind::Policy, "z", Some("again")),
        change(Kind::Server, "not there", None),
    ] {
        model = model.with(&made);
        let revision = store.apply(model.revision - 1, &made).await.unwrap();
        assert_eq!(revision, model.revision);
        assert_eq!(store.read().await.unwrap(), model);
        assert_eq!(store.revision().await.unwrap(), revision);
    }
    let names: Vec<&str> = model.of(Kind::Server).map(|one| &*one.name).collect();
    assert_eq!(names, ["z", "a"]);
    assert_eq!(model.get(Kind::Server, "z").unwrap().created, 1);
    assert_eq!(model.get(Kind::Server, "z").unwrap().revision, 5);
    assert_eq!(model.get(Kind::Policy, "z").unwrap().created, 7);
}

async fn a_change_is_made_on_the_revision_that_it_was_checked_with_alone(
    store: &dyn RegistryStore,
) {
    let first = change(Kind::Server, "crm", Some("one"));
    assert_eq!(store.apply(0, &first).await, Ok(1));
    let second = change(Kind::Server, "crm", Some("two"));
    for on in [0, 2, 7, u64::MAX] {
        let refused = store.apply(on, &second).await;
        assert_eq!(refused, Err(RegistryStoreError::Changed), "{on}");
    }
    let there = store.read().await.unwrap();
    assert_eq!(there, Registry::default().with(&first));
    assert_eq!(store.apply(1, &second).await, Ok(2));
}

async fn of_many_changes_on_one_revision_one_is_made(store: &dyn RegistryStore) {
    let changes: Vec<Change> = (0..4)
        .map(|n| change(Kind::Server, &format!("s{n}"), Some("x")))
        .collect();
    let made = join_all(changes.iter().map(|one| store.apply(0, one))).await;
    let fine = made.iter().filter(|one| **one == Ok(1)).count();
    assert_eq!(fine, 1, "{made:?}");
    let refused = made
        .iter()
        .filter(|one| **one == Err(RegistryStoreError::Changed));
    assert_eq!(refused.count(), 3, "{made:?}");
    let there = store.read().await.unwrap();
    assert_eq!((there.revision, there.entries.len()), (1, 1));
}

async fn what_was_changed_is_known_for_a_while(store: &dyn RegistryStore) {
    let texts = [Some("one"), None, Some("two")];
    for (on, text) in (0..).zip(texts) {
        let made = change(Kind::Flag, "f", text);
        store.apply(on, &made).await.unwrap();
    }
    let other = change(Kind::Policy, "f", Some("other"));
    store.apply(3, &other).await.unwrap();
    let history = store.history(Kind::Flag, "f", None, 10).await.unwrap();
    let seen: Vec<_> = history
        .iter()
        .map(|past| (past.revision, past.change.text.as_deref()))
        .collect();
    assert_eq!(seen, [(3, Some("two")), (2, None), (1, Some("one"))]);
    assert_eq!(history[0].change, change(Kind::Flag, "f", Some("two")));
    let page = store.history(Kind::Flag, "f", Some(3), 1).await.unwrap();
    assert_eq!(page, history[1..2]);
    assert_eq!(store.history(Kind::Server, "f", None, 9).await, Ok(vec![]));
    for on in 4..=KEPT_CHANGES {
        store.apply(on, &other).await.unwrap();
    }
    let rest = store.history(Kind::Flag, "f", None, 10).await.unwrap();
    assert_eq!(rest, history[..2], "the first of all is forgotten");
}
