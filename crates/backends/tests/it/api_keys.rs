use std::{sync::Arc, time::Duration};

use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    ApiKey, KeySecret, PrincipalKind,
    ports::{KeyStore, KeyStoreError, MemoryKeyStore},
};

contracts!(
    MemoryKeyStore,
    what_is_added_is_found,
    names_are_unique_in_a_tenant,
    no_two_keys_share_a_secret,
    tenants_see_their_own_keys_alone,
    pages_follow_each_other,
    a_change_needs_the_revision_it_was_made_for,
    a_refused_change_changes_nothing,
    uses_are_noted_and_never_go_back,
    of_many_changes_at_once_one_wins,
    a_key_and_its_secrets_are_of_one_moment,
    uses_and_changes_at_once_do_not_wait_for_each_other,
);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(tenant: &str, id: &str, name: &str) -> ApiKey {
    ApiKey {
        id: id.into(),
        tenant: tenant.into(),
        name: name.into(),
        kind: PrincipalKind::Agent,
        roles: ["reader".to_owned(), "o'neill \"x\"".to_owned()].into(),
        scopes: ["mcp:tools".to_owned()].into(),
        created: at(10),
        expires: Some(at(1_000)),
        revoked: None,
        revision: 1,
        secrets: vec![KeySecret::new(format!("{id}-a"), [7; 32], at(10))],
    }
}

async fn what_is_added_is_found(store: &dyn KeyStore) {
    let mut key = key("acme", "k1", "reports; DROP TABLE api_keys; --");
    key.expires = None;
    key.secrets.push(KeySecret {
        expires: Some(at(20)),
        last_used: Some(at(15)),
        ..KeySecret::new("k1-b".into(), [8; 32], at(11))
    });
    store.add(&key).await.unwrap();
    for lookup in ["k1-a", "k1-b"] {
        assert_eq!(store.find(lookup).await.unwrap().as_ref(), Some(&key));
    }
    assert_eq!(store.get("acme", "k1").await.unwrap(), Some(key));
    assert_eq!(store.find("k1-c").await.unwrap(), None);
    assert_eq!(store.get("acme", "k2").await.unwrap(), None);
}

async fn names_are_unique_in_a_tenant(store: &dyn KeyStore) {
    store.add(&key("acme", "k1", "reports")).await.unwrap();
    let again = store.add(&key("acme", "k2", "reports")).await;
    assert_eq!(again, Err(KeyStoreError::Exists));
    store.add(&key("other", "k2", "reports")).await.unwrap();
    store.add(&key("acme", "k3", "billing")).await.unwrap();
    let mut renamed = key("acme", "k3", "reports");
    renamed.revision = 2;
    assert_eq!(store.replace(&renamed, 1).await, Err(KeyStoreError::Exists));
}

async fn no_two_keys_share_a_secret(store: &dyn KeyStore) {
    store.add(&key("acme", "k1", "reports")).await.unwrap();
    let mut thief = key("acme", "k2", "other");
    thief.secrets[0].lookup = "k1-a".into();
    assert_eq!(store.add(&thief).await, Err(KeyStoreError::Exists));
    assert_eq!(
        store.get("acme", "k2").await.unwrap(),
        None,
        "nor half of it"
    );
    store.add(&key("acme", "k2", "other")).await.unwrap();
    thief.revision = 2;
    assert_eq!(store.replace(&thief, 1).await, Err(KeyStoreError::Exists));
    assert_eq!(store.find("k1-a").await.unwrap().unwrap().id, "k1");
}

async fn tenants_see_their_own_keys_alone(store: &dyn KeyStore) {
    store.add(&key("acme", "k1", "a")).await.unwrap();
    store.add(&key("other", "k2", "b")).await.unwrap();
    assert_eq!(store.get("other", "k1").await.unwrap(), None);
    let listed = store.list("acme", None, 10).await.unwrap();
    assert_eq!(listed, [key("acme", "k1", "a")]);
    let mut taken = key("other", "k1", "mine");
    taken.revision = 2;
    assert_eq!(store.replace(&taken, 1).await, Err(KeyStoreError::Changed));
}

async fn pages_follow_each_other(store: &dyn KeyStore) {
    for number in [3, 1, 5, 2, 4] {
        let id = format!("k{number}");
        store.add(&key("acme", &id, &id)).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let after = seen.last().map(String::as_str);
        let page = store.list("acme", after, 2).await.unwrap();
        assert!(page.iter().all(|key| key.secrets.len() == 1));
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|key| key.id));
    }
    assert_eq!(seen, ["k1", "k2", "k3", "k4", "k5"]);
}

async fn a_change_needs_the_revision_it_was_made_for(store: &dyn KeyStore) {
    let mut key = key("acme", "k1", "reports");
    store.add(&key).await.unwrap();
    store.used(&[("k1-a".into(), at(50))]).await.unwrap();
    let new = KeySecret::new("k1-b".into(), [8; 32], at(60));
    key.rotate(new, at(30), at(60)).unwrap();
    key.scopes.clear();
    key.revision = 2;
    store.replace(&key, 1).await.unwrap();
    assert_eq!(store.replace(&key, 1).await, Err(KeyStoreError::Changed));
    // What was used meanwhile is not lost.
    key.secrets[0].last_used = Some(at(50));
    assert_eq!(store.find("k1-b").await.unwrap().as_ref(), Some(&key));
    key.secrets.remove(0);
    key.revision = 3;
    store.replace(&key, 2).await.unwrap();
    assert_eq!(store.find("k1-a").await.unwrap(), None);
    let unknown = self::key("acme", "k9", "x");
    assert_eq!(
        store.replace(&unknown, 1).await,
        Err(KeyStoreError::Changed)
    );
}

