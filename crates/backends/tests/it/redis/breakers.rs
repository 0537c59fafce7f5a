//! What replicas tell each other of their circuit breakers.

use std::{sync::Arc, time::Duration};

use mcp_ultra_backends::redis::{Redis, RedisBreakerBoard};
use mcp_ultra_domain::{
    breaker::Forced,
    ports::{BreakerBoard as _, BreakerNews, Decision, Posted},
};

use super::{cluster, open, sentinel, single, until};

const WHILE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

pub(super) fn board(redis: &Redis) -> RedisBreakerBoard {
    RedisBreakerBoard::new(redis.clone())
}

async fn told(board: &RedisBreakerBoard, news: &[BreakerNews]) -> Posted {
    let crm: Arc<str> = "crm".into();
    let news: Vec<_> = news.iter().map(|one| (crm.clone(), *one)).collect();
    let all = board.exchange(&news).await.unwrap();
    let found = all.into_iter().find(|posted| posted.server == "crm");
    found.unwrap_or(Posted {
        server: String::new(),
        number: 0,
        open_for: None,
        by_us: false,
        may_probe: false,
        decision: Decision::Unknown,
    })
}

#[tokio::test]
async fn what_one_tells_all_know() {
    for settings in [single().await, cluster().await, sentinel().await] {
        let (first, second) = (open(&settings).await, open(&settings).await);
        let (one, other) = (board(&first), board(&second));
        assert_eq!(told(&other, &[]).await.server, "");
        let mine = told(&one, &[BreakerNews::Opened(WHILE)]).await;
        assert!(mine.by_us && mine.open_for.is_some());
        let seen = told(&other, &[]).await;
        assert!(!seen.by_us && seen.number == mine.number);
        let left = seen.open_for.unwrap();
        assert!(left <= WHILE && left > WHILE / 2, "{left:?}");
        // Nobody probes before its time.
        assert!(
            !told(&other, &[BreakerNews::WantsProbes(WHILE)])
                .await
                .may_probe
        );
        let closed = told(&other, &[BreakerNews::Closed]).await;
        assert_eq!(closed.open_for, None);
        let seen = told(&one, &[]).await;
        assert!(seen.number > mine.number && seen.open_for.is_none() && !seen.by_us);
    }
}

#[tokio::test]
async fn one_probes_at_a_time_and_another_the_next_time() {
    let settings = single().await;
    let (first, second) = (open(&settings).await, open(&settings).await);
    let (one, other) = (board(&first), board(&second));
    told(&one, &[BreakerNews::Opened(Duration::ZERO)]).await;
    let wants = [BreakerNews::WantsProbes(WHILE)];
    assert!(told(&one, &wants).await.may_probe);
    assert!(
        told(&one, &wants).await.may_probe,
        "asked again, since the answer was lost"
    );
    assert!(!told(&other, &wants).await.may_probe);
    // Its probes have failed: the other goes first.
    told(&one, &[BreakerNews::Opened(Duration::ZERO)]).await;
    assert!(!told(&one, &wants).await.may_probe);
    let shortly = [BreakerNews::WantsProbes(SHORT)];
    assert!(told(&other, &shortly).await.may_probe);
    // That one says nothing any more.
    until("its time is over", async || {
        told(&one, &wants).await.may_probe
    })
    .await;
}

#[tokio::test]
async fn what_an_operator_decides_stays() {
    for settings in [single().await, cluster().await] {
        let (first, second) = (open(&settings).await, open(&settings).await);
        let (one, other) = (board(&first), board(&second));
        for forced in [Some(Forced::Open), Some(Forced::Closed), None] {
            told(&one, &[BreakerNews::Forced(forced)]).await;
            let expected = forced.map_or(Decision::ByItself, Decision::Forced);
            assert_eq!(told(&other, &[]).await.decision, expected);
        }
        told(&one, &[BreakerNews::Forced(Some(Forced::Open))]).await;
        let third = open(&settings).await;
        let decided = told(&board(&third), &[]).await.decision;
        assert_eq!(decided, Decision::Forced(Forced::Open));
    }
}
