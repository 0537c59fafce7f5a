//! What is kept from the gateway's user, whatever the program asks for.

use std::time::{Duration, Instant};

use mcp_ultra_backends::sql::{Database, OpenError, migrations};
use mcp_ultra_config::Secret;
use mcp_ultra_domain::{
    Block, Grant,
    pinning::{Definition, Ground, Sighting},
    ports::{BlockStore, GrantStore, IdempotencyStore, KeyStore, PinStore, RegistryStore},
    registry::{Change, Kind},
};
use mcp_ultra_testkit::stores::{PASSWORD, Postgres};

use super::key;
use crate::site::{Site, pgbouncer};

const AT: Duration = Duration::from_secs(10);

/// Tables of which each row has a tenant, by a row's own word or its key's.
const OF_TENANTS: [&str; 4] = ["api_keys", "api_key_secrets", "grants", "blocks"];
/// Tables that are above tenants.
const OF_ALL: [&str; 6] = [
    "idempotency_keys",
    "tool_pins",
    "tool_approvals",
    "registry_entries",
    "registry_changes",
    "registry_revision",
];

#[tokio::test]
async fn a_password_that_changes_is_used_for_the_next_connections() {
    let server = Postgres::start().await.unwrap();
    let mut site = Site::on(&server).await;
    migrations::postgres::run(&site.settings).await.unwrap();
    let store = site.store().await;
    let works = async || KeyStore::list(&store, "acme", None, 1).await;
    works().await.unwrap();
    let change = "alter role guest password 'another'";
    site.admin.sql(change).await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'guest'";
    site.admin.sql(end).await.unwrap();
    let mut refused = works().await;
    // What was ended in the middle of it.
    for _ in 0..20 {
        let error = format!("{:?}", refused.unwrap_err());
        if error.contains("password authentication failed") {
            break;
        }
        refused = works().await;
    }
    site.settings.password = Some(Secret::literal("another"));
    store.renew(&site.settings);
    let begun = Instant::now();
    while let Err(error) = works().await {
        assert!(begun.elapsed() < AT, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A row in each table, and for each of two tenants where there are tenants.
async fn filled() -> (Site, Database) {
    let site = Site::with_tables().await;
    let store = site.store().await;
    for tenant in ["acme", "other"] {
        store
            .add(&key(tenant, &format!("key-of-{tenant}")))
            .await
            .unwrap();
        let grant = Grant {
            id: format!("grant-of-{tenant}"),
            tenant: tenant.into(),
            principal: format!("user:{tenant}:ana"),
            issuer: "idp".into(),
            subject: "ana".into(),
            server: "crm".into(),
            scopes: [].into(),
            tokens: "sealed".into(),
            created: AT,
            renewed: AT,
            revision: 1,
        };
        GrantStore::put(&store, &grant).await.unwrap();
        let block = Block {
            id: format!("block-of-{tenant}"),
            tenant: tenant.into(),
            issuer: "idp".into(),
            subject: "ana".into(),
            since: AT,
            until: AT * 2,
        };
        BlockStore::put(&store, &block).await.unwrap();
    }
    store.claim("ana", "k", &[1; 32], "id", AT).await.unwrap();
    let seen = [Sighting {
        tool: "find".into(),
        definition: Definition::new(&"{}".into()),
        findings: Vec::new(),
        ground: Ground::FirstSight { suspicious: false },
    }];
    store.saw("crm", &seen, &[], AT).await.unwrap();
    let change = Change {
        kind: Kind::Server,
        name: "crm".into(),
        text: Some("url: https://crm.example.com/mcp".into()),
        by: "ana".into(),
        at: AT,
    };
    store.apply(0, &change).await.unwrap();
    (site, store)
}

/// What the gateway's user is answered in a transaction with this scope.
async fn asked(site: &Site, scope: Option<&str>, sql: &str) -> Result<String, String> {
    let set = scope.map_or_else(String::new, |scope| {
        format!("do $$ begin perform set_config('mcp_ultra.scope', '{scope}', true); end $$;")
    });
    let sql = format!("begin; {set} {sql}; rollback");
    let answer = site.gateway().sql(&sql).await;
    answer.map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_table_is_covered() {
    let (site, store) = filled().await;
    let uncovered = "select string_agg(relname, ' ' order by relname) from pg_class \
        where relkind = 'r' and relnamespace = 'public'::regnamespace \
        and not (relrowsecurity and relforcerowsecurity)";
    let uncovered = site.admin.sql(uncovered).await.unwrap();
    assert_eq!(uncovered, "_sqlx_migrations schema_compatibility");
    let covered = "select count(*) from pg_class where relrowsecurity and relforcerowsecurity";
    let covered = site.admin.sql(covered).await.unwrap();
    assert_eq!(covered, (OF_TENANTS.len() + OF_ALL.len()).to_string());
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn a_tenant_sees_and_changes_its_own_rows_alone() {
    let (site, store) = filled().await;
    for table in OF_TENANTS {
        let count = format!("select count(*) from {table}");
        let all = asked(&site, Some("all"), &count).await;
        assert_eq!(all.as_deref(), Ok("2"), "{table}");
        for scope in ["tenant:acme", "tenant:other"] {
            let own = asked(&site, Some(scope), &count).await;
            assert_eq!(own.as_deref(), Ok("1"), "{table} {scope}");
        }
        for scope in [
            None,
            Some(""),
            Some("acme"),
            Some("tenant:"),
            Some("tenant:all"),
        ] {
            let none = asked(&site, scope, &count).await;
            assert_eq!(none.as_deref(), Ok("0"), "{table} {scope:?}");
        }
        let delete =
            format!("with gone as (delete from {table} returning 1) select count(*) from gone");
        let deleted = asked(&site, Some("tenant:acme"), &delete).await;
        assert_eq!(deleted.as_deref(), Ok("1"), "{table}");
        let column = if table == "blocks" {
            "since_at"
        } else {
            "created_at"
        };
        let update = format!(
            "with changed as (update {table} set {column} = 1 returning 1) select count(*) from changed"
        );
        let updated = asked(&site, Some("tenant:acme"), &update).await;
        assert_eq!(updated.as_deref(), Ok("1"), "{table}");
    }
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn nothing_is_written_for_another_tenant() {
    let (site, store) = filled().await;
    let writes = [
        "update api_keys set tenant = 'other', name = 'x' where tenant = 'acme'",
        "update grants set tenant = 'other' where tenant = 'acme'",
        "update blocks set tenant = 'other' where tenant = 'acme'",
        "update api_key_secrets set key_id = 'key-of-other' where key_id = 'key-of-acme'",
        "insert into api_key_secrets (lookup, key_id, digest, created_at) \
         values ('l', 'key-of-other', sha256('x'), 1)",
        "insert into blocks values ('b', 'other', 'i', 's', 1, 2)",
    ];
    for write in writes {
        let refused = asked(&site, Some("tenant:acme"), write).await.unwrap_err();
        assert!(refused.contains("row-level security"), "{write}: {refused}");
        // It is the tenant, and nothing else, that is wrong with it.
        let allowed = asked(&site, Some("all"), write).await;
        assert!(allowed.is_ok(), "{write}: {allowed:?}");
    }
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn what_is_above_tenants_is_seen_by_none_of_them() {
    let (site, store) = filled().await;
    for table in OF_ALL {
        let count = format!("select count(*) from {table}");
        let all = asked(&site, Some("all"), &count).await;
        assert_eq!(all.as_deref(), Ok("1"), "{table}");
        for scope in [None, Some("tenant:acme")] {
            let none = asked(&site, scope, &count).await;
            assert_eq!(none.as_deref(), Ok("0"), "{table} {scope:?}");
        }
    }
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn its_owner_is_held_back_too() {
    let (site, store) = filled().await;
    let keys = site.owner().sql("select count(*) from api_keys").await;
    assert_eq!(keys.unwrap(), "0");
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn the_gateway_changes_rows_and_nothing_else() {
    let (site, store) = filled().await;
    let attempts = [
        (
            "alter table api_keys no force row level security",
            "must be owner",
        ),
        (
            "alter table api_keys disable row level security",
            "must be owner",
        ),
        ("drop policy in_scope on api_keys", "must be owner"),
        ("drop table blocks", "must be owner"),
        ("truncate api_keys cascade", "permission denied"),
        ("create table mine (n int)", "permission denied"),
        (
            "set local row_security = off; select * from api_keys",
            "row-level security",
        ),
        ("delete from _sqlx_migrations", "permission denied"),
        (
            "update schema_compatibility set needs = 0",
            "permission denied",
        ),
    ];
    for (attempt, why) in attempts {
        let refused = asked(&site, Some("all"), attempt).await.unwrap_err();
        assert!(refused.contains(why), "{attempt}: {refused}");
    }
    store.close().await;
    site.remove().await;
}

#[tokio::test]
async fn who_is_above_row_level_security_is_refused() {
    let site = Site::with_tables().await;
    let owner = site.settings.migrate.as_ref().unwrap().user.clone();
    for (user, why) in [
        (&*site.admin.user, "is a superuser"),
        (&*owner, "owns tables"),
    ] {
        let mut settings = site.settings.clone();
        settings.user = user.to_owned();
        settings.password = Some(Secret::literal(PASSWORD));
        let refused = Database::connect_postgres(&settings).await.unwrap_err();
        assert!(matches!(refused, OpenError::Privileged { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains(user) && text.contains(why), "{text}");
    }
    site.remove().await;
}

#[tokio::test]
async fn a_scope_is_not_left_to_the_next_client_of_a_pgbouncer() {
    let site = Site::with_tables().await;
    let store = site.store_through_pgbouncer().await;
    store.add(&key("acme", "k1")).await.unwrap();
    assert!(KeyStore::find(&store, "k1-a").await.unwrap().is_some());
    // It is given the connections that the store has used.
    let next = pgbouncer().await.login(&site.gateway());
    let scope = "select coalesce(current_setting('mcp_ultra.scope', true), ''), \
        current_setting('statement_timeout')";
    for _ in 0..4 {
        assert_eq!(next.sql(scope).await.unwrap(), "|0");
    }
    store.close().await;
    site.remove().await;
}
