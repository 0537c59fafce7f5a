//! Lines of bounded length from a byte stream.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Whole(Bytes),
    /// A line over the limit; all of it was skipped.
    TooLong,
    /// The end of the stream.
    End,
}

/// Reads the next line of at most `limit` bytes. A last line without an end counts as one.
pub(super) async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Line::TooLong,
                (false, true) => Line::End,
                (false, false) => Line::Whole(line.into()),
            });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        too_long |= line.len() + part.len() > limit;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(if too_long {
                Line::TooLong
            } else {
                Line::Whole(line.into())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_over_the_limit_is_skipped_and_the_next_one_is_read() {
        let mut reader = tokio::io::BufReader::with_capacity(3, &b"abcde\nabcdef\n\nxy"[..]);
        let mut lines = Vec::new();
        loop {
            match next_line(&mut reader, 5).await.unwrap() {
                Line::End => break,
                line => lines.push(line),
            }
        }
        let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
        assert_eq!(
            lines,
            [whole("abcde"), Line::TooLong, whole(""), whole("xy")]
        );
    }
}
