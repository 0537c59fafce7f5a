//! How a connection to an upstream is made: resolve, connect, TLS with ALPN, all under one
//! deadline. Every address is shown to the [`Guard`] before it is used: those of names by
//! [`Resolver`], whose answers are what is connected to, those that stand in a URI by [`Connector`].

use std::{
    io,
    net::{IpAddr, SocketAddr},
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
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower::Service;

use super::{
    client_certificate::ClientCertificate,
    config::{OutboundConfig, UpstreamTls},
    error::OutboundConfigError,
    guard::Guard,
};
use crate::BoxError;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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

/// Finds the addresses of a name.
pub(super) trait Resolve: Send + Sync {
    fn resolve(&self, name: Name) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

/// The system's resolver.
pub(super) struct System(GaiResolver);

impl System {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Resolve for System {
    fn resolve(&self, name: Name) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        self.0.clone().call(name).map_ok(Iterator::collect).boxed()
    }
}

/// A resolver whose answers have passed the guard, with errors that can be told from those of the
/// connection. A name with one forbidden address is refused as a whole: it is not an honest one.
#[derive(Clone)]
pub(super) struct Resolver {
    names: Arc<dyn Resolve>,
    guard: Guard,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, guard) = (self.names.resolve(name), self.guard.clone());
        async move {
            let addresses = resolving.await.map_err(ResolveFailed)?;
            for address in &addresses {
                guard.check(address.ip())?;
            }
            Ok(addresses.into_iter())
        }
        .boxed()
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects to `http` and `https` upstreams.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    guard: Guard,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        config: &OutboundConfig,
        tls: &ClientConfig,
        guard: Guard,
        names: Arc<dyn Resolve>,
    ) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver {
            names,
            guard: guard.clone(),
        });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE.0));
        http.set_keepalive_interval(Some(TCP_KEEPALIVE.1));
        http.set_keepalive_retries(Some(TCP_KEEPALIVE.2));
        // Divides the time among the addresses of a host, so that a dead first one leaves some.
        http.set_connect_timeout(Some(config.connect_timeout));
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        Self {
            inner,
            guard,
            timeout: config.connect_timeout,
        }
    }
}

/// The address that a URI has in the place of a name. No resolver is asked for those.
fn literal(target: &Uri) -> Option<IpAddr> {
    let host = target.host()?;
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<Result<Stream, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        if let Some(forbidden) =
            literal(&target).and_then(|address| self.guard.check(address).err())
        {
            return std::future::ready(Err(forbidden.into())).boxed();
        }
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

pub(super) fn tls_config(
    extra_ca_file: Option<&Path>,
    upstream: &UpstreamTls,
) -> Result<ClientConfig, OutboundConfigError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &upstream.authorities {
        add_authorities(&mut roots, path)?;
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = extra_ca_file {
            add_authorities(&mut roots, path)?;
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &upstream.own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let own = Arc::new(ClientCertificate::read(certificate, key)?);
            let mut config = builder.with_client_cert_resolver(own);
            // A session that is resumed carries on with the certificate that it began with: a new
            // one would not be shown for as long as the upstream gives out tickets.
            config.resumption = Resumption::disabled();
            config
        }
    })
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
