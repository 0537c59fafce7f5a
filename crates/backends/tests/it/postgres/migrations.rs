//! How tables and programs of different versions go together.

use futures_util::future::join_all;
use mcp_ultra_backends::sql::{Database, OpenError, migrations};
use mcp_ultra_domain::ports::KeyStore;

use super::key;
use crate::site::Site;

#[tokio::test]
async fn a_plan_says_what_a_run_does() {
    let site = Site::empty().await;
    let before = migrations::postgres::plan(&site.settings).await.unwrap();
    assert_eq!(before.pending().count(), before.steps.len());
    let tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    assert_eq!(site.admin.sql(tables).await.unwrap(), "0", "it only looked");
    let ran = migrations::postgres::run(&site.settings).await.unwrap();
    assert_eq!(ran, before);
    let after = migrations::postgres::plan(&site.settings).await.unwrap();
    assert_eq!(after.pending().count(), 0);
    assert_eq!(
        migrations::postgres::run(&site.settings).await.unwrap(),
        after
    );
    site.store().await.close().await;
    site.remove().await;
}

#[tokio::test]
async fn of_many_runners_at_once_one_runs() {
    let site = Site::empty().await;
    let runs = join_all((0..4).map(|_| migrations::postgres::run(&site.settings))).await;
    let runs: Vec<_> = runs.into_iter().map(Result::unwrap).collect();
    let did = runs.iter().filter(|plan| plan.pending().count() > 0);
    assert_eq!(did.count(), 1, "{runs:?}");
    let locks = "select count(*) from pg_locks where locktype = 'advisory' \
        and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(site.admin.sql(locks).await.unwrap(), "0");
    site.remove().await;
}

#[tokio::test]
async fn a_program_does_not_start_on_tables_before_it() {
    let site = Site::empty().await;
    let refused = Database::connect_postgres(&site.settings)
        .await
        .unwrap_err();
    assert!(matches!(refused, OpenError::Behind { .. }), "{refused}");
    migrations::postgres::run(&site.settings).await.unwrap();
    let last = "delete from _sqlx_migrations where version = 8";
    site.admin.sql(last).await.unwrap();
    let refused = Database::connect_postgres(&site.settings)
        .await
        .unwrap_err();
    let text = refused.to_string();
    let at = format!(
        "127.0.0.1:{}/{}",
        site.settings.port, site.settings.database
    );
    for part in [&*at, "migrations 8,", "mcp-ultra migrate"] {
        assert!(text.contains(part), "{text}");
    }
    site.remove().await;
}

#[tokio::test]
async fn a_program_works_on_tables_after_it_until_they_say_otherwise() {
    let site = Site::with_tables().await;
    let later = "insert into _sqlx_migrations values (9000, 'later', now(), true, '', 1); \
        alter table api_keys add column colour text";
    site.admin.sql(later).await.unwrap();
    let store = site.store().await;
    store.add(&key("acme", "k1")).await.unwrap();
    assert!(store.find("k1-a").await.unwrap().is_some());
    store.close().await;
    let plan = migrations::postgres::run(&site.settings).await.unwrap();
    assert_eq!((plan.pending().count(), plan.unknown), (0, vec![9000]));
    let needs = "update schema_compatibility set needs = 9000";
    site.admin.sql(needs).await.unwrap();
    let refused = Database::connect_postgres(&site.settings)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, OpenError::Ahead { needs: 9000, .. }),
        "{refused}"
    );
    site.remove().await;
}

#[tokio::test]
async fn tables_are_opened_to_a_role_that_exists() {
    let site = Site::empty().await;
    let mut settings = site.settings.clone();
    settings.user = "nobody \"else\"".to_owned();
    let refused = migrations::postgres::run(&settings).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoRole { .. }), "{refused}");
    let made = format!(
        "create role \"nobody \"\"else\"\" {}\"",
        site.admin.database
    );
    site.admin.sql(&made).await.unwrap();
    settings.user = format!("nobody \"else\" {}", site.admin.database);
    migrations::postgres::run(&settings).await.unwrap();
    site.remove().await;
}
