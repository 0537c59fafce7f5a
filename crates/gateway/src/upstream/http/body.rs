//! A stream for as long as what it was opened with is granted.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mcp_ultra_edge::credentials::GrantLife;

use crate::upstream::UpstreamError;

/// The body of a stream of an upstream. It ends when the grant is withdrawn that it was opened with,
/// where a person has granted that.
#[derive(Debug)]
pub struct StreamBody {
    incoming: Incoming,
    life: Option<GrantLife>,
}

impl StreamBody {
    pub(super) fn new(incoming: Incoming, life: Option<GrantLife>) -> Self {
        Self { incoming, life }
    }

    /// The next bytes; `None` where there are no more, or the connection has broken.
    ///
    /// # Errors
    /// [`UpstreamError::Withdrawn`]
    pub(super) async fn more(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let frame = while_granted(self.life.as_ref(), async {
                Ok(self.incoming.frame().await)
            });
            let Some(Ok(frame)) = frame.await? else {
                return Ok(None);
            };
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// What comes of `doing`, unless the grant is withdrawn before.
pub(super) async fn while_granted<T>(
    life: Option<&GrantLife>,
    doing: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let Some(life) = life else {
        return doing.await;
    };
    tokio::select! {
        biased;
        () = life.ended() => Err(UpstreamError::Withdrawn),
        done = doing => done,
    }
}
