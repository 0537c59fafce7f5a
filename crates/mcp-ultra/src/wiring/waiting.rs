//! A gateway that is started while its database can't be reached: it waits for it, and answers probes
//! meanwhile. It is alive, and not ready.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{Config, StorageSection};
use mcp_ultra_edge::{listener::Listener, shutdown::Shutdown, tls::ServerTls};

use super::{
    ServeError, listener_config, messaging,
    storage::{self, StorageError},
};

/// The pauses between two tries: doubled from the first to the longest, and up to a quarter longer.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// How long probes in flight are waited for, once there is more to answer them with.
const LAST_PROBES: Duration = Duration::from_millis(500);

/// Opens the database of a configuration, however long that takes where it can't be reached. What
/// waiting does not mend is an error at once: a wrong password, tables of another version.
pub(super) async fn for_storage(
    config: &Config,
    tls: Option<&Arc<ServerTls>>,
) -> Result<Option<Database>, ServeError> {
    let error = match storage::open(&config.storage).await {
        Err(error) if error.may_pass() => error,
        opened => return Ok(opened?),
    };
    tracing::warn!(%error, "the database can't be reached: the gateway waits for it, and is not ready");
    let address = SocketAddr::new(config.server.host, config.server.port);
    let mut listener = Listener::bind(listener_config(address, &config.limits))
        .map_err(|source| ServeError::Bind { address, source })?;
    if let Some(tls) = tls {
        listener = listener.with_tls(tls.clone());
    }
    let shutdown = Shutdown::new();
    let service = TowerToHyperService::new(probes());
    let probed = tokio::spawn(listener.serve(service, shutdown.clone(), None));
    let opened = again(&config.storage).await;
    // The address is for the gateway itself now.
    shutdown.finish(LAST_PROBES).await;
    probed.abort();
    drop(probed.await);
    Ok(opened?)
}

async fn again(section: &StorageSection) -> Result<Option<Database>, StorageError> {
    let [mut pause, longest] = PAUSES;
    loop {
        let jitter = pause / 4 * u32::try_from(messaging::number() % 1_000).unwrap_or(0) / 1_000;
        tokio::time::sleep(pause + jitter).await;
        match storage::open(section).await {
            Err(error) if error.may_pass() => tracing::debug!(%error, "the database is still away"),
            opened => {
                tracing::info!("the database can be reached");
                return opened;
            }
        }
        pause = longest.min(pause * 2);
    }
}

/// Alive, and nothing else.
fn probes() -> Router {
    let alive = get(|| async { "ok\n" });
    Router::new()
        .route("/livez", alive.clone())
        .route("/live", alive)
        .fallback(|| async {
            let text = "the database can't be reached, which is waited for\n";
            let again = [(header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, again, text).into_response()
        })
}
