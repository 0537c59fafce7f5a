//! Sessions with servers that replicas go on in.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_backends::redis::{Redis, RedisUpstreamSessionStore};
use mcp_ultra_domain::ports::{MemoryUpstreamSessionStore, SessionTerms, UpstreamSessionStore};

use super::shared_contracts;

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(100);
const TERMS: SessionTerms = SessionTerms {
    kept: LONG,
    used: LONG,
};

/// The store, as each of three replicas has it.
struct Site([Box<dyn UpstreamSessionStore>; 3]);

fn memory() -> Site {
    let all = MemoryUpstreamSessionStore::default();
    Site([0, 1, 2].map(|_| Box::new(all.replica()) as _))
}

fn store(redis: &Redis) -> Site {
    Site([0, 1, 2].map(|_| Box::new(RedisUpstreamSessionStore::new(redis.clone())) as _))
}

/// Everything that is asked of the store; one session stays there.
pub(super) async fn all_of_it(redis: &Redis) {
    let Site([one, other, _]) = &store(redis);
    offered(&**one, "ends", b"s").await;
    entered(&**other, "ends").await;
    assert!(!one.leave("ends", b"s", false).await.unwrap());
    assert!(other.leave("ends", b"s", false).await.unwrap());
    offered(&**one, "over", b"s").await;
    assert!(one.end("over", b"s").await.unwrap());
    offered(&**one, "stays", b"s").await;
}

shared_contracts!(
    memory(),
    store,
    what_one_offers_the_others_enter,
    the_last_that_leaves_ends_it,
    what_is_over_is_over_once,
    of_many_that_are_offered_one_is_kept,
    who_says_nothing_any_more_is_no_user,
);

async fn entered(store: &dyn UpstreamSessionStore, name: &str) -> Option<(Vec<u8>, bool)> {
    let there = store.enter(name, TERMS).await.unwrap()?;
    Some((there.value, there.listens))
}

async fn offered(store: &dyn UpstreamSessionStore, name: &str, value: &[u8]) -> (Vec<u8>, bool) {
    let there = store.offer(name, value, TERMS).await.unwrap();
    (there.value, there.listens)
}

async fn what_one_offers_the_others_enter(site: &Site) {
    let [one, other, _] = &site.0;
    let bytes = [0, 255, b'\r', b'\n', 0].to_vec();
    assert_eq!(entered(&**other, "a").await, None);
    assert_eq!(
        offered(&**one, "a", &bytes).await,
        (bytes.clone(), true),
        "who opens it listens"
    );
    assert_eq!(entered(&**other, "a").await, Some((bytes.clone(), false)));
    assert_eq!(entered(&**other, "b").await, None, "another name");
    // Who offers another one is told, and has changed nothing.
    assert_eq!(
        offered(&**other, "a", b"another").await,
        (bytes.clone(), false)
    );
    assert_eq!(offered(&**one, "a", &bytes).await, (bytes.clone(), true));
    assert_eq!(offered(&**other, "a", &bytes).await, (bytes, false));
}

async fn the_last_that_leaves_ends_it(site: &Site) {
    let [one, other, third] = &site.0;
    offered(&**one, "a", b"s").await;
    entered(&**other, "a").await;
    assert!(!one.leave("a", b"another", false).await.unwrap());
    assert!(!one.leave("a", b"s", false).await.unwrap(), "it is in use");
    // Who listened is gone, so the next that says something does.
    assert_eq!(entered(&**third, "a").await, Some((b"s".to_vec(), true)));
    assert_eq!(offered(&**other, "a", b"s").await, (b"s".to_vec(), false));
    assert!(!third.leave("a", b"s", false).await.unwrap());
    assert_eq!(offered(&**other, "a", b"s").await, (b"s".to_vec(), true));
    assert!(other.leave("a", b"s", false).await.unwrap());
    assert!(!other.leave("a", b"s", false).await.unwrap(), "once");
    assert_eq!(entered(&**one, "a").await, None);
    // What is left for the others stays, also where nobody uses it.
    offered(&**one, "a", b"t").await;
    assert!(!one.leave("a", b"t", true).await.unwrap());
    assert_eq!(entered(&**other, "a").await, Some((b"t".to_vec(), true)));
}

async fn what_is_over_is_over_once(site: &Site) {
    let [one, other, _] = &site.0;
    offered(&**one, "a", b"s").await;
    entered(&**other, "a").await;
    assert!(!other.end("a", b"another").await.unwrap());
    assert!(other.end("a", b"s").await.unwrap());
    assert!(!one.end("a", b"s").await.unwrap());
    assert!(!one.leave("a", b"s", false).await.unwrap());
    // The one after it is not that one's to end.
    offered(&**other, "a", b"t").await;
    assert!(!one.end("a", b"s").await.unwrap());
    assert_eq!(entered(&**one, "a").await, Some((b"t".to_vec(), false)));
}

async fn of_many_that_are_offered_one_is_kept(site: &Site) {
    let values: Vec<String> = (0..30).map(|number| format!("session-{number}")).collect();
    let offering = values
        .iter()
        .zip(site.0.iter().cycle())
        .map(|(value, store)| offered(&**store, "a", value.as_bytes()));
    let there = join_all(offering).await;
    let kept = &there[0].0;
    assert!(there.iter().all(|(value, _)| value == kept), "{there:?}");
    let listeners = there.iter().filter(|(_, listens)| *listens).count();
    assert_eq!(listeners, 1, "{there:?}");
}

async fn who_says_nothing_any_more_is_no_user(site: &Site) {
    let [gone, stays, _] = &site.0;
    let soon = SessionTerms {
        kept: LONG,
        used: SHORT,
    };
    gone.offer("a", b"s", soon).await.unwrap();
    entered(&**stays, "a").await;
    tokio::time::sleep(2 * SHORT).await;
    assert_eq!(offered(&**stays, "a", b"s").await, (b"s".to_vec(), true));
    assert!(stays.leave("a", b"s", false).await.unwrap());
    // And what nobody says anything of is not kept for ever.
    let soon = SessionTerms {
        kept: SHORT,
        used: LONG,
    };
    gone.offer("b", b"s", soon).await.unwrap();
    tokio::time::sleep(2 * SHORT).await;
    assert_eq!(entered(&**stays, "b").await, None);
    assert_eq!(offered(&**stays, "b", b"t").await, (b"t".to_vec(), true));
}
