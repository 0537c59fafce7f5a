//! However a stream is cut into chunks, it holds the same events, none over the limit; and what
//! is written as one event is read as one.
//!
//! The first byte of the input says how the rest of it is cut, the second how large an event may
//! be.

use mcp_ultra_protocol::{
    ByteString, json,
    sse::{self, Event, Parser},
};

/// The property.
pub fn holds(data: &[u8]) {
    let [cut, limit, stream @ ..] = data else {
        return;
    };
    let (cut, limit) = (usize::from(*cut) + 1, usize::from(*limit) * 4);
    let whole = read(limit, std::iter::once(stream));
    assert_eq!(read(limit, stream.chunks(cut)), whole, "chunks of {cut}");
    assert_eq!(read(limit, stream.chunks(1)), whole, "byte by byte");
    for event in &whole.0 {
        assert!(event.data.len() <= limit);
    }
    if let Ok(text) = std::str::from_utf8(stream) {
        written(&ByteString::from(text));
    }
}

/// The events, and whether the stream ended in an error.
fn read<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let mut parser = Parser::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        parser.push(chunk);
        loop {
            match parser.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

fn written(message: &ByteString) {
    let bytes = sse::encode(message);
    let (events, failed) = read(usize::MAX, std::iter::once(&*bytes));
    assert!(!failed && events.len() == 1, "{message:?}");
    assert_eq!(events[0].data, json::to_line(message).as_bytes());
}
