//! A call that failed before its caller was told anything is made again, where that can do no harm.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::catalog::Effect;
use mcp_ultra_protocol::{Era, Method};

use crate::{
    Gateway,
    call::Routed,
    random,
    upstream::{Exchange, Retries, Trial, UpstreamError},
};

/// Opens a call that has failed with `error`, for as long as it may be made again.
pub(super) async fn open(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    trial: &mut Trial,
    mut error: UpstreamError,
) -> Result<(Exchange, Era), UpstreamError> {
    for made in 0.. {
        trial.failed(&error);
        *trial = admit(routed, made, error).await?;
        match super::open_call(gateway, routed).await {
            Ok(opened) => return Ok(opened),
            Err(again) => error = again,
        }
    }
    Err(error)
}

/// Waits until the call may be made again, the so many-th time.
///
/// # Errors
/// What the caller is to be told where it may not.
async fn admit(routed: &Routed, made: u32, error: UpstreamError) -> Result<Trial, UpstreamError> {
    let upstream = &routed.upstream;
    let Some(retries) = upstream.retries() else {
        return Err(error);
    };
    if made >= retries.attempts || !does_no_harm(routed, &error) || !retries.budget.spend() {
        return Err(error);
    }
    tokio::time::sleep(pause(retries, made)).await;
    tracing::debug!(upstream = %upstream.name(), method = routed.call.method.as_str(), %error, "a call is made again");
    upstream.admit()
}

/// Whether the upstream has not acted on the call, or may act on it twice.
fn does_no_harm(routed: &Routed, error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Unreachable(_) | UpstreamError::SessionLost => true,
        UpstreamError::Closed | UpstreamError::Status(502..=504) => may_be_repeated(routed),
        _ => false,
    }
}

fn may_be_repeated(routed: &Routed) -> bool {
    match routed.call.method {
        Method::ResourcesRead | Method::PromptsGet | Method::Complete => true,
        Method::ToolsCall => {
            let effect = routed.item.as_ref().map(|item| item.effect);
            // What it answers to input may be meant for once.
            !routed.call.continues && effect.is_some_and(|effect| effect != Effect::Any)
        }
        _ => false,
    }
}

/// Half of it is random, so that many callers do not come back at the same moment.
fn pause(retries: &Retries, made: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(made.min(16));
    let pause = retries.backoff.saturating_mul(doubled);
    let pause = pause.min(retries.backoff_at_most) / 2;
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    pause + Duration::from_millis(random::number() % millis.saturating_add(1))
}
