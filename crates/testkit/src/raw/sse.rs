//! Server-sent events, parsed as they come (WHATWG HTML, section 9.2.6).

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `event`, empty if not given.
    pub name: String,
    /// `data`, its lines joined with newlines.
    pub data: String,
    /// `id` of this event, if it has one.
    pub id: Option<String>,
    /// `retry` in milliseconds, if it has one.
    pub retry: Option<u64>,
}

/// Takes bytes in any pieces and gives whole events. Unlike a browser it also gives events without
/// data, which MCP servers send to give an id or a retry time.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    current: Event,
    has_data: bool,
    has_fields: bool,
    /// Comment lines so far: servers send them to keep a stream alive.
    pub comments: usize,
}

impl Parser {
    /// Parses a piece; the events that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in piece {
            let was_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if was_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// Whether some of an event has come that is not complete.
    pub fn is_mid_event(&self) -> bool {
        self.has_fields || !self.line.is_empty()
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let bare = line.strip_prefix('\u{feff}').filter(|_| !self.begun);
        let line = bare.unwrap_or(&line);
        self.begun = true;
        if line.is_empty() {
            self.has_data = false;
            let is_event = std::mem::take(&mut self.has_fields);
            let event = std::mem::take(&mut self.current);
            return is_event.then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {
                self.comments += 1;
                return None;
            }
            "event" => value.clone_into(&mut self.current.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.current.id = Some(value.to_owned()),
            "retry" => self.current.retry = value.parse().ok(),
            _ => return None,
        }
        self.has_fields = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\nid: 1\nretry: 500\ndata:\n\nevent: message\rdata: {\"a\":\rdata:  1}\r\n\r\nunknown: x\n\ndata: rest";

    #[test]
    fn all_three_line_ends_comments_and_fields_are_understood() {
        let mut parser = Parser::default();
        let events = parser.push(STREAM.as_bytes());
        assert_eq!(parser.comments, 1);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].id.as_deref(), Some("1"));
        assert_eq!(events[0].retry, Some(500));
        assert_eq!(events[1].name, "message");
        assert_eq!(events[1].data, "{\"a\":\n 1}");
        assert!(parser.is_mid_event());
    }

    #[test]
    fn pieces_of_any_size_give_the_same_events() {
        let whole = Parser::default().push(STREAM.as_bytes());
        let mut parser = Parser::default();
        let bytes: Vec<Event> = STREAM
            .as_bytes()
            .iter()
            .flat_map(|byte| parser.push(&[*byte]))
            .collect();
        assert_eq!(whole, bytes);
    }
}
