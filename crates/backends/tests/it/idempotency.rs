use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::ports::{Claim, IdempotencyStore, MemoryIdempotencyStore};

contracts!(
    MemoryIdempotencyStore,
    what_was_asked_before_is_known,
    owners_are_apart,
    of_many_at_once_one_is_new,
    old_claims_are_forgotten,
);

const AT: Duration = Duration::from_secs(100);

async fn what_was_asked_before_is_known(store: &dyn IdempotencyStore) {
    let claim = async |digest: u8, id| store.claim("ana", "k", &[digest; 32], id, AT).await;
    assert_eq!(claim(1, "a").await, Ok(Claim::New));
    assert_eq!(claim(1, "b").await, Ok(Claim::Same("a".into())));
    assert_eq!(claim(2, "c").await, Ok(Claim::Other));
}

async fn owners_are_apart(store: &dyn IdempotencyStore) {
    for (owner, key) in [("ana", "k"), ("bea", "k"), ("ana", "l"), ("an", "ak")] {
        let claim = store.claim(owner, key, &[1; 32], "x", AT).await;
        assert_eq!(claim, Ok(Claim::New), "{owner} {key}");
    }
}

async fn of_many_at_once_one_is_new(store: &dyn IdempotencyStore) {
    let ids: Vec<_> = (0..8).map(|number| number.to_string()).collect();
    let claims = ids
        .iter()
        .map(|id| store.claim("ana", "k", &[1; 32], id, AT));
    let claims: Vec<_> = join_all(claims)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let made = claims
        .iter()
        .position(|claim| *claim == Claim::New)
        .unwrap();
    for (at, claim) in claims.iter().enumerate() {
        if at != made {
            assert_eq!(*claim, Claim::Same(ids[made].clone()));
        }
    }
}

async fn old_claims_are_forgotten(store: &dyn IdempotencyStore) {
    let claim = async |key, at| store.claim("ana", key, &[1; 32], "x", at).await.unwrap();
    claim("old", AT).await;
    claim("new", AT * 2).await;
    assert_eq!(store.expire(AT * 2).await, Ok(1));
    assert_eq!(claim("old", AT).await, Claim::New);
    assert_eq!(claim("new", AT).await, Claim::Same("x".into()));
}
