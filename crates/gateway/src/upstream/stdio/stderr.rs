//! An upstream's stderr as log lines, bounded in length and number.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::time::{Duration, Instant};

use super::lines::printable;

/// Bytes of one line that are logged; the rest is cut.
const LINE_BYTES: usize = 8 * 1024;
/// Lines that are logged in one [`WINDOW`]; the rest is counted.
const LINES_PER_WINDOW: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Logs what the upstream writes to its stderr, until it closes it.
///
/// At info, whatever the line says: the specification forbids to conclude from stderr output that
/// something went wrong.
pub(super) async fn log_lines(mut stderr: ChildStderr, upstream: Arc<str>) {
    let mut lines = CutLines::default();
    let mut rate = LineRate::new(Instant::now());
    let mut chunk = vec![0; LINE_BYTES];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        for byte in &chunk[..read] {
            if let Some((line, cut)) = lines.push(*byte) {
                log_line(&upstream, &mut rate, &line, cut);
            }
        }
    }
    if let Some((line, cut)) = lines.finish() {
        log_line(&upstream, &mut rate, &line, cut);
    }
    log_dropped(&upstream, rate.dropped);
}

fn log_line(upstream: &str, rate: &mut LineRate, line: &[u8], cut: bool) {
    let (allowed, dropped_before) = rate.take(Instant::now());
    log_dropped(upstream, dropped_before);
    if allowed {
        let text = printable(String::from_utf8_lossy(line).chars());
        if cut {
            tracing::info!(target: "upstream.stderr", upstream, cut, "{text}");
        } else {
            tracing::info!(target: "upstream.stderr", upstream, "{text}");
        }
    }
}

fn log_dropped(upstream: &str, dropped: u64) {
    if dropped > 0 {
        tracing::info!(
            target: "upstream.stderr",
            upstream,
            dropped,
            "more than {LINES_PER_WINDOW} lines a second: the rest was dropped"
        );
    }
}

/// Lines of at most [`LINE_BYTES`], without their ends and without empty ones.
#[derive(Default)]
struct CutLines {
    line: Vec<u8>,
    cut: bool,
}

impl CutLines {
    fn push(&mut self, byte: u8) -> Option<(Vec<u8>, bool)> {
        if byte == b'\n' {
            return self.finish();
        }
        if self.line.len() < LINE_BYTES {
            self.line.push(byte);
        } else {
            self.cut = true;
        }
        None
    }

    fn finish(&mut self) -> Option<(Vec<u8>, bool)> {
        let mut line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        (!line.is_empty()).then_some((line, cut))
    }
}

/// Counts lines in windows of a second.
struct LineRate {
    window: Instant,
    lines: u32,
    dropped: u64,
}

impl LineRate {
    fn new(now: Instant) -> Self {
        Self {
            window: now,
            lines: 0,
            dropped: 0,
        }
    }

    /// Whether a line may be logged at `now`, and how many were dropped in a window that is over.
    fn take(&mut self, now: Instant) -> (bool, u64) {
        let mut dropped_before = 0;
        if now.saturating_duration_since(self.window) >= WINDOW {
            dropped_before = std::mem::take(&mut self.dropped);
            self.window = now;
            self.lines = 0;
        }
        let allowed = self.lines < LINES_PER_WINDOW;
        if allowed {
            self.lines += 1;
        } else {
            self.dropped += 1;
        }
        (allowed, dropped_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_lines(input: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = CutLines::default();
        let mut found: Vec<_> = input.iter().filter_map(|byte| lines.push(*byte)).collect();
        found.extend(lines.finish());
        found
    }

    #[test]
    fn a_long_line_is_cut_and_an_empty_one_left_out() {
        let mut input = b"one\r\n\n".to_vec();
        input.extend(vec![b'x'; LINE_BYTES + 5]);
        input.extend(b"\nlast");
        let found = cut_lines(&input);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], (b"one".to_vec(), false));
        assert_eq!((found[1].0.len(), found[1].1), (LINE_BYTES, true));
        assert_eq!(found[2], (b"last".to_vec(), false));
    }

    #[test]
    fn a_flood_is_counted_and_the_next_window_is_open() {
        let start = Instant::now();
        let mut rate = LineRate::new(start);
        let allowed = (0..1000).filter(|_| rate.take(start).0).count();
        assert_eq!(allowed, 100);
        assert_eq!(rate.take(start + WINDOW), (true, 900));
        assert_eq!(rate.take(start + WINDOW), (true, 0));
    }
}
