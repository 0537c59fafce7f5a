use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use mcp_ultra_protocol::sse;
use tokio::time::{Instant, Sleep};

use super::StreamSlot;
use crate::reply::{Down, Replies};

/// How long a stream may be quiet before a comment keeps it open on its way.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Comes to its end when the credential of a caller does.
pub(super) type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of a response.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(Box<Stream>),
}

struct Stream {
    first: Option<Down>,
    replies: Replies,
    quiet: Pin<Box<Sleep>>,
    /// When the credential of the caller ends.
    end: Option<End>,
    ended: bool,
    _slot: Option<StreamSlot>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Full(_) => "Body::Full",
            Inner::Stream(_) => "Body::Stream",
        })
    }
}

impl Body {
    pub(super) fn empty() -> Self {
        Self(Inner::Full(None))
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Full(Some(bytes.into())))
    }

    /// An SSE stream of `first` and what follows it, until the answer or the end, or until
    /// `end` comes.
    pub(super) fn stream(
        first: Option<Down>,
        replies: Replies,
        slot: Option<StreamSlot>,
        end: Option<End>,
    ) -> Self {
        let quiet = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        Self(Inner::Stream(Box::new(Stream {
            first,
            replies,
            quiet,
            end,
            ended: false,
            _slot: slot,
        })))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Stream(stream) => stream.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            // Whoever writes to it learns that nobody reads any more.
            self.replies.close();
            self.ended = true;
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.replies.poll_recv(cx),
        };
        let bytes = match next {
            Poll::Ready(Some(Down::Message { text, .. })) => sse::encode(&text),
            Poll::Ready(Some(Down::Answer(answer))) => {
                self.ended = true;
                answer.taker.has_it();
                sse::encode(&answer.text)
            }
            Poll::Ready(None) => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Poll::Pending => {
                if self.quiet.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                Bytes::from_static(sse::KEEP_ALIVE)
            }
        };
        self.quiet.as_mut().reset(Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
