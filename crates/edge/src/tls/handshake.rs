use std::{io, sync::Arc};

use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{PeerCertificate, ServerTls};
use crate::listener::Refusal;

/// The first byte of a TLS record with a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What a client gets that speaks HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    cache-control: no-store\r\ncontent-length: 52\r\nconnection: close\r\n\r\n\
    this port speaks TLS only: use https instead of http";

/// A socket after its handshake.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
}

/// How a handshake failed.
pub(crate) enum Failed {
    /// For this reason.
    Refused(Refusal),
    /// The client speaks HTTP, and was told so; its socket, for lingering.
    Plain(TcpStream),
    /// The client went away before it said anything.
    Gone,
}

impl ServerTls {
    /// Shakes hands.
    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<Secured, Failed> {
        timeout(self.settings.handshake_timeout, self.shake(stream))
            .await
            .unwrap_or(Err(Failed::Refused(Refusal::HandshakeTimeout)))
    }

    async fn shake(&self, mut stream: TcpStream) -> Result<Secured, Failed> {
        // Who says nothing takes no turn.
        match first_byte(&stream).await {
            Ok(Some(HANDSHAKE)) => {}
            Ok(Some(byte)) if byte.is_ascii_uppercase() => {
                return match stream.write_all(PLAIN).await {
                    Ok(()) => Err(Failed::Plain(stream)),
                    Err(_) => Err(Failed::Gone),
                };
            }
            Ok(Some(_)) => return Err(Failed::Refused(Refusal::Handshake)),
            Ok(None) | Err(_) => return Err(Failed::Gone),
        }
        let Ok(_turn) = self.places.acquire().await else {
            return Err(Failed::Gone);
        };
        let acceptor = TlsAcceptor::from(self.current.load().config.clone());
        let stream = acceptor.accept(stream).await.map_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            Failed::Refused(Refusal::Handshake)
        })?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = match shown.and_then(<[_]>::first) {
            None => None,
            Some(der) => match PeerCertificate::read(der) {
                Some(certificate) => Some(Arc::new(certificate)),
                None => return Err(Failed::Refused(Refusal::Handshake)),
            },
        };
        Ok(Secured {
            stream,
            certificate,
        })
    }
}

/// The first byte, which stays unread.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    stream.ready(Interest::READABLE).await?;
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok((seen > 0).then_some(first[0]))
}
