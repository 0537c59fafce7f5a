//! What a connection is doing and since when, and by when it must have done it.
//!
//! hyper's own header timer starts when a connection falls idle, so it cannot tell a slow header
//! from a kept-alive connection, and it allocates a timer per request. Here the stream and the
//! service note the time of the few events that matter, and one timer per connection, in the task
//! of the connection, looks at them when it fires.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::metrics::Refusal;

/// How long a closing connection waits for the peer: to answer a GOAWAY, and to have read the last
/// answer before the socket is closed under it.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The least time until a busy connection is looked at again, however short its idle timeout is.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The bounds in time of one listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// What to do about a connection whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Ask it to close in order.
    Idle,
    /// Cut it off, for this reason.
    Stalled(Refusal),
    /// Cut it off: it has been closing for long enough.
    Lingered,
}

/// The state of one connection, written by its stream and its service. Everything happens in the
/// task of the connection, except that HTTP/2 requests end in theirs: the orderings need not be
/// stronger than relaxed, the timer looks again.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    http2: AtomicBool,
    in_flight: AtomicU32,
    /// When the connection last became idle.
    idle_since: AtomicU64,
    /// When the first byte of a request header came in.
    header_since: AtomicU64,
    /// Since when the peer takes no byte.
    blocked_since: AtomicU64,
    /// It ends with its next answer.
    leaving: AtomicBool,
}

/// In the time fields: not the case now.
const NOT: u64 = 0;

impl Pace {
    /// A connection that has just been accepted: its first header is due.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            http2: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(1),
            header_since: AtomicU64::new(1),
            blocked_since: AtomicU64::new(NOT),
            leaving: AtomicBool::new(false),
        }
    }

    /// From here on it ends with its next answer, which says so.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// In HTTP/2 a byte is no sign of a request (pings, window updates), so only idleness counts.
    pub(super) fn is_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.header_since.store(NOT, Ordering::Relaxed);
    }

    pub(super) fn received(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.header_since.load(Ordering::Relaxed) == NOT
            && !self.http2.load(Ordering::Relaxed)
        {
            self.header_since.store(self.now(), Ordering::Relaxed);
        }
    }

    pub(super) fn request_started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.header_since.store(NOT, Ordering::Relaxed);
    }

    pub(super) fn request_ended(&self) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.idle_since.store(self.now(), Ordering::Relaxed);
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn write_blocked(&self) {
        if self.blocked_since.load(Ordering::Relaxed) == NOT {
            self.blocked_since.store(self.now(), Ordering::Relaxed);
        }
    }

    pub(super) fn written(&self) {
        if self.blocked_since.load(Ordering::Relaxed) != NOT {
            self.blocked_since.store(NOT, Ordering::Relaxed);
        }
    }

    /// True if a deadline other than the idle one may be running: then the timer may have to fire
    /// earlier than it was set for.
    pub(super) fn is_pressed(&self) -> bool {
        self.header_since.load(Ordering::Relaxed) != NOT
            || self.blocked_since.load(Ordering::Relaxed) != NOT
    }

    /// The next deadline and what it means. `closing`: when the connection was asked to close.
    pub(super) fn deadline(
        &self,
        limits: &Limits,
        closing: Option<Instant>,
    ) -> (Instant, Option<Overdue>) {
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        if blocked != NOT {
            let due = self.at(blocked) + limits.write;
            return (due, Some(Overdue::Stalled(Refusal::WriteTimeout)));
        }
        if self.in_flight() > 0 {
            // Whatever starts from here on ends later than that.
            let idle = if closing.is_some() {
                LINGER
            } else {
                limits.idle
            };
            return (Instant::now() + idle.max(LOOK_AGAIN), None);
        }
        let header = self.header_since.load(Ordering::Relaxed);
        if header != NOT {
            let due = self.at(header) + limits.header;
            return (due, Some(Overdue::Stalled(Refusal::HeaderTimeout)));
        }
        let idle_since = self.at(self.idle_since.load(Ordering::Relaxed));
        match closing {
            Some(closing) => (closing.max(idle_since) + LINGER, Some(Overdue::Lingered)),
            None => (idle_since + limits.idle, Some(Overdue::Idle)),
        }
    }

    /// The longest time until the connection has to be looked at again: whatever falls idle from
    /// now on is not overdue before.
    pub(super) fn latest_look(limits: &Limits, closing: Option<Instant>) -> Duration {
        if closing.is_some() {
            LINGER
        } else {
            limits.idle.max(LOOK_AGAIN)
        }
    }

    /// Milliseconds since the connection was accepted, plus one.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    fn seconds(pace: &Pace, closing: Option<Instant>) -> (u64, Option<Overdue>) {
        let (due, overdue) = pace.deadline(&LIMITS, closing);
        ((due - pace.start).as_secs(), overdue)
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_owes_its_first_header() {
        let pace = Pace::new();
        let owed = (10, Some(Overdue::Stalled(Refusal::HeaderTimeout)));
        assert_eq!(seconds(&pace, None), owed);
        tokio::time::advance(Duration::from_secs(4)).await;
        pace.received();
        assert_eq!(seconds(&pace, None), owed, "a byte wins no time");
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_is_idle_until_the_next_byte() {
        let pace = Pace::new();
        pace.request_started();
        assert_eq!(seconds(&pace, None), (75, None));
        tokio::time::advance(Duration::from_secs(100)).await;
        pace.received();
        pace.request_ended();
        assert_eq!(seconds(&pace, None), (175, Some(Overdue::Idle)));
        tokio::time::advance(Duration::from_secs(50)).await;
        pace.received();
        assert_eq!(
            seconds(&pace, None),
            (160, Some(Overdue::Stalled(Refusal::HeaderTimeout)))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn http2_bytes_do_not_prolong_idleness() {
        let pace = Pace::new();
        pace.is_http2();
        tokio::time::advance(Duration::from_secs(20)).await;
        pace.received();
        assert_eq!(seconds(&pace, None), (75, Some(Overdue::Idle)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_write_counts_from_its_first_refusal_and_ends_with_progress() {
        let pace = Pace::new();
        pace.request_started();
        pace.write_blocked();
        tokio::time::advance(Duration::from_secs(5)).await;
        pace.write_blocked();
        assert_eq!(
            seconds(&pace, None),
            (30, Some(Overdue::Stalled(Refusal::WriteTimeout)))
        );
        pace.written();
        assert_eq!(seconds(&pace, None).1, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_connection_without_requests_is_given_two_seconds() {
        let pace = Pace::new();
        pace.request_started();
        pace.request_ended();
        let closing = Instant::now();
        assert_eq!(seconds(&pace, Some(closing)), (2, Some(Overdue::Lingered)));
    }
}
