//! The client towards upstreams, against real servers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use mcp_ultra_edge::outbound::{
    Outbound, OutboundConfig, OutboundConfigError, OutboundError, OutboundErrorKind, Side,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::server::{PATIENCE, start};

fn client(adjust: impl FnOnce(&mut OutboundConfig)) -> Outbound {
    let mut config = OutboundConfig::default();
    adjust(&mut config);
    Outbound::new(&config).unwrap()
}

fn post(uri: &str) -> Request<Full<Bytes>> {
    Request::post(uri).body(Full::from("ping")).unwrap()
}

async fn body_of(outbound: &Outbound, uri: &str) -> Result<Bytes, OutboundError> {
    let answer = tokio::time::timeout(PATIENCE, outbound.request(post(uri)))
        .await
        .unwrap()?;
    Ok(answer.into_body().collect().await.unwrap().to_bytes())
}

async fn failure(outbound: &Outbound, uri: &str) -> OutboundError {
    body_of(outbound, uri).await.unwrap_err()
}

/// Answers every connection with `bytes`, as soon as the request came, and closes it.
async fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    address
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let server = start(|_| ());
    let outbound = client(|_| ());
    let uri = format!("http://{}/", server.address);
    for _ in 0..5 {
        assert_eq!(body_of(&outbound, &uri).await.unwrap(), "ping");
    }
    assert_eq!(
        body_of(&outbound.clone(), &uri).await.unwrap(),
        "ping",
        "clones share the pool"
    );
    assert_eq!(server.metrics.accepted(), 1);
}

#[tokio::test]
async fn unused_connections_are_let_go() {
    let server = start(|_| ());
    let outbound = client(|config| config.pool_idle_timeout = Duration::from_millis(100));
    let uri = format!("http://{}/", server.address);
    body_of(&outbound, &uri).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    body_of(&outbound, &uri).await.unwrap();
    assert_eq!(server.metrics.accepted(), 2);
}

