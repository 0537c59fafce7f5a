use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    Grant,
    ports::{GrantStore, GrantStoreError, MemoryGrantStore},
};

contracts!(
    MemoryGrantStore,
    what_is_put_is_found,
    a_new_grant_takes_the_place_of_the_one_before,
    principals_and_servers_are_apart,
    tenants_are_apart,
    of_many_that_renew_at_once_one_does,
    of_many_that_claim_at_once_one_does,
    a_claim_ends_with_its_time_its_revision_or_who_has_it,
    what_has_changed_is_not_removed,
    pages_and_subjects_are_listed,
    the_oldest_of_a_server_come_first,
);

const AT: Duration = Duration::from_millis(1_800_000_000_123);

fn grant(id: &str, subject: &str, server: &str) -> Grant {
    Grant {
        id: id.into(),
        tenant: "acme".into(),
        principal: format!("user:acme:{subject}"),
        issuer: "https://login.example.com".into(),
        subject: subject.into(),
        server: server.into(),
        scopes: ["read", "write"].map(str::to_owned).into(),
        tokens: format!("sealed-{id}"),
        created: AT,
        renewed: AT,
        revision: 1,
    }
}

async fn found(store: &dyn GrantStore, subject: &str, server: &str) -> Option<Grant> {
    let principal = format!("user:acme:{subject}");
    store.find(&principal, server).await.unwrap()
}

async fn what_is_put_is_found(store: &dyn GrantStore) {
    let given = grant("g1", "ana", "tickets");
    assert_eq!(found(store, "ana", "tickets").await, None);
    store.put(&given).await.unwrap();
    assert_eq!(found(store, "ana", "tickets").await, Some(given.clone()));
    assert_eq!(store.get("acme", "g1").await.unwrap(), Some(given));
    assert_eq!(store.get("acme", "g2").await.unwrap(), None);
}

async fn a_new_grant_takes_the_place_of_the_one_before(store: &dyn GrantStore) {
    store.put(&grant("g1", "ana", "tickets")).await.unwrap();
    let again = Grant {
        scopes: BTreeSet::new(),
        created: AT * 2,
        renewed: AT * 2,
        ..grant("g2", "ana", "tickets")
    };
    store.put(&again).await.unwrap();
    assert_eq!(found(store, "ana", "tickets").await, Some(again.clone()));
    assert_eq!(store.get("acme", "g1").await.unwrap(), None);
    let of_old = grant("g1", "ana", "tickets").renewed("x".into(), BTreeSet::new(), AT);
    let late = store.replace(&of_old, 1).await;
    assert_eq!(late, Err(GrantStoreError::Changed), "of the grant before");
    assert_eq!(found(store, "ana", "tickets").await, Some(again));
}

async fn principals_and_servers_are_apart(store: &dyn GrantStore) {
    for (id, subject, server) in [
        ("g1", "ana", "tickets"),
        ("g2", "ana", "mail"),
        ("g3", "bea", "tickets"),
    ] {
        store.put(&grant(id, subject, server)).await.unwrap();
    }
    let id = async |subject, server| found(store, subject, server).await.map(|grant| grant.id);
    assert_eq!(id("ana", "tickets").await.as_deref(), Some("g1"));
    assert_eq!(id("ana", "mail").await.as_deref(), Some("g2"));
    assert_eq!(id("bea", "tickets").await.as_deref(), Some("g3"));
    assert_eq!(id("bea", "mail").await, None);
    store.remove("acme", "g1", 1).await.unwrap();
    assert_eq!(id("ana", "tickets").await, None);
    assert_eq!(id("bea", "tickets").await.as_deref(), Some("g3"));
}

async fn tenants_are_apart(store: &dyn GrantStore) {
    let given = grant("g1", "ana", "tickets");
    store.put(&given).await.unwrap();
    assert_eq!(store.get("other", "g1").await.unwrap(), None);
    assert_eq!(store.list("other", None, None, 10).await.unwrap(), []);
    let changed = Err(GrantStoreError::Changed);
    assert_eq!(store.remove("other", "g1", 1).await, changed);
    let moved = Grant {
        tenant: "other".into(),
        ..given.renewed("x".into(), BTreeSet::new(), AT)
    };
    assert_eq!(store.replace(&moved, 1).await, changed);
    assert_eq!(found(store, "ana", "tickets").await, Some(given));
}

async fn of_many_that_renew_at_once_one_does(store: &dyn GrantStore) {
    let given = grant("g1", "ana", "tickets");
    store.put(&given).await.unwrap();
    let renewed: Vec<_> = (0..8)
        .map(|number| given.renewed(format!("sealed-{number}"), BTreeSet::new(), AT * 2))
        .collect();
    let all = join_all(renewed.iter().map(|grant| store.replace(grant, 1))).await;
    let done: Vec<_> = (0..8).filter(|at| all[*at].is_ok()).collect();
    assert_eq!(done.len(), 1, "{all:?}");
    let failed = all.iter().filter_map(|one| one.as_ref().err());
    assert!(
        failed
            .into_iter()
            .all(|error| *error == GrantStoreError::Changed)
    );
    let kept = found(store, "ana", "tickets").await.unwrap();
    assert_eq!(kept, renewed[done[0]]);
    assert_eq!((kept.revision, kept.created, kept.renewed), (2, AT, AT * 2));
}

