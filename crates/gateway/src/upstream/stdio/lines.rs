//! The way from a stdio upstream: its stdout as messages, one a line, with a bound on the memory
//! that a line may take.

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::lifetime::ProcessExit;

/// Room made for each read; a line may take more.
const READ_BYTES: usize = 16 * 1024;
/// How much is kept of a line over the limit.
const BEGINNING: usize = 4 * 1024;
/// At most this many characters of a line that is no message are shown.
const PREVIEW_CHARS: usize = 200;
/// How long stdout is still read after the exit, when a process that could not be ended holds it.
const LINGER: Duration = Duration::from_millis(500);

/// What an upstream has written to its stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdioEvent {
    /// A line, without its line end, that is UTF-8 and begins like a JSON object, or like an array
    /// of objects (a batch of revision 2025-03-26). Whether it is valid JSON is found by the one
    /// parser that reads it; one that is not becomes [`Garbage::not_json`].
    ///
    /// It shares the read buffer: copy what is kept for long.
    Message(Bytes),
    /// A line that is no message. Not fatal: servers print greetings and log lines to stdout.
    Garbage(Garbage),
    /// A line that has grown over the limit. Reported as soon as it has; the rest of the line is
    /// skipped.
    TooLong {
        /// The limit in bytes.
        limit: usize,
        /// How the line begins, up to 4 KiB of it.
        beginning: Bytes,
    },
}

/// A line that is no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Why it is none.
    pub reason: GarbageReason,
    /// The first 200 characters, control characters escaped. May hold anything, personal data too:
    /// not for logs above debug, and not for errors that a caller sees.
    pub preview: String,
}

/// Why a line is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageReason {
    /// Nothing but white space.
    Empty,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON, or no object.
    NotAnObject,
    /// The stream ended in the middle of the line, so the message may be cut short.
    Unterminated,
}

impl Garbage {
    /// For the parser of messages: `line` began like a message but is not JSON.
    pub fn not_json(line: &[u8]) -> Self {
        Self::new(GarbageReason::NotAnObject, line)
    }

    fn new(reason: GarbageReason, line: &[u8]) -> Self {
        // A character has at most four bytes, so no more of the line need be looked at.
        let start = &line[..line.len().min(PREVIEW_CHARS * 4)];
        let text = String::from_utf8_lossy(start);
        Self {
            reason,
            preview: printable(text.chars().take(PREVIEW_CHARS)),
        }
    }
}

/// `text` with its control characters escaped, so that it cannot move a terminal's cursor or begin
/// a new line of a log.
pub(super) fn printable(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for char in text {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Reads what the upstream writes. Not reading makes the upstream wait once its pipe is full.
#[derive(Debug)]
pub struct StdioReader {
    stdout: ChildStdout,
    exit: watch::Receiver<Option<ProcessExit>>,
    lines: Lines,
    ended: bool,
}

impl StdioReader {
    pub(super) fn new(
        stdout: ChildStdout,
        exit: watch::Receiver<Option<ProcessExit>>,
        max_line_bytes: usize,
    ) -> Self {
        Self {
            stdout,
            exit,
            lines: Lines::new(max_line_bytes),
            ended: false,
        }
    }

    /// The next event; `None` when the upstream has closed its stdout or ended. Cancel-safe.
    ///
    /// A process whose stdout is closed can answer nothing any more: shut it down.
    pub async fn next(&mut self) -> Option<StdioEvent> {
        loop {
            if let Some(event) = self.lines.next() {
                return Some(event);
            }
            if self.ended {
                return self.lines.finish();
            }
            self.fill().await;
        }
    }

    async fn fill(&mut self) {
        let exited = async {
            let _ = self.exit.wait_for(Option::is_some).await;
            sleep(LINGER).await;
        };
        tokio::select! {
            biased;
            read = self.stdout.read_buf(self.lines.room()) => {
                self.ended = !matches!(read, Ok(1..));
            }
            () = exited => self.ended = true,
        }
    }
}

/// Cuts bytes into lines and judges them. No I/O.
#[derive(Debug)]
struct Lines {
    buffer: BytesMut,
    /// Up to here the buffer is known to hold no line end.
    searched: usize,
    /// In the rest of a line that was too long.
    skipping: bool,
    limit: usize,
}

impl Lines {
    fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            limit,
        }
    }

    /// Where to put what is read next.
    fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    fn next(&mut self) -> Option<StdioEvent> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                return self.keep_partial();
            };
            let mut line = self.buffer.split_to(self.searched + end + 1).freeze();
            self.searched = 0;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.limit {
                return Some(self.too_long(&line));
            }
            return Some(judge(line));
        }
    }

    /// The buffer holds no whole line: keeps it for later, or lets it go if it is too long.
    fn keep_partial(&mut self) -> Option<StdioEvent> {
        if self.skipping {
            self.buffer.clear();
            return None;
        }
        // One byte more than the limit may still be the carriage return of a CRLF.
        if self.buffer.len() > self.limit.saturating_add(1) {
            let line = std::mem::take(&mut self.buffer);
            self.searched = 0;
            self.skipping = true;
            return Some(self.too_long(&line));
        }
        self.searched = self.buffer.len();
        None
    }

    fn too_long(&self, line: &[u8]) -> StdioEvent {
        StdioEvent::TooLong {
            limit: self.limit,
            // A copy: the line itself is let go.
            beginning: Bytes::copy_from_slice(&line[..line.len().min(BEGINNING)]),
        }
    }

    /// The stream has ended: what is left is no whole line.
    fn finish(&mut self) -> Option<StdioEvent> {
        let rest = self.buffer.split();
        self.searched = 0;
        if rest.is_empty() || self.skipping {
            return None;
        }
        Some(StdioEvent::Garbage(Garbage::new(
            GarbageReason::Unterminated,
            &rest,
        )))
    }
}

