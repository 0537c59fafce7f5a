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
    /// The event so far, without its data.
    event: Event,
    data: Data,
    /// The bytes of the lines that the event is made of so far.
    size: usize,
    limit: usize,
    started: bool,
    after_cr: bool,
}

/// The `data` lines of an event: almost always one, which is not copied.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Bytes),
    /// Joined in one buffer that grows: a new one for each line would cost the square of their
    /// number.
    Lines(BytesMut),
}

impl Data {
    fn push(&mut self, line: Bytes) {
        *self = match std::mem::take(self) {
            Self::None => Self::Line(line),
            Self::Line(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + 1 + line.len());
                joined.extend_from_slice(&first);
                Self::Lines(append(joined, &line))
            }
            Self::Lines(joined) => Self::Lines(append(joined, &line)),
        };
    }

    fn take(&mut self) -> Option<Bytes> {
        match std::mem::take(self) {
            Self::None => None,
            Self::Line(line) => Some(line),
            Self::Lines(joined) => Some(joined.freeze()),
        }
    }
}

fn append(mut joined: BytesMut, line: &[u8]) -> BytesMut {
    joined.extend_from_slice(b"\n");
    joined.extend_from_slice(line);
    joined
}

impl Parser {
    /// A reader of events of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            event: Event::default(),
            data: Data::None,
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
            if line.first() == Some(&b':') {
                // A comment keeps the stream open, however many there are.
                continue;
            }
            if !line.is_empty() {
                // A line costs memory besides its bytes, were it only the line feed that joins it.
                self.size += line.len() + 1;
                self.check_size(self.size)?;
                self.field(&line);
                continue;
            }
            self.size = 0;
            let mut event = std::mem::take(&mut self.event);
            let data = self.data.take();
            let complete = data.is_some();
            event.data = data.unwrap_or_default();
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
        // As for an unfinished line, so that it does not matter how the stream was cut.
        self.check_size(self.size + end)?;
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
            Some(at) => {
                let skip = usize::from(line.get(at + 1) == Some(&b' '));
                (&line[..at], line.slice(at + 1 + skip..))
            }
            None => (&line[..], Bytes::new()),
        };
        match name {
            b"data" => self.data.push(value),
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
    fn comments_do_not_add_up() {
        let mut parser = Parser::new(20);
        for _ in 0..100 {
            parser.push(b": ping\n");
            assert_eq!(parser.next_event(), Ok(None));
        }
        parser.push(b"data: x\n\n");
        assert_eq!(parser.next_event().unwrap().unwrap().data, "x");
    }

    #[test]
    fn many_lines_take_time_in_proportion() {
        let mut parser = Parser::new(8 << 20);
        parser.push(&b"data\n".repeat(1 << 20));
        parser.push(b"\n");
        let event = parser.next_event().unwrap().unwrap();
        assert_eq!(event.data.len(), (1 << 20) - 1);
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
