//! What replicas share: one suite over memory, a single Redis, a cluster and a master under Sentinels;
//! what only several replicas see; and what happens when Redis is away.

mod breakers;
mod cache;
mod failures;
mod limits;
mod replay;
mod security;
mod sessions;
mod upstream_sessions;

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mcp_ultra_backends::redis::Redis;
use mcp_ultra_config::{Period, RedisSentinel, RedisServer, RedisSettings, Secret};
use mcp_ultra_testkit::stores::{
    self,
    redis::{Cluster, Login, Sentinels},
};
use tokio::sync::OnceCell;

/// What a command may take in these tests, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long something may take to heal.
const HEALS: Duration = Duration::from_secs(20);

/// Makes a test of each contract for each kind of Redis, and for the store in memory.
macro_rules! shared_contracts {
    ($memory:expr, $store:expr, $($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&$memory).await;
            })*
        }
        mod single {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let settings = crate::redis::single().await;
                super::$name(&$store(&crate::redis::open(&settings).await)).await;
            })*
        }
        mod cluster {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let settings = crate::redis::cluster().await;
                super::$name(&$store(&crate::redis::open(&settings).await)).await;
            })*
        }
        mod sentinel {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let settings = crate::redis::sentinel().await;
                super::$name(&$store(&crate::redis::open(&settings).await)).await;
            })*
        }
    };
}
use shared_contracts;

fn server(login: &Login) -> RedisServer {
    RedisServer {
        host: login.address.ip().to_string(),
        port: Some(login.address.port()),
    }
}

/// Who the gateway is at `login`, with keys of its own; not where that is.
fn settings(login: &Login) -> RedisSettings {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut settings = RedisSettings::default();
    settings.user.clone_from(&login.user);
    settings.password = Some(Secret::literal(login.password.clone()));
    let shown = |path: &Path| path.display().to_string();
    settings.tls.ca_file = Some(shown(&login.authority));
    if let Some((certificate, key)) = &login.certificate {
        settings.tls.certificate = Some(shown(certificate));
        settings.tls.key = Some(shown(key));
    }
    settings.prefix = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    settings.command_timeout = Period::from_millis(2000);
    settings.connect_timeout = Period::from_secs(5);
    settings
}

/// A Redis alone.
fn settings_of(login: &Login) -> RedisSettings {
    RedisSettings {
        server: Some(server(login)),
        ..settings(login)
    }
}

/// Keys of their own at the Redis that all tests share.
async fn single() -> RedisSettings {
    static SHARED: OnceCell<stores::Redis> = OnceCell::const_new();
    let start = async || stores::Redis::start().await.unwrap();
    settings_of(SHARED.get_or_init(start).await.login())
}

/// Keys of their own at the cluster that all tests share. One node is named; it names the others.
async fn cluster() -> RedisSettings {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    let start = async || Cluster::start().await.unwrap();
    settings_of_cluster(SHARED.get_or_init(start).await)
}

fn settings_of_cluster(cluster: &Cluster) -> RedisSettings {
    let login = cluster.login();
    RedisSettings {
        cluster: vec![server(login)],
        ..settings(login)
    }
}

/// Keys of their own at the Sentinels that all tests share.
async fn sentinel() -> RedisSettings {
    static SHARED: OnceCell<Sentinels> = OnceCell::const_new();
    let start = async || Sentinels::start().await.unwrap();
    settings_of_group(SHARED.get_or_init(start).await)
}

fn settings_of_group(group: &Sentinels) -> RedisSettings {
    RedisSettings {
        sentinel: Some(RedisSentinel {
            master: group.name().to_owned(),
            servers: group.logins().iter().map(server).collect(),
            user: None,
            password: None,
        }),
        ..settings(group.nodes()[0].login())
    }
}

/// One replica's connection, which is there.
async fn open(settings: &RedisSettings) -> Redis {
    let redis = Redis::start(settings).await.unwrap();
    assert!(redis.is_reachable(), "it has not connected");
    redis
}

/// Waits until something is so, as it becomes by itself.
async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < HEALS, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_reachable(redis: &Redis) {
    until("Redis is back", async || redis.is_reachable()).await;
}
