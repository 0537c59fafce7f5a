//! What a look-up of an API key costs in SQLite, in PostgreSQL, and behind a PgBouncer, and how many
//! connections are worth having: `cargo run -p mcp-ultra-backends --example sql_cost`. It starts
//! private servers (`scripts/setup`).

use std::{
    error::Error,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use mcp_ultra_backends::sql::{Database, migrations};
use mcp_ultra_config::{PostgresOwner, PostgresSettings, Secret};
use mcp_ultra_domain::{ApiKey, KeySecret, PrincipalKind, ports::KeyStore};
use mcp_ultra_testkit::stores::{PASSWORD, PgBouncer, Postgres, postgres::Login};

/// How many ask at once.
const CALLERS: usize = 64;
/// For how long.
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = Database::open_sqlite(&folder.path().join("state.db")).await?;
    file.add(&key()).await?;
    measure("SQLite, 4 connections", &file).await?;

    let server = Postgres::start().await?;
    let admin = server.database().await?;
    let owner = format!(
        "create role owner login password '{PASSWORD}'; alter database {} owner to owner",
        admin.database
    );
    admin.sql(&owner).await?;
    let mut settings = settings(&admin);
    migrations::postgres::run(&settings).await?;
    let store = Database::connect_postgres(&settings).await?;
    store.add(&key()).await?;
    store.close().await;
    for connections in [1, 2, 5, 10, 20, 40] {
        settings.pool.max = NonZeroU32::new(connections).unwrap_or(NonZeroU32::MIN);
        let store = Database::connect_postgres(&settings).await?;
        measure(&format!("PostgreSQL, {connections} connections"), &store).await?;
        store.close().await;
    }
    let bouncer = PgBouncer::start(&server).await?;
    let through = bouncer.login(&admin);
    settings.port = through.address.port();
    settings.tls.ca_file = Some(through.authority.display().to_string());
    settings.pool.max = NonZeroU32::new(10).unwrap_or(NonZeroU32::MIN);
    let store = Database::connect_postgres(&settings).await?;
    measure("PgBouncer, 10 connections to 4", &store).await
}

fn settings(admin: &Login) -> PostgresSettings {
    let mut settings = PostgresSettings::new("127.0.0.1");
    settings.port = admin.address.port();
    settings.database.clone_from(&admin.database);
    "guest".clone_into(&mut settings.user);
    settings.password = Some(Secret::literal(PASSWORD));
    settings.tls.ca_file = Some(admin.authority.display().to_string());
    settings.migrate = Some(PostgresOwner {
        host: None,
        port: None,
        user: "owner".to_owned(),
        password: Some(Secret::literal(PASSWORD)),
    });
    settings
}

fn key() -> ApiKey {
    ApiKey {
        id: "k1".into(),
        tenant: "acme".into(),
        name: "reports".into(),
        kind: PrincipalKind::Agent,
        roles: [].into(),
        scopes: [].into(),
        created: Duration::ZERO,
        expires: None,
        revoked: None,
        revision: 1,
        secrets: vec![KeySecret::new("k1-a".into(), [7; 32], Duration::ZERO)],
    }
}

/// One after the other, then many at once.
async fn measure(what: &str, store: &Database) -> Result<(), Box<dyn Error>> {
    let alone = asked(store, 1).await?;
    let at_once = asked(store, CALLERS).await?;
    let at = |times: &[Duration], percent: usize| {
        let place = times.len() * percent / 100;
        times.get(place).copied().unwrap_or_default()
    };
    println!(
        "{what:<32} alone {:>8.2?} (p99 {:>8.2?}); {CALLERS} at once {:>6}/s, {:>8.2?} (p99 {:>8.2?})",
        at(&alone, 50),
        at(&alone, 99),
        at_once.len() / usize::try_from(TIME.as_secs())?,
        at(&at_once, 50),
        at(&at_once, 99),
    );
    Ok(())
}

/// How long each look-up took, in order.
async fn asked(store: &Database, callers: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let until = Instant::now() + TIME;
    let callers = (0..callers).map(|_| async {
        let mut times = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            store.find("k1-a").await?;
            times.push(begun.elapsed());
        }
        Ok::<_, Box<dyn Error>>(times)
    });
    let mut all = Vec::new();
    for times in futures_util::future::join_all(callers).await {
        all.extend(times?);
    }
    all.sort_unstable();
    Ok(all)
}
