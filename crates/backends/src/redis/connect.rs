//! How a connection is made: where to, as whom, and that it is encrypted to the right one.

use std::{path::Path, time::Duration};

use mcp_ultra_config::{RedisSentinel, RedisServer, RedisSettings, Secret};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisFuture, RedisResult, TlsCertificates,
    TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::RedisError;

/// The ports where none is given.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// How long the crate waits for a connection to a Sentinel, and how many it asks at once.
const SENTINEL: Duration = Duration::from_secs(1);
const SENTINELS_AT_ONCE: usize = 3;

/// A connection that any number of commands can use at once.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server, be it by the word of a Sentinel.
    One(MultiplexedConnection),
    /// To the nodes of a cluster. It finds them again by itself.
    Cluster(ClusterConnection),
}

/// Connects to what `settings` name. The files are read anew.
pub(super) async fn connect(settings: &RedisSettings) -> RedisResult<Connection> {
    let certificates = certificates(settings).map_err(|error| {
        let text = error.to_string();
        redis::RedisError::from((redis::ErrorKind::InvalidClientConfig, "certificates", text))
    })?;
    let (patience, answer) = times(settings);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(answer));
    if let Some(sentinel) = &settings.sentinel {
        let mut client = sentinels(settings, sentinel, &certificates)?;
        let connection = client.get_async_connection_with_config(&config).await?;
        return Ok(Connection::One(connection));
    }
    if let Some(server) = &settings.server {
        let client = Client::build_with_tls(information(settings, server)?, certificates)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        return Ok(Connection::One(connection.await?));
    }
    let nodes = settings.cluster.iter();
    let nodes = nodes.map(|node| information(settings, node));
    let mut client = ClusterClient::builder(nodes.collect::<RedisResult<Vec<_>>>()?)
        .tls(TlsMode::Secure)
        .certs(certificates)
        .username(&settings.user)
        .connection_timeout(patience)
        .response_timeout(answer)
        .retries(3);
    if let Some(password) = &settings.password {
        client = client.password(password.expose());
    }
    let connection = client.build()?.get_async_connection().await?;
    Ok(Connection::Cluster(connection))
}

/// Whether the settings make a client at all, without a connection.
pub(super) fn check(settings: &RedisSettings) -> Result<(), RedisError> {
    let certificates = certificates(settings)?;
    let server = RedisServer {
        host: "localhost".to_owned(),
        port: None,
    };
    information(settings, &server)
        .and_then(|information| Client::build_with_tls(information, certificates))
        .map(drop)
        .map_err(|error| RedisError::Unfit(error.to_string()))
}

/// How long one attempt may take. One host that is silent takes all the time of a connection, and must
/// not keep those that answer from being found.
pub(super) fn attempt(settings: &RedisSettings) -> Duration {
    let one = settings.connect_timeout.get();
    if let Some(sentinel) = &settings.sentinel {
        let rounds = sentinel.servers.len().div_ceil(SENTINELS_AT_ONCE);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        return one.saturating_add(SENTINEL.saturating_mul(rounds));
    }
    if settings.server.is_some() {
        return one;
    }
    // To the nodes that are named, then to those that they name; and what is said in between.
    one * 3
}

fn times(settings: &RedisSettings) -> (Duration, Duration) {
    (
        settings.connect_timeout.get(),
        settings.command_timeout.get(),
    )
}

fn sentinels(
    settings: &RedisSettings,
    sentinel: &RedisSentinel,
    certificates: &TlsCertificates,
) -> RedisResult<redis::sentinel::SentinelClient> {
    let addresses = sentinel.servers.iter();
    let addresses = addresses.map(|server| address(server, SENTINEL_PORT));
    let kind = SentinelServerType::Master;
    let mut builder = SentinelClientBuilder::new(addresses, &sentinel.master, kind)?
        .set_client_to_redis_tls_mode(TlsMode::Secure)
        .set_client_to_redis_certificates(certificates.clone())
        .set_client_to_redis_username(&settings.user)
        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
        .set_client_to_sentinel_certificates(certificates.clone())
        .set_client_to_sentinel_username(sentinel.user.as_ref().unwrap_or(&settings.user));
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    let own = sentinel.password.as_ref();
    if let Some(password) = own.or(settings.password.as_ref()) {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    builder.build()
}

fn information(settings: &RedisSettings, server: &RedisServer) -> RedisResult<ConnectionInfo> {
    let mut who = RedisConnectionInfo::default().set_username(&settings.user);
    if let Some(password) = settings.password.as_ref().map(Secret::expose) {
        who = who.set_password(password);
    }
    Ok(address(server, PORT)
        .into_connection_info()?
        .set_redis_settings(who))
}

fn address(server: &RedisServer, port: u16) -> ConnectionAddr {
    ConnectionAddr::TcpTls {
        host: server.host.clone(),
        port: server.port.unwrap_or(port),
        insecure: false,
        tls_params: None,
    }
}

fn certificates(settings: &RedisSettings) -> Result<TlsCertificates, RedisError> {
    let tls = &settings.tls;
    let root_cert = tls.ca_file.as_deref().map(read).transpose()?;
    let client_tls = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        _ => None,
    };
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}

fn read(path: &str) -> Result<Vec<u8>, RedisError> {
    std::fs::read(path).map_err(|source| RedisError::File {
        path: Path::new(path).to_owned(),
        source,
    })
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(cmd, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
