//! How a connection to an upstream is made: resolve, connect, TLS with ALPN, all under one
//! deadline. What guards where the gateway may connect to belongs here: [`Resolver`] sees every
//! address before it is used.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, TryFutureExt};
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiAddrs, GaiResolver, Name},
    },
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower::Service;

use super::{config::OutboundConfig, error::OutboundConfigError};
use crate::BoxError;

/// A silent connection (an event stream, say) is probed after this time, then in these intervals
/// so many times, so that a path that forgot it is noticed within two minutes.
const TCP_KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_mins(1), Duration::from_secs(15), 4);

/// The host name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ResolveFailed(#[source] io::Error);

/// The connection was not ready for use in time.
#[derive(Debug, thiserror::Error)]
#[error("not connected within {0:?}")]
pub(super) struct ConnectTimedOut(Duration);

/// The system's resolver, with errors that can be told from those of the connection.
#[derive(Clone, Debug)]
pub(super) struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = ResolveFailed;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, ResolveFailed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ResolveFailed>> {
        self.0.poll_ready(cx).map_err(ResolveFailed)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        self.0.call(name).map_err(ResolveFailed).boxed()
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects to `http` and `https` upstreams.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &OutboundConfig) -> Result<Self, OutboundConfigError> {
        let mut http = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE.0));
        http.set_keepalive_interval(Some(TCP_KEEPALIVE.1));
        http.set_keepalive_retries(Some(TCP_KEEPALIVE.2));
        // Divides the time among the addresses of a host, so that a dead first one leaves some.
        http.set_connect_timeout(Some(config.connect_timeout));
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(config.extra_ca_file.as_deref())?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        Ok(Self {
            inner,
            timeout: config.connect_timeout,
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let (connecting, timeout) = (self.inner.call(target), self.timeout);
        async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ConnectTimedOut(timeout).into()),
            }
        }
        .boxed()
    }
}

fn tls_config(extra_ca_file: Option<&Path>) -> Result<ClientConfig, OutboundConfigError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = extra_ca_file {
        add_authorities(&mut roots, path)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), OutboundConfigError> {
    let in_file = |source| OutboundConfigError::CaFile {
        path: path.to_owned(),
        source,
    };
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(in_file)? {
        roots.add(certificate.map_err(in_file)?).map_err(|source| {
            OutboundConfigError::CaCertificate {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    if roots.len() == before {
        return Err(OutboundConfigError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(())
}
