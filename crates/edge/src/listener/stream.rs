//! The stream of one connection as hyper sees it: notes the events that [`Pace`] needs, replays
//! the bytes that were read to tell HTTP/2 from HTTP/1, and hands the socket back when hyper is
//! done with it, so that it is closed without losing the last answer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::pace::Pace;

/// The method that HTTP/2's connection preface starts with (RFC 9113 section 3.4); no HTTP/1
/// method may be called that.
const PREFACE: &[u8; 3] = b"PRI";

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Where hyper's stream leaves the socket once it has been shut down.
pub(super) type Remains<T> = Arc<Mutex<Option<T>>>;

/// A stream with its bookkeeping.
#[derive(Debug)]
pub(super) struct PacedStream<T> {
    /// None once it was shut down.
    stream: Option<T>,
    pace: Arc<Pace>,
    remains: Remains<T>,
    /// The first bytes, until they were replayed.
    first: [u8; PREFACE.len()],
    first_filled: u8,
    first_replayed: u8,
    peer_closed: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> PacedStream<T> {
    pub(super) fn new(stream: T, pace: Arc<Pace>) -> Self {
        Self {
            stream: Some(stream),
            pace,
            remains: Remains::default(),
            first: [0; PREFACE.len()],
            first_filled: 0,
            first_replayed: 0,
            peer_closed: false,
        }
    }

    /// Where the socket will be after an orderly end, if the peer has not closed it too by then.
    pub(super) fn remains(&self) -> Remains<T> {
        Arc::clone(&self.remains)
    }

    /// Reads as much as tells the version. `None`: the peer closed before saying anything.
    pub(super) async fn detect(&mut self) -> io::Result<Option<Version>> {
        loop {
            let filled = usize::from(self.first_filled);
            if filled > 0 && self.first[..filled] != PREFACE[..filled] {
                return Ok(Some(Version::Http1));
            }
            if filled == PREFACE.len() {
                self.pace.is_http2();
                return Ok(Some(Version::Http2));
            }
            let Some(stream) = &mut self.stream else {
                return Ok(None);
            };
            let read = stream.read(&mut self.first[filled..]).await?;
            if read == 0 {
                self.peer_closed = true;
                return Ok((filled > 0).then_some(Version::Http1));
            }
            self.first_filled += u8::try_from(read).unwrap_or_default();
        }
    }

    fn poll_read_more(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(()));
        };
        let filled = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        if buf.filled().len() > filled {
            self.pace.received();
        } else if buf.remaining() > 0 {
            self.peer_closed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn note_write<W>(&self, written: Poll<io::Result<W>>) -> Poll<io::Result<W>> {
        match &written {
            Poll::Pending => self.pace.write_blocked(),
            Poll::Ready(_) => self.pace.written(),
        }
        written
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for PacedStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first_replayed == this.first_filled {
            return this.poll_read_more(cx, buf);
        }
        let first = &this.first[usize::from(this.first_replayed)..usize::from(this.first_filled)];
        let fits = first.len().min(buf.remaining());
        buf.put_slice(&first[..fits]);
        this.first_replayed += u8::try_from(fits).unwrap_or_default();
        if !this.peer_closed && buf.remaining() > 0 {
            // Usually the rest has come with them, and one parse does for both.
            if let Poll::Ready(result) = this.poll_read_more(cx, buf) {
                return Poll::Ready(result);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PacedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let written = Pin::new(stream).poll_write(cx, buf);
        self.note_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let written = Pin::new(stream).poll_write_vectored(cx, bufs);
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(()));
        };
        ready!(Pin::new(stream).poll_shutdown(cx))?;
        let stream = self.stream.take();
        if !self.peer_closed {
            *self.remains.lock() = stream;
        }
        Poll::Ready(Ok(()))
    }
}

/// Throws away what the peer still sends, until it closes too. Without this, closing a socket with
/// unread bytes resets the connection, and the peer may lose an answer (413, 431) that it has not
/// read yet (RFC 9112 section 9.6). The caller bounds the time.
pub(super) async fn linger<T: AsyncRead + Unpin>(mut remains: T) {
    let mut scratch = [0; 4096];
    while let Ok(1..) = remains.read(&mut scratch).await {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    async fn detected(bytes: &[u8]) -> (Option<Version>, Vec<u8>) {
        let (mut client, server) = duplex(64);
        client.write_all(bytes).await.unwrap();
        drop(client);
        let mut stream = PacedStream::new(server, Arc::new(Pace::new()));
        let version = stream.detect().await.unwrap();
        let mut replayed = Vec::new();
        stream.read_to_end(&mut replayed).await.unwrap();
        (version, replayed)
    }

    #[tokio::test]
    async fn the_first_bytes_tell_the_version_and_are_read_again() {
        for (bytes, version) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Some(Version::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Version::Http2)),
            (b"PROPFIND / HTTP/1.1\r\n\r\n", Some(Version::Http1)),
            (b"PR", Some(Version::Http1)),
            (b"", None),
        ] {
            let (found, replayed) = detected(bytes).await;
            assert_eq!(found, version, "{bytes:?}");
            assert_eq!(replayed, bytes);
        }
    }

    #[tokio::test]
    async fn first_bytes_survive_a_small_buffer_and_a_slow_peer() {
        let (mut client, server) = duplex(64);
        let mut stream = PacedStream::new(server, Arc::new(Pace::new()));
        let detecting = async {
            client.write_all(b"P").await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(b"U").await.unwrap();
        };
        let (version, ()) = tokio::join!(stream.detect(), detecting);
        assert_eq!(version.unwrap(), Some(Version::Http1));
        let mut one = [0; 1];
        stream.read_exact(&mut one).await.unwrap();
        assert_eq!(&one, b"P");
        stream.read_exact(&mut one).await.unwrap();
        assert_eq!(&one, b"U");
    }
}
