//! Links where several gateways are one: each step of a person may come to another one.

use mcp_ultra_testkit::{fixture::Era, stores::Redis};

use super::world::{KEY, ORIGIN, Rig, almost, asked, call, title, worked};
use crate::gateway_rig::gateway;

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
