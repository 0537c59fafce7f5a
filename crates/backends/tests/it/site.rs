//! Databases of a private PostgreSQL, each with an owner of its own, and the gateway's user beside it.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use mcp_ultra_backends::sql::{Database, migrations};
use mcp_ultra_config::{Period, PostgresOwner, PostgresSettings, Secret};
use mcp_ultra_testkit::stores::{PASSWORD, PgBouncer, Postgres, postgres::Login};
use tokio::sync::OnceCell;

/// Who the gateway is: a role that owns nothing.
pub(crate) const GATEWAY: &str = "guest";

/// A database.
pub(crate) struct Site {
    /// A superuser there.
    pub admin: Login,
    /// How the gateway, and the owner, get there.
    pub settings: PostgresSettings,
}

impl Site {
    /// One without tables, on the server that all tests share.
    pub(crate) async fn empty() -> Self {
        let server = Postgres::shared().await.unwrap();
        Self::on(server).await
    }

    /// The same on a server of the test's own.
    pub(crate) async fn on(server: &Postgres) -> Self {
        let admin = server.database().await.unwrap();
        let owner = format!("owner_of_{}", admin.database);
        let sql = format!(
            "create role {owner} login password '{PASSWORD}'; alter database {} owner to {owner}",
            admin.database
        );
        admin.sql(&sql).await.unwrap();
        let settings = settings(&admin, &owner);
        Self { admin, settings }
    }

    /// One with the tables of this version.
    pub(crate) async fn with_tables() -> Self {
        static TEMPLATE: OnceCell<Site> = OnceCell::const_new();
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let template = TEMPLATE
            .get_or_init(async || {
                let site = Self::empty().await;
                migrations::postgres::run(&site.settings).await.unwrap();
                site
            })
            .await;
        let of = &template.admin.database;
        let name = format!("copy_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let owner = &template.settings.migrate.as_ref().unwrap().user;
        let sql = format!("create database {name} template {of} owner {owner}");
        let postgres = template.admin.database("postgres");
        postgres.sql(&sql).await.unwrap();
        let admin = template.admin.database(&name);
        let settings = settings(&admin, owner);
        Self { admin, settings }
    }

    /// The gateway's store there.
    pub(crate) async fn store(&self) -> Database {
        Database::connect_postgres(&self.settings).await.unwrap()
    }

    /// The same behind the PgBouncer.
    pub(crate) async fn store_through_pgbouncer(&self) -> Database {
        let through = pgbouncer().await.login(&self.admin);
        let mut settings = self.settings.clone();
        settings.port = through.address.port();
        settings.tls.ca_file = Some(through.authority.display().to_string());
        Database::connect_postgres(&settings).await.unwrap()
    }

    /// As the gateway's user.
    pub(crate) fn gateway(&self) -> Login {
        self.admin.user(GATEWAY, PASSWORD)
    }

    /// As the owner of the tables.
    pub(crate) fn owner(&self) -> Login {
        let owner = self.settings.migrate.as_ref().unwrap();
        self.admin.user(&owner.user, PASSWORD)
    }

    /// Gives its place on the disk back.
    pub(crate) async fn remove(self) {
        let sql = format!("drop database {} with (force)", self.admin.database);
        self.admin.database("postgres").sql(&sql).await.unwrap();
    }
}

/// The way that `login` goes, as the gateway's user, and as `owner` for migrations.
pub(crate) fn settings(login: &Login, owner: &str) -> PostgresSettings {
    let mut settings = PostgresSettings::new(login.address.ip().to_string());
    settings.port = login.address.port();
    settings.database.clone_from(&login.database);
    GATEWAY.clone_into(&mut settings.user);
    settings.password = Some(Secret::literal(PASSWORD));
    settings.tls.ca_file = Some(login.authority.display().to_string());
    settings.pool.max = NonZeroU32::new(4).unwrap();
    settings.pool.min = 0;
    settings.pool.acquire_timeout = Period::from_secs(10);
    settings.statement_timeout = Period::from_secs(10);
    settings.migrate = Some(PostgresOwner {
        host: None,
        port: None,
        user: owner.to_owned(),
        password: Some(Secret::literal(PASSWORD)),
    });
    settings
}

/// The PgBouncer that all tests share.
pub(crate) async fn pgbouncer() -> &'static PgBouncer {
    static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
    SHARED
        .get_or_init(async || {
            let server = Postgres::shared().await.unwrap();
            PgBouncer::start(server).await.unwrap()
        })
        .await
}
