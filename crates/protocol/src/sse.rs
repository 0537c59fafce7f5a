//! Server-sent events: reading an upstream's stream, writing a client's
//! (WHATWG HTML, section 9.2, Server-sent events).

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use memchr::memchr2;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `data` lines, joined by line feeds.
    pub data: Bytes,
    /// The last event id that the stream has set so far, where this event sets one.
    pub id: Option<String>,
    /// The type, where it is not `message`.
    pub event: Option<String>,
    /// How long to wait before reconnecting, in milliseconds, where the event says.
    pub retry: Option<u64>,
}

/// An event is larger than the reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// Cuts a byte stream into events.
#[derive(Debug)]
pub struct Parser {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    event: Event,
    has_data: bool,
    /// The bytes of the event so far.
    size: usize,
    limit: usize,
    started: bool,
    after_cr: bool,
}

impl Parser {
    /// A reader of events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            event: Event::default(),
            has_data: false,
            size: 0,
            limit,
            started: false,
            after_cr: false,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event; `None` until more bytes come.
    ///
    /// An event without data is skipped as the standard demands, except where it sets `id` or
    /// `retry`: a reader that resumes needs those.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the stream is of no more use then.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLarge> {
        while let Some(line) = self.next_line()? {
            if !line.is_empty() {
                self.size += line.len();
                self.check_size(self.size)?;
                self.field(&line);
                continue;
            }
            self.size = 0;
            let event = std::mem::take(&mut self.event);
            let complete = std::mem::take(&mut self.has_data);
            if complete || event.id.is_some() || event.retry.is_some() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn check_size(&self, size: usize) -> Result<(), EventTooLarge> {
        if size > self.limit {
            Err(EventTooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    /// The next line without its end (CR, LF or CRLF).
    fn next_line(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                let _ = self.buffer.split_to(1);
            }
        }
        let Some(found) = memchr2(b'\r', b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            self.check_size(self.size + self.scanned)?;
            return Ok(None);
        };
        let end = self.scanned + found;
        self.scanned = 0;
        self.after_cr = self.buffer[end] == b'\r';
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            let _ = line.split_to(3);
        }
        Ok(Some(line))
    }

    fn field(&mut self, line: &Bytes) {
        let colon = memchr::memchr(b':', line);
        let (name, value) = match colon {
            Some(0) => return, // a comment
            Some(at) => {
                let skip = usize::from(line.get(at + 1) == Some(&b' '));
                (&line[..at], line.slice(at + 1 + skip..))
            }
            None => (&line[..], Bytes::new()),
        };
        match name {
            b"data" if !self.has_data => {
                self.event.data = value;
                self.has_data = true;
            }
            b"data" => {
                let mut joined = BytesMut::with_capacity(self.event.data.len() + 1 + value.len());
                joined.extend_from_slice(&self.event.data);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&value);
                self.event.data = joined.freeze();
            }
            b"event" => {
                self.event.event = text(&value).filter(|name| name != "message");
            }
            b"id" if !value.contains(&0) => self.event.id = text(&value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.event.retry = text(&value).and_then(|digits| digits.parse().ok());
            }
            _ => {}
        }
    }
}

fn text(value: &Bytes) -> Option<String> {
    String::from_utf8(value.to_vec()).ok()
}

/// The bytes of an event that carries `message`.
///
/// Raw line breaks inside the message are taken out first: they would end the `data` field.
pub fn encode(message: &ByteString) -> Bytes {
    let line = crate::json::to_line(message);
    let mut out = BytesMut::with_capacity(line.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

/// A comment that keeps a quiet stream from being closed on its way.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(stream: &[u8], chunk: usize) -> Vec<Event> {
        let mut parser = Parser::new(1 << 20);
        let mut events = Vec::new();
        for part in stream.chunks(chunk.max(1)) {
            parser.push(part);
            while let Some(event) = parser.next_event().unwrap() {
                events.push(event);
            }
        }
        events
    }

    fn data(events: &[Event]) -> Vec<&str> {
        events
            .iter()
            .map(|event| std::str::from_utf8(&event.data).unwrap())
            .collect()
    }

    #[test]
    fn any_line_end_and_any_cut_give_the_same_events() {
        let stream = b"\xef\xbb\xbf: hi\ndata: a\r\ndata:b\r\n\r\nevent: message\rdata:  c\r\rid: 7\ndata\n\n";
        for chunk in 1..stream.len() {
            let events = read(stream, chunk);
            assert_eq!(data(&events), ["a\nb", " c", ""], "chunks of {chunk}");
            assert_eq!(events[2].id.as_deref(), Some("7"));
        }
    }

    #[test]
    fn an_event_that_only_tells_how_to_resume_is_told() {
        let events = read(b"id: e1\nretry: 500\ndata:\n\nevent: ping\n\n:\n\n", 9);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].retry, Some(500));
        assert!(events[0].data.is_empty());
    }

    #[test]
    fn an_endless_event_ends_in_an_error() {
        let mut parser = Parser::new(1000);
        let mut refused = false;
        for _ in 0..300 {
            parser.push(b"data: x\n");
            refused |= parser.next_event().is_err();
        }
        assert!(refused);
        let mut parser = Parser::new(1000);
        parser.push(&[b'a'; 2000]);
        assert_eq!(parser.next_event(), Err(EventTooLarge { limit: 1000 }));
    }

    #[test]
    fn a_message_with_raw_line_breaks_stays_one_event() {
        let message = ByteString::from("{\"a\":1,\n\ndata: {\"b\":2}\r\n}");
        let events = read(&encode(&message), 4);
        assert_eq!(data(&events), ["{\"a\":1,data: {\"b\":2}}"]);
    }

    proptest! {
        #[test]
        fn no_stream_panics(stream: Vec<u8>, chunk in 1usize..40) {
            let mut parser = Parser::new(200);
            for part in stream.chunks(chunk) {
                parser.push(part);
                while let Ok(Some(_)) = parser.next_event() {}
            }
        }
    }
}