async fn a_refused_change_changes_nothing(store: &dyn KeyStore) {
    let first = key("acme", "k1", "reports");
    store.add(&first).await.unwrap();
    store.add(&key("acme", "k2", "other")).await.unwrap();
    let mut bad = first.clone();
    bad.scopes.clear();
    bad.revision = 2;
    bad.secrets = vec![
        KeySecret::new("k1-new".into(), [9; 32], at(60)),
        KeySecret::new("k2-a".into(), [9; 32], at(60)),
    ];
    assert_eq!(store.replace(&bad, 1).await, Err(KeyStoreError::Exists));
    assert_eq!(store.get("acme", "k1").await.unwrap(), Some(first));
    assert_eq!(store.find("k1-new").await.unwrap(), None);
}

async fn uses_are_noted_and_never_go_back(store: &dyn KeyStore) {
    store.add(&key("acme", "k1", "reports")).await.unwrap();
    let uses = [("k1-a".into(), at(50)), ("gone".into(), at(50))];
    store.used(&uses).await.unwrap();
    store.used(&[("k1-a".into(), at(40))]).await.unwrap();
    let found = store.find("k1-a").await.unwrap().unwrap();
    assert_eq!((found.last_used(), found.revision), (Some(at(50)), 1));
}

async fn of_many_changes_at_once_one_wins(store: &dyn KeyStore) {
    let mut key = key("acme", "k1", "reports");
    store.add(&key).await.unwrap();
    key.revision = 2;
    let changes = (0..8).map(|number| {
        let mut key = key.clone();
        key.name = format!("name {number}");
        async move { store.replace(&key, 1).await }
    });
    let mut won = 0;
    for outcome in futures_util::future::join_all(changes).await {
        match outcome {
            Ok(()) => won += 1,
            Err(error) => assert_eq!(error, KeyStoreError::Changed),
        }
    }
    assert_eq!(won, 1);
}

async fn a_key_and_its_secrets_are_of_one_moment(store: &dyn KeyStore) {
    let mut first = key("acme", "k1", "reports");
    store.add(&first).await.unwrap();
    // With each revision its one secret is another one, made at a time that tells which.
    let changes = async {
        for revision in 2..60 {
            first.revision = revision;
            let mut secret = KeySecret::new("k1-a".into(), [7; 32], at(10));
            secret.lookup = format!("k1-{revision}");
            secret.created = at(revision);
            first.secrets = vec![secret];
            store.replace(&first, revision - 1).await.unwrap();
        }
    };
    let reads = async {
        let mut last = 1;
        while last < 59 {
            let found = store.get("acme", "k1").await.unwrap().unwrap();
            let listed = store.list("acme", None, 1).await.unwrap();
            for key in [&found, &listed[0]] {
                let made: Vec<_> = key.secrets.iter().map(|one| one.created).collect();
                let of_revision = match key.revision {
                    1 => at(10),
                    revision => at(revision),
                };
                assert_eq!(made, [of_revision], "revision {}", key.revision);
            }
            last = found.revision;
        }
    };
    tokio::join!(changes, reads);
}

async fn uses_and_changes_at_once_do_not_wait_for_each_other(store: &dyn KeyStore) {
    let mut key = key("acme", "k1", "reports");
    // The one that is made first is found last.
    key.secrets = vec![
        KeySecret::new("k1-z".into(), [7; 32], at(10)),
        KeySecret::new("k1-a".into(), [8; 32], at(11)),
    ];
    store.add(&key).await.unwrap();
    let uses = |order: [&str; 2]| {
        let lookups = order.map(str::to_owned);
        async move {
            for second in 20..60 {
                let uses = lookups.clone().map(|lookup| (lookup, at(second)));
                store.used(&uses).await.unwrap();
            }
        }
    };
    let changes = async {
        for revision in 2..40 {
            key.revision = revision;
            store.replace(&key, revision - 1).await.unwrap();
        }
    };
    tokio::join!(uses(["k1-a", "k1-z"]), uses(["k1-z", "k1-a"]), changes);
    let kept = store.get("acme", "k1").await.unwrap().unwrap();
    assert_eq!(kept.revision, 39);
    let used: Vec<_> = kept.secrets.iter().map(|one| one.last_used).collect();
    assert_eq!(used, [Some(at(59)); 2]);
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/keys.db");
    let store = Database::open_sqlite(&path).await.unwrap();
    store.add(&key("acme", "k1", "reports")).await.unwrap();
    drop(store);
    let store: Arc<dyn KeyStore> = Arc::new(Database::open_sqlite(&path).await.unwrap());
    let found = store.find("k1-a").await.unwrap();
    assert_eq!(found, Some(key("acme", "k1", "reports")));
}
