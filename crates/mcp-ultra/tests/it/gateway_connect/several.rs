//! Several gateways that are one: each step of a person may come to another one, and what was granted
//! is refreshed by one of them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcp_ultra_testkit::{
    authorization::CANARY,
    fixture::Era,
    gateway::Gateway,
    stores::{Postgres, Redis},
};
use nix::sys::signal::Signal;

use super::world::{KEY, ORIGIN, Rig, almost, asked, call, title, worked};
use crate::{
    cli::run,
    gateway_postgres,
    gateway_rig::{SOON, gateway},
};

/// What gateways share that may be lost, in the section `storage`.
fn shared(redis: &Redis) -> String {
    let login = redis.login();
    format!(
        "storage:\n  redis:\n    server: {{ host: 127.0.0.1, port: {port} }}\n    user: {user}\n    password: {password}\n    tls: {{ ca_file: \"{authority}\" }}\n",
        port = login.address.port(),
        user = login.user,
        password = login.password,
        authority = login.authority.display(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_one_gateway_is_good_at_another_and_once_at_all() {
    let redis = Redis::start().await.unwrap();
    let rig = Rig::start(Era::Modern).await;
    let yaml = rig.yaml(&[KEY]).replace("storage:\n", &shared(&redis));
    let (here, there) = (gateway(&yaml).await, gateway(&yaml).await);
    let ana = rig.caller(&here, "ana");
    let (url, state) = asked(&call(&ana, None).await);
    // The link is of one, the way through the browser of the other, and it ends at the first.
    let browser = rig.browser(&there, "ana");
    let answer = almost(&browser, &url).await;
    browser.finds(ORIGIN, here.url("").trim_end_matches('/'));
    let kept = browser.cookies(ORIGIN).unwrap();
    let page = browser.open(answer.as_str()).await.unwrap();
    assert_eq!(title(&page), "Connected", "{}", page.text);
    // What waits at neither goes on at either.
    let retry = call(&rig.caller(&there, "ana"), Some(&state)).await;
    assert!(worked(&retry), "{retry}");
    assert!(worked(&call(&ana, None).await));
    assert_eq!(rig.callers().iter().filter(|one| *one == "ana").count(), 2);
    // Neither the link nor the answer is good once more, wherever they are shown.
    for gateway in [&here, &there] {
        browser.finds(ORIGIN, gateway.url("").trim_end_matches('/'));
        for used in [&*url, answer.as_str()] {
            // As they were then.
            for (name, value) in &kept {
                browser.has(ORIGIN, name, value).unwrap();
            }
            let page = browser.open(used).await.unwrap();
            assert_eq!(title(&page), "This link has been used", "{}", page.text);
        }
    }
    assert_eq!(rig.server.asked().redeemed, 1);
}

/// The configuration of a rig, on a PostgreSQL in place of the file.
async fn on_postgres(rig: &Rig) -> String {
    let (yaml, owner) = gateway_postgres::configuration(Postgres::shared().await.unwrap()).await;
    let storage = yaml.split_once("storage:\n").unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("owner.yaml");
    std::fs::write(&file, format!("{yaml}{owner}")).unwrap();
    let migrated = run(&["migrate", "--config", &file.to_string_lossy()]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let own = rig.yaml(&[KEY]);
    let sqlite = own.lines().find(|line| line.starts_with("  sqlite:"));
    own.replace(sqlite.unwrap(), storage.trim_end())
}

/// What `ana` has granted has ended, but for its refresh token.
async fn expired(rig: &Rig, gateway: &Gateway) {
    rig.server
        .behave(|conduct| conduct.lifetime = Duration::from_secs(1));
    rig.connect(gateway, "ana").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

/// The authorization server ends what was granted when a refresh token is shown twice.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_one_refreshes_for_all_who_call() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = on_postgres(&rig).await;
    let (here, there) = (gateway(&yaml).await, gateway(&yaml).await);
    expired(&rig, &here).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_millis(300);
    });
    let callers = [&here, &there].map(|gateway| rig.caller(gateway, "ana"));
    let answers = join_all((0..20).map(|number| call(&callers[number % 2], None))).await;
    assert!(answers.iter().all(worked), "{answers:?}");
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
    for gateway in [&here, &there] {
        assert!(!gateway.output().contains(CANARY));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_that_refreshes_is_killed_another_one_does() {
    let rig = Rig::start(Era::Modern).await;
    let yaml = on_postgres(&rig).await;
    let patience = "scopes: [tickets:read]\n      timeout: 1s\n";
    let yaml = yaml.replace("scopes: [tickets:read]\n", patience);
    let (mut here, there) = (gateway(&yaml).await, gateway(&yaml).await);
    expired(&rig, &here).await;
    rig.server.behave(|conduct| {
        conduct.lifetime = Duration::from_hours(1);
        conduct.takes = Duration::from_secs(30);
    });
    let ana = rig.caller(&here, "ana");
    let first = tokio::time::timeout(Duration::from_millis(500), call(&ana, None));
    assert!(first.await.is_err(), "it is on its way");
    here.signal(Signal::SIGKILL).unwrap();
    here.wait(SOON).await.unwrap();
    rig.server.behave(|conduct| conduct.takes = Duration::ZERO);
    let begun = Instant::now();
    let ana = rig.caller(&there, "ana");
    let answers = join_all((0..10).map(|_| call(&ana, None))).await;
    let took = begun.elapsed();
    println!("another one refreshed {took:?} after the first was killed");
    assert!(answers.iter().all(worked), "{answers:?}");
    // The claim is good for six seconds, of which half a one had passed.
    let claim = Duration::from_secs(4)..Duration::from_secs(10);
    assert!(claim.contains(&took), "{took:?}");
    let asked = rig.server.asked();
    assert_eq!((asked.refreshed, asked.refused), (1, 0));
}
