//! The conversation with the upstream.

use std::sync::Arc;

use super::{authorize::Permitted, protect::Protected};
use crate::{Gateway, call::Routed, era, reply::Reply};

/// How a forwarded call came out, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// A result.
    Result,
    /// An error of the upstream's own making.
    Error,
    /// The upstream failed.
    Failed(&'static str),
    /// The client ended the call.
    Cancelled,
    /// The client is asked for input before the call can go on.
    InputRequired,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Error => "error",
            Self::Failed(kind) => kind,
            Self::Cancelled => "cancelled",
            Self::InputRequired => "input_required",
        }
    }
}

/// Carries the call to its upstream and everything that comes back to the client.
pub(crate) async fn call(
    gateway: &Arc<Gateway>,
    call: Protected<Permitted<Box<Routed>>>,
    reply: Reply,
) -> Outcome {
    era::converse(gateway, call.into_inner(), reply).await
}
