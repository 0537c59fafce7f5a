use std::time::Duration;

use mcp_ultra_backends::sql::Database;
use mcp_ultra_domain::{
    Block,
    ports::{BlockStore, MemoryBlockStore},
};

contracts!(
    MemoryBlockStore,
    what_is_put_is_in_force_until_it_ends,
    another_block_of_a_caller_takes_the_place_of_the_one_before,
    what_is_over_is_forgotten_with_the_next,
    what_has_changed_is_not_removed,
);

const AT: Duration = Duration::from_millis(1_800_000_000_123);
const HOUR: Duration = Duration::from_hours(1);

fn block(id: &str, since: Duration) -> Block {
    Block {
        id: id.into(),
        tenant: "acme".into(),
        issuer: "https://login.example.com".into(),
        subject: format!("subject of {id}"),
        since,
        until: since + HOUR,
    }
}

async fn what_is_put_is_in_force_until_it_ends(store: &dyn BlockStore) {
    assert_eq!(store.in_force(AT).await.unwrap(), []);
    let (one, two) = (block("one", AT), block("two", AT + HOUR / 2));
    store.put(&two).await.unwrap();
    store.put(&one).await.unwrap();
    let both = vec![one.clone(), two.clone()];
    assert_eq!(store.in_force(AT).await.unwrap(), both);
    let later = store.in_force(one.until).await.unwrap();
    assert_eq!(later, std::slice::from_ref(&two));
    assert_eq!(store.in_force(two.until).await.unwrap(), []);
}

async fn another_block_of_a_caller_takes_the_place_of_the_one_before(store: &dyn BlockStore) {
    let (first, second) = (block("one", AT), block("one", AT + HOUR / 2));
    store.put(&first).await.unwrap();
    store.put(&second).await.unwrap();
    assert_eq!(store.in_force(AT).await.unwrap(), [second]);
}

async fn what_is_over_is_forgotten_with_the_next(store: &dyn BlockStore) {
    let (first, second) = (block("one", AT), block("two", AT + HOUR));
    store.put(&first).await.unwrap();
    store.put(&second).await.unwrap();
    assert_eq!(store.in_force(AT).await.unwrap(), [second]);
}

async fn what_has_changed_is_not_removed(store: &dyn BlockStore) {
    let (first, second) = (block("one", AT), block("one", AT + HOUR / 2));
    store.put(&second).await.unwrap();
    let other = Block {
        tenant: "other".into(),
        ..second.clone()
    };
    for not in [&first, &other, &block("two", AT)] {
        assert_eq!(store.remove(not).await, Ok(false));
    }
    assert_eq!(
        store.in_force(AT).await.unwrap(),
        std::slice::from_ref(&second)
    );
    assert_eq!(store.remove(&second).await, Ok(true));
    assert_eq!(store.remove(&second).await, Ok(false));
    assert_eq!(store.in_force(AT).await.unwrap(), []);
}
