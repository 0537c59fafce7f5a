//! One HTTP/1.1 connection of the load generator (RFC 9112, what a client of one request at a
//! time needs): `Content-Length` and chunked bodies, no pipelining, no redirects.
//!
//! Our own, because the generator shares the machine with what it measures: it reads into one
//! buffer that it keeps, and hands bodies out without a copy where they come in one piece.

use std::{io, net::Ipv4Addr};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::message::SESSION_HEADER;

/// A head longer than this is not one.
const LONGEST_HEAD: usize = 64 << 10;
/// A body longer than this is not one of ours.
const LONGEST_BODY: usize = 64 << 20;
const FIRST_BUFFER: usize = 64 << 10;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Everything read and not yet given out; bytes before `filled` are valid.
    buffer: Vec<u8>,
    filled: usize,
    /// A chunked body put together.
    joined: Vec<u8>,
    open: bool,
}

/// A response, until the next request.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// Status code.
    pub(crate) status: u16,
    /// Whether the body is an event stream.
    pub(crate) events: bool,
    /// `Mcp-Session-Id`, where there is one.
    pub(crate) session: Option<String>,
    /// The body without transfer coding.
    pub(crate) body: &'a [u8],
}

#[derive(Debug)]
struct Head {
    status: u16,
    events: bool,
    session: Option<String>,
    framing: Framing,
    close: bool,
    /// Where the body starts in the buffer.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    /// Connects to a port on loopback.
    pub(crate) async fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            filled: 0,
            joined: Vec::new(),
            open: true,
        })
    }

    /// Whether another request can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Response<'_>> {
        self.open = false;
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = self.head().await?;
        let whole = match head.framing {
            Framing::Length(length) => {
                self.fill_to(head.end + length).await?;
                head.end..head.end + length
            }
            Framing::Chunked => {
                let end = self.join_chunks(head.end).await?;
                if end != self.filled {
                    return Err(broken("bytes after the end of the response"));
                }
                0..0
            }
        };
        if matches!(head.framing, Framing::Length(_)) && whole.end != self.filled {
            return Err(broken("bytes after the end of the response"));
        }
        self.open = !head.close;
        let body = match head.framing {
            Framing::Length(_) => &self.buffer[whole],
            Framing::Chunked => &self.joined,
        };
        Ok(Response {
            status: head.status,
            events: head.events,
            session: head.session,
            body,
        })
    }

    /// Sends a request whose response stays open, and reads until it contains `sign`.
    pub(crate) async fn exchange_until(&mut self, request: &[u8], sign: &[u8]) -> io::Result<()> {
        self.open = false;
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = self.head().await?;
        if head.status != 200 {
            return Err(broken(format!(
                "status {} to a stream request",
                head.status
            )));
        }
        while memmem::find(&self.buffer[head.end..self.filled], sign).is_none() {
            if self.filled > LONGEST_HEAD {
                return Err(broken("a stream that does not say what it should"));
            }
            self.more().await?;
        }
        // Two thousand of these wait: none keeps a buffer.
        self.buffer = Vec::new();
        Ok(())
    }

    async fn head(&mut self) -> io::Result<Head> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.filled);
            if let Some(at) = memmem::find(&self.buffer[from..self.filled], b"\r\n\r\n") {
                let end = from + at + 4;
                return parse_head(&self.buffer[..end]);
            }
            if self.filled > LONGEST_HEAD {
                return Err(broken("a response head over 64 KiB"));
            }
            searched = self.filled.saturating_sub(3);
            self.more().await?;
        }
    }

    /// Puts the chunks from `at` on together; gives the place after the last one.
    async fn join_chunks(&mut self, mut at: usize) -> io::Result<usize> {
        self.joined.clear();
        loop {
            let line = self.line(at).await?;
            let size = parse_chunk_size(&self.buffer[at..line])?;
            if size > LONGEST_BODY || self.joined.len() + size > LONGEST_BODY {
                return Err(broken("a body over 64 MiB"));
            }
            let data = line + 2;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                let mut trailer = data;
                loop {
                    let end = self.line(trailer).await?;
                    if end == trailer {
                        return Ok(end + 2);
                    }
                    trailer = end + 2;
                }
            }
            self.fill_to(data + size + 2).await?;
            self.joined
                .extend_from_slice(&self.buffer[data..data + size]);
            if &self.buffer[data + size..data + size + 2] != b"\r\n" {
                return Err(broken("a chunk that does not end where it said"));
            }
            at = data + size + 2;
        }
    }

    /// Where the line from `at` on ends.
    async fn line(&mut self, at: usize) -> io::Result<usize> {
        loop {
            if let Some(end) = memmem::find(&self.buffer[at..self.filled], b"\r\n") {
                return Ok(at + end);
            }
            if self.filled - at > LONGEST_HEAD {
                return Err(broken("a chunk line over 64 KiB"));
            }
            self.more().await?;
        }
    }

    async fn fill_to(&mut self, wanted: usize) -> io::Result<()> {
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        }
        while self.filled < wanted {
            self.more().await?;
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize((self.filled * 2).max(FIRST_BUFFER), 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed before its answer",
            )),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(head).map_err(|_| broken("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| broken("a status line that is not HTTP/1.1"))?;
    let mut parsed = Head {
        status,
        events: false,
        session: None,
        framing: Framing::Length(0),
        close: false,
        end: head.len(),
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().ok().filter(|&length| length <= LONGEST_BODY);
            let length = length.ok_or_else(|| broken("an unusable Content-Length"))?;
            parsed.framing = Framing::Length(length);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            parsed.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-type") {
            parsed.events = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("connection") {
            parsed.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case(SESSION_HEADER) {
            parsed.session = Some(value.to_owned());
        }
    }
    Ok(parsed)
}

fn parse_chunk_size(line: &[u8]) -> io::Result<usize> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split(';').next())
        .and_then(|size| usize::from_str_radix(size.trim_ascii(), 16).ok())
        .ok_or_else(|| broken("a chunk without a size"))
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that reads one request and answers with these bytes, a few at a time, then closes.
    async fn answering(bytes: &'static [u8], piece: usize) -> Connection {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            for part in bytes.chunks(piece) {
                stream.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::open(port).await.unwrap()
    }

    #[tokio::test]
    async fn a_body_of_known_length() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nMcp-Session-Id: s\r\n\r\nhello";
        for piece in [1, 7, 1000] {
            let mut connection = answering(bytes, piece).await;
            let response = connection.exchange(b"x").await.unwrap();
            assert_eq!((response.status, response.body), (200, &b"hello"[..]));
            assert_eq!(response.session.as_deref(), Some("s"));
            assert!(connection.is_open());
        }
    }

    #[tokio::test]
    async fn a_chunked_event_stream() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            5\r\ndata:\r\nA;x=y\r\n 123456789\r\n0\r\nt: v\r\n\r\n";
        for piece in [1, 11, 1000] {
            let mut connection = answering(bytes, piece).await;
            let response = connection.exchange(b"x").await.unwrap();
            assert!(response.events);
            assert_eq!(response.body, b"data: 123456789");
            assert!(!connection.is_open());
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_wrong_is_an_error() {
        let broken: [&'static [u8]; 6] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
            b"",
        ];
        for bytes in broken {
            let mut connection = answering(bytes, 1000).await;
            assert!(
                connection.exchange(b"x").await.is_err(),
                "{bytes:?} was accepted"
            );
            assert!(!connection.is_open());
        }
    }
}