fn judge(line: Bytes) -> StdioEvent {
    let garbage = |reason| StdioEvent::Garbage(Garbage::new(reason, &line));
    let mut tokens = line
        .iter()
        .filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    match (tokens.next(), tokens.next()) {
        (None, _) => garbage(GarbageReason::Empty),
        _ if std::str::from_utf8(&line).is_err() => garbage(GarbageReason::NotUtf8),
        // `[INFO] started` is the most common line that is no message.
        (Some(b'{'), _) | (Some(b'['), Some(b'{')) => StdioEvent::Message(line),
        _ => garbage(GarbageReason::NotAnObject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(limit: usize, chunks: &[&[u8]]) -> Vec<StdioEvent> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for chunk in chunks {
            lines.room().extend_from_slice(chunk);
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        found.extend(std::iter::from_fn(|| lines.finish()));
        found
    }

    fn message(text: &'static str) -> StdioEvent {
        StdioEvent::Message(Bytes::from_static(text.as_bytes()))
    }

    fn reasons(input: &[u8]) -> Vec<GarbageReason> {
        let garbage = events(100, &[input]).into_iter().map(|event| match event {
            StdioEvent::Garbage(garbage) => garbage.reason,
            other => panic!("{other:?}"),
        });
        garbage.collect()
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_end() {
        let input = b"{\"a\":1}\n{\"b\":2}\r\n [ {}]\n";
        let expected = [
            message("{\"a\":1}"),
            message("{\"b\":2}"),
            message(" [ {}]"),
        ];
        for size in 1..input.len() {
            let chunks: Vec<&[u8]> = input.chunks(size).collect();
            assert_eq!(events(100, &chunks), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        use GarbageReason::{Empty, NotAnObject, NotUtf8, Unterminated};
        assert_eq!(reasons(b"\n\r\n \t \n"), [Empty, Empty, Empty]);
        assert_eq!(reasons(b"{\"a\":\"\xff\"}\n"), [NotUtf8]);
        assert_eq!(
            reasons(b"[INFO] up\n42\nnull\n\"{}\"\n[]\n"),
            [NotAnObject; 5]
        );
        assert_eq!(reasons(b"{\"cut\":"), [Unterminated]);
    }

    #[test]
    fn a_long_line_is_skipped_and_the_next_one_is_read() {
        let input = b"{\"a\":\"long\"}\n{\"b\":2}\n";
        for size in 1..=input.len() {
            let chunks: Vec<&[u8]> = input.chunks(size).collect();
            let [
                StdioEvent::TooLong {
                    limit: 8,
                    beginning,
                },
                next,
            ] = &events(8, &chunks)[..]
            else {
                panic!("in chunks of {size}");
            };
            assert!(beginning.len() > 8 && input.starts_with(beginning));
            assert_eq!(*next, message("{\"b\":2}"));
        }
        // Exactly at the limit, with the longer line end, is not too long.
        assert_eq!(events(7, &[b"{\"b\":2}\r", b"\n"]), [message("{\"b\":2}")]);
    }

    #[test]
    fn an_endless_line_is_reported_once_and_takes_no_memory() {
        let mut lines = Lines::new(1000);
        let mut reported = 0;
        for _ in 0..10_000 {
            lines.room().extend_from_slice(&[b'x'; 1000]);
            reported += std::iter::from_fn(|| lines.next()).count();
            assert!(lines.buffer.capacity() <= 4 * READ_BYTES);
        }
        assert_eq!(reported, 1);
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_preview_is_short_and_harmless() {
        let line = format!("\u{1b}[2J\0{}", "ã".repeat(5000));
        let garbage = Garbage::not_json(line.as_bytes());
        assert!(
            garbage.preview.starts_with("\\u{1b}[2J\\u{0}ãã"),
            "{}",
            garbage.preview
        );
        assert_eq!(garbage.preview.matches('ã').count(), PREVIEW_CHARS - 5);
    }
}