#[tokio::test]
async fn no_more_unused_connections_are_kept_than_asked_for() {
    let server = start(|_| ());
    let outbound = client(|config| config.pool_max_idle_per_host = 1);
    let uri = format!("http://{}/slow", server.address);
    let (a, b, c) = tokio::join!(
        body_of(&outbound, &uri),
        body_of(&outbound, &uri),
        body_of(&outbound, &uri)
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(server.metrics.accepted(), 3);
    crate::server::eventually("all but one are closed", || server.metrics.open() == 1).await;
}

#[tokio::test]
async fn a_pooled_connection_that_the_upstream_closed_is_replaced() {
    let server = start(|config| config.idle_timeout = Duration::from_millis(100));
    let outbound = client(|_| ());
    let uri = format!("http://{}/", server.address);
    for expected in 1..=3 {
        assert_eq!(body_of(&outbound, &uri).await.unwrap(), "ping");
        assert_eq!(server.metrics.accepted(), expected);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn redirects_are_handed_on_not_followed() {
    let address = answering(
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let answer = client(|_| ())
        .request(post(&format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn errors_say_what_failed_and_whether_a_retry_is_safe() {
    let closed_port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let mute = answering(b"").await;
    let garbage = answering(b"220 mail.example ESMTP\r\n").await;
    let half = answering(b"HTTP/1.1 200 OK\r\ncontent-le").await;
    // A label of over 63 characters is refused by the resolver itself, without a name server.
    let unresolvable = format!("http://{}.invalid/", "a".repeat(64));
    let outbound = client(|_| ());
    for (uri, kind, retry_is_safe) in [
        (
            format!("http://{closed_port}/"),
            OutboundErrorKind::Refused,
            true,
        ),
        (unresolvable, OutboundErrorKind::Dns, true),
        (format!("https://{garbage}/"), OutboundErrorKind::Tls, true),
        (format!("http://{mute}/"), OutboundErrorKind::Closed, false),
        (format!("http://{half}/"), OutboundErrorKind::Closed, false),
        (
            format!("http://{garbage}/"),
            OutboundErrorKind::Protocol,
            false,
        ),
    ] {
        let error = failure(&outbound, &uri).await;
        assert_eq!(
            (error.kind(), error.retry_is_safe()),
            (kind, retry_is_safe),
            "{uri}: {error:?}"
        );
        assert_eq!(error.side(), Side::Upstream);
    }
    for uri in ["/path", "ftp://example.com/"] {
        let error = failure(&outbound, uri).await;
        assert_eq!(
            (error.kind(), error.side()),
            (OutboundErrorKind::InvalidRequest, Side::Gateway)
        );
    }
}

#[tokio::test]
async fn errors_name_the_upstream_but_neither_path_nor_query_nor_user() {
    let address = answering(b"").await;
    let uri = format!("http://user:secret@{address}/secret?token=secret");
    let error = failure(&client(|_| ()), &uri).await;
    let text = format!("{error}");
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(
        !text.contains("secret") && !format!("{error:?}").contains("secret"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_handshake_ends_with_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("https://{}/", listener.local_addr().unwrap());
    let outbound = client(|config| config.connect_timeout = Duration::from_millis(200));
    let error = failure(&outbound, &uri).await;
    assert_eq!(error.kind(), OutboundErrorKind::ConnectTimeout, "{error:?}");
    assert!(error.retry_is_safe());
}

/// A TLS server for `localhost` that offers these protocols; answers with the version it speaks.
async fn tls_server(protocols: &[&[u8]]) -> (u16, tempfile::NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_tls(acceptor.clone(), stream));
        }
    });
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut ca_file, cert.pem().as_bytes()).unwrap();
    (port, ca_file)
}

async fn serve_tls(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        let version = format!("{:?}", request.version());
        Ok::<_, hyper::Error>(http::Response::new(Full::<Bytes>::from(version)))
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[tokio::test]
async fn an_upstream_with_an_authority_of_our_own_is_trusted_and_alpn_chooses_the_version() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], Version::HTTP_2),
        (&[b"http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let (port, ca_file) = tls_server(protocols).await;
        let outbound = client(|config| config.extra_ca_file = Some(ca_file.path().to_owned()));
        let uri = format!("https://localhost:{port}/");
        let answer = outbound.request(post(&uri)).await.unwrap();
        assert_eq!(answer.version(), version);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("{version:?}"));
    }
}

#[tokio::test]
async fn an_upstream_nobody_vouches_for_is_not_spoken_to() {
    let (port, ca_file) = tls_server(&[b"http/1.1"]).await;
    let error = failure(&client(|_| ()), &format!("https://localhost:{port}/")).await;
    assert_eq!(error.kind(), OutboundErrorKind::Tls, "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");

    let trusting = client(|config| config.extra_ca_file = Some(ca_file.path().to_owned()));
    let error = failure(&trusting, &format!("https://127.0.0.1:{port}/")).await;
    assert_eq!(
        error.kind(),
        OutboundErrorKind::Tls,
        "another name than the certificate's"
    );
}

#[test]
fn an_unusable_authority_file_is_an_error_that_names_it() {
    let with = |content: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        let config = OutboundConfig {
            extra_ca_file: Some(file.path().to_owned()),
            ..Default::default()
        };
        let error = Outbound::new(&config).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&file.path().display().to_string()),
            "{error}"
        );
        error
    };
    assert!(matches!(
        with("no certificate"),
        OutboundConfigError::NoCertificate { .. }
    ));
    assert!(matches!(
        with("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        OutboundConfigError::CaFile { .. }
    ));
    assert!(matches!(
        with("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        OutboundConfigError::CaCertificate { .. }
    ));
    let missing = OutboundConfig {
        extra_ca_file: Some("/no/such/file".into()),
        ..Default::default()
    };
    assert!(matches!(
        Outbound::new(&missing),
        Err(OutboundConfigError::CaFile { .. })
    ));
}