async fn of_many_that_claim_at_once_one_does(store: &dyn GrantStore) {
    let given = grant("g1", "ana", "tickets");
    store.put(&given).await.unwrap();
    let names: Vec<String> = (0..8).map(|number| format!("claim-{number}")).collect();
    let until = AT + Duration::from_secs(15);
    let all = names
        .iter()
        .map(|by| store.claim_refresh(&given, by, AT, until));
    let all = join_all(all).await;
    let claimed = all.iter().filter(|claimed| **claimed == Ok(true)).count();
    assert_eq!(claimed, 1, "{all:?}");
    // It is of no other grant, and says nothing of what is kept.
    let other = grant("g2", "bea", "tickets");
    store.put(&other).await.unwrap();
    assert_eq!(
        store.claim_refresh(&other, "claim-9", AT, until).await,
        Ok(true)
    );
    assert_eq!(found(store, "ana", "tickets").await, Some(given));
}

async fn a_claim_ends_with_its_time_its_revision_or_who_has_it(store: &dyn GrantStore) {
    let second = Duration::from_secs(1);
    let until = AT + second * 15;
    let given = grant("g1", "ana", "tickets");
    let claim = async |grant: &Grant, by: &str, now| {
        let claimed = store.claim_refresh(grant, by, now, now + second * 15).await;
        claimed.unwrap()
    };
    assert!(!claim(&given, "a", AT).await, "there is none");
    store.put(&given).await.unwrap();
    let elsewhere = Grant {
        tenant: "other".into(),
        ..given.clone()
    };
    assert!(!claim(&elsewhere, "a", AT).await);
    assert!(claim(&given, "a", AT).await);
    assert!(!claim(&given, "b", AT + second * 14).await);
    assert!(claim(&given, "b", until).await, "its time is over");
    // Who had it before can't give back what is of another one now.
    store.unclaim_refresh(&given, "a").await.unwrap();
    assert!(!claim(&given, "c", until).await);
    store.unclaim_refresh(&elsewhere, "b").await.unwrap();
    store.unclaim_refresh(&given, "b").await.unwrap();
    assert!(claim(&given, "c", until).await);
    // With new tokens it is over, also where they are kept by one who knows nothing of claims.
    let renewed = given.renewed("x".into(), BTreeSet::new(), AT);
    store.replace(&renewed, 1).await.unwrap();
    assert!(!claim(&given, "d", until).await, "of the revision before");
    assert!(claim(&renewed, "d", until).await);
    let anew = grant("g2", "ana", "tickets");
    store.put(&anew).await.unwrap();
    assert!(claim(&anew, "e", until).await, "it is another grant");
}

async fn what_has_changed_is_not_removed(store: &dyn GrantStore) {
    let given = grant("g1", "ana", "tickets");
    store.put(&given).await.unwrap();
    let renewed = given.renewed("x".into(), BTreeSet::new(), AT);
    store.replace(&renewed, 1).await.unwrap();
    let changed = Err(GrantStoreError::Changed);
    assert_eq!(store.remove("acme", "g1", 1).await, changed);
    assert_eq!(store.remove("acme", "g2", 2).await, changed);
    assert_eq!(store.remove("acme", "g1", 2).await, Ok(()));
    assert_eq!(found(store, "ana", "tickets").await, None);
}

async fn pages_and_subjects_are_listed(store: &dyn GrantStore) {
    for number in 0..5 {
        let subject = if number % 2 == 0 { "ana" } else { "bea" };
        let given = grant(&format!("g{number}"), subject, &format!("server-{number}"));
        store.put(&given).await.unwrap();
    }
    let ids = async |subject, after, limit| {
        let grants = store.list("acme", subject, after, limit).await.unwrap();
        grants.into_iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None, 3).await, ["g0", "g1", "g2"]);
    assert_eq!(ids(None, Some("g2"), 3).await, ["g3", "g4"]);
    assert_eq!(ids(Some("ana"), None, 2).await, ["g0", "g2"]);
    assert_eq!(ids(Some("ana"), Some("g2"), 2).await, ["g4"]);
    assert!(ids(Some("carl"), None, 9).await.is_empty());
}

async fn the_oldest_of_a_server_come_first(store: &dyn GrantStore) {
    let minute = Duration::from_mins(1);
    for (id, subject, tenant, server, created) in [
        ("g1", "ana", "acme", "tickets", AT + minute),
        ("g2", "bea", "other", "tickets", AT),
        ("g3", "cid", "acme", "mail", AT),
        ("g4", "dan", "acme", "tickets", AT + minute),
        ("g5", "eva", "acme", "tickets", AT + minute * 2),
    ] {
        let given = Grant {
            tenant: tenant.into(),
            created,
            ..grant(id, subject, server)
        };
        store.put(&given).await.unwrap();
    }
    let ids = async |server, after, limit| {
        let found = store.oldest(server, after, limit).await.unwrap();
        let ids: Vec<String> = found.into_iter().map(|grant| grant.id).collect();
        ids.join(" ")
    };
    assert_eq!(ids("tickets", None, 9).await, "g2 g1 g4 g5");
    assert_eq!(ids("tickets", None, 2).await, "g2 g1");
    assert_eq!(ids("tickets", Some((AT + minute, "g1")), 2).await, "g4 g5");
    assert_eq!(ids("tickets", Some((AT + minute * 2, "g5")), 2).await, "");
    assert_eq!(ids("mail", None, 9).await, "g3");
    assert_eq!(ids("chat", None, 9).await, "");
}
