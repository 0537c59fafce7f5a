//! Tokens that people have granted: refreshed, ended, kept.

use std::time::Duration;

use futures_util::future::join_all;
use mcp_ultra_testkit::{authorization::CANARY, fixture::Era, gateway::Gateway};

use super::world::{KEY, Rig, asked, call, connect, stop, title, worked};
use crate::gateway_rig::{SOON, gateway, logs};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_refreshed_once_for_all_who_call() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(&gateway, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_millis(100);
    });
    let ana = rig.caller(&gateway, "ana");
    let answers = join_all((0..20).map(|_| call(&ana, None))).await;
    assert!(answers.iter().all(worked), "{answers:?}");
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
    assert!(!rig.leaks());
    assert!(!gateway.output().contains(CANARY));
}

/// The authorization server may have ended the refresh token before when its answer comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_way_is_kept_when_the_gateway_stops() {
    let rig = Rig::start(Era::Modern).await;
    let first = rig.gateway().await;
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(&first, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_secs(4);
    });
    let ana = rig.caller(&first, "ana");
    let calling = tokio::time::timeout(Duration::from_millis(500), call(&ana, None));
    assert!(calling.await.is_err(), "the caller has gone");
    stop(first).await;
    assert_eq!(rig.server.asked().refreshed, 1);
    let second = rig.gateway().await;
    assert!(worked(&call(&rig.caller(&second, "ana"), None).await));
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_has_ended_is_asked_for_anew() {
    let rig = Rig::start(Era::Modern).await;
    let gateway = rig.gateway().await;
    rig.connect(&gateway, "ana").await;
    let ana = rig.caller(&gateway, "ana");
    assert!(worked(&call(&ana, None).await));
    // The access token alone is gone: nobody notices.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.server.end_access();
    assert!(worked(&call(&ana, None).await));
    assert_eq!(rig.server.asked().refreshed, 1);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    rig.server.end_all();
    let (url, _) = asked(&call(&ana, None).await);
    logs(&gateway, "the authorization server says that it has ended").await;
    let page = connect(&rig.browser(&gateway, "ana"), &url).await;
    assert_eq!(title(&page), "Connected");
    assert!(worked(&call(&ana, None).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_outlive_the_gateway_and_end_with_their_key() {
    let rig = Rig::start(Era::Modern).await;
    let first = rig.gateway().await;
    rig.connect(&first, "ana").await;
    stop(first).await;
    let ana = async |gateway: &Gateway| call(&rig.caller(gateway, "ana"), None).await;

    let second = rig.gateway().await;
    assert!(worked(&ana(&second).await));
    stop(second).await;
    // A new key in front of the one before.
    let rotated = gateway(&rig.yaml(&["second-key-of-the-store-01234567890", KEY])).await;
    assert!(worked(&ana(&rotated).await));
    stop(rotated).await;
    // Another one in its place.
    let mut lost = gateway(&rig.yaml(&["third-key-of-the-store-012345678901"])).await;
    let (url, _) = asked(&ana(&lost).await);
    let line = "can't be decrypted by any of storage.keys";
    lost.logged(&[line], SOON).await.unwrap();
    let page = connect(&rig.browser(&lost, "ana"), &url).await;
    assert_eq!(title(&page), "Connected");
    assert!(worked(&ana(&lost).await));
    assert!(!rig.leaks());
}
