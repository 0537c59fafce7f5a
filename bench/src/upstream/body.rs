//! Bodies of answers: ready bytes, or a stream that is held open.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Interval};

/// How often a held stream gets a comment line, so that nobody in between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response body.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Prepared bytes: what is made for this call, then what all calls share.
    Ready {
        /// Not yet sent.
        parts: [Bytes; 3],
        /// Whether the length is announced. Event streams don't know theirs.
        sized: bool,
    },
    /// An event stream that stays open after its first event.
    Held {
        /// The first event, until it is sent.
        first: Option<Bytes>,
        /// Wakes for the next comment line.
        comments: Interval,
    },
}

impl Reply {
    /// A body of known length; empty for none.
    pub(crate) fn sized(parts: [Bytes; 3]) -> Self {
        Self::Ready { parts, sized: true }
    }

    /// An event stream that ends after these bytes.
    pub(crate) fn events(parts: [Bytes; 3]) -> Self {
        Self::Ready {
            parts,
            sized: false,
        }
    }

    /// An event stream that sends this and stays open.
    pub(crate) fn held(first: Bytes) -> Self {
        let comments = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        Self::Held {
            first: Some(first),
            comments,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Ready { parts, .. } => parts
                .iter_mut()
                .find(|part| !part.is_empty())
                .map(std::mem::take),
            Self::Held { first, comments } => match first.take() {
                Some(event) => Some(event),
                None => match comments.poll_tick(context) {
                    Poll::Ready(_) => Some(Bytes::from_static(b": open\n\n")),
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        Poll::Ready(data.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Ready { parts, .. } if parts.iter().all(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready { parts, sized: true } => {
                SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum())
            }
            _ => SizeHint::default(),
        }
    }
}
