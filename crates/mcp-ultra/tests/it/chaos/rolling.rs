//! All replicas are replaced, one after the other, under load and while people think about questions.

use std::time::{Duration, Instant};

use super::{
    CLEARED_WITHIN,
    load::{self, Load, NOT_WAITING, Outcome, Record},
    site::{REPLICAS, Site},
};
use crate::gateway_rig::SOON;

/// For how long a replica keeps what waits for a person when it ends.
const DRAIN: &str = "{ drain_delay: 500ms, drain_deadline: 4s }";
/// How long people think, in turn: less than that, and more.
const THOUGHTS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(10),
];
/// Between two replicas.
const PAUSE: Duration = Duration::from_secs(1);

/// How a call ended whose person has thought for longer than its replica waits.
fn was_not_waited_for(record: &Record) -> bool {
    record.thought >= THOUGHTS[3]
        && matches!(&record.outcome, Outcome::Failed(how) if how == NOT_WAITING)
}

/// Replaces all replicas so often.
async fn restart(times: usize) {
    let mut site = Site::start_with(DRAIN).await;
    let load = Load::start_with_thought(&site, &THOUGHTS);
    tokio::time::sleep(PAUSE).await;
    for round in 1..=times {
        let begun = Instant::now();
        for _ in 0..REPLICAS {
            site.fleet.grow().await.unwrap();
            let mut old = site.fleet.retire(0).unwrap();
            let ended = old.wait(SOON).await.unwrap();
            assert!(ended.success(), "{ended}");
            site.fleet.balance().await.unwrap();
            tokio::time::sleep(PAUSE).await;
        }
        println!(
            "round {round}: all replicas replaced in {:.1?}",
            begun.elapsed()
        );
    }
    let records = load.end().await;
    let begun = Instant::now();
    while let left = site.left().await
        && !left.is_empty()
    {
        assert!(begun.elapsed() < CLEARED_WITHIN, "{left:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        load::untrue(&records, &site.executed()),
        Vec::<String>::new()
    );
    let (late, others): (Vec<_>, Vec<_>) = records.iter().partition(|one| was_not_waited_for(one));
    let asked = records.iter().filter(|one| !one.thought.is_zero()).count();
    println!(
        "{} calls, of these {asked} whose person has thought about a question; {} of these for too long",
        records.len(),
        late.len()
    );
    let failed = others.iter().filter_map(|record| match &record.outcome {
        Outcome::Failed(how) => Some(format!("{}: {how} ({})", record.nonce, record.kind)),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request_and_no_question() {
    Box::pin(restart(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the same three times in a row: `make test-chaos`"]
async fn three_rolling_restarts_fail_no_request_and_no_question() {
    Box::pin(restart(3)).await;
}
