//! A password of PostgreSQL, Redis and NATS that is changed under a gateway, in the folder of its secrets.

use std::{fs, path::Path};

use mcp_ultra_testkit::{
    fixture::Era,
    stores::{Nats, PASSWORD, Postgres, Redis},
};

use crate::{
    cli::run,
    gateway_announced::{connected, messaging, metric},
    gateway_postgres::{configuration, status},
    gateway_redis,
    gateway_rig::{fixture, gateway, logs, only, until},
};

const ANOTHER: &str = "another-password-of-a-test";

/// The same sections, with the password of each store in a folder.
fn by_folder(sections: &str, folder: &Path) -> String {
    let sections = sections.replace(
        &format!("password: {PASSWORD}"),
        "password: \"${secret:stores}\"",
    );
    format!(
        "secrets: {{ folder: \"{}\" }}\n{sections}",
        folder.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // Roles are of a whole server.
    let postgres = Postgres::start().await.unwrap();
    let (redis, mut nats) = (Redis::start().await.unwrap(), Nats::start().await.unwrap());
    let (keys, owner) = configuration(&postgres).await;
    fs::write(file("owner.yaml"), format!("{keys}{owner}")).unwrap();
    let owner = file("owner.yaml").to_string_lossy().into_owned();
    let migrated = run(&["migrate", "--config", &owner]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.err);

    let sections = gateway_redis::sections(&redis);
    let (session, storage) = sections.split_once("storage:\n").unwrap();
    let sections = format!("{keys}{storage}{session}{}", messaging(&nats));
    let secrets = file("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("stores"), PASSWORD).unwrap();
    let upstream = fixture(Era::Dual).await;
    let yaml = only(&upstream.url(), &by_folder(&sections, &secrets));
    let gateway = gateway(&yaml).await;
    connected(&gateway, "1").await;
    let redis_is = async |up: &str| metric(&gateway, "mcp_redis_up ").await == up;
    until("Redis", async || redis_is("1").await).await;

    let admin = postgres.admin();
    let role = format!("alter role guest password '{ANOTHER}'");
    admin.sql(&role).await.unwrap();
    let old = redis.login();
    let password = format!(">{ANOTHER}");
    let user = ["ACL", "SETUSER", &*old.user, "resetpass", &*password];
    old.expect(&user, "OK").await.unwrap();
    nats.change_password(ANOTHER).unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'guest'";
    admin.sql(end).await.unwrap();
    let new = old.user(&old.user, ANOTHER);
    new.ask(&["CLIENT", "KILL", "USER", &*old.user])
        .await
        .unwrap();
    connected(&gateway, "0").await;
    until("the loss of Redis", async || redis_is("0").await).await;

    fs::write(secrets.join("stores"), ANOTHER).unwrap();
    connected(&gateway, "1").await;
    until("Redis", async || redis_is("1").await).await;
    // A key that nobody has read before, with a connection that nobody has had.
    fs::write(file("new.yaml"), by_folder(&keys, &secrets)).unwrap();
    let config = file("new.yaml").to_string_lossy().into_owned();
    let made = run(&["key", "create", "reports", "--config", &config]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    until("a new key is known", async || {
        status(&gateway, made.out.trim_end()).await == 200
    })
    .await;
    logs(&gateway, "storage.redis.password").await;
    let output = gateway.output();
    assert!(!output.contains("take a restart") && !output.contains(ANOTHER));
}
