use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use tracing::Span;

use crate::random;

/// Ids of requests in the log: a number of the process and one of the request.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        let [a, b, c, d, ..] = random::number().to_le_bytes();
        Self {
            process: u32::from_le_bytes([a, b, c, d]),
            next: AtomicU64::new(1),
        }
    }
}

impl RequestIds {
    /// What all log lines of one request carry: `request_id`, and `trace_id` where the client is in
    /// a trace (W3C Trace Context). The span is there from the level of warnings on, so that
    /// they have it too where no more is logged.
    pub(super) fn span(&self, headers: &HeaderMap) -> Span {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let request_id = format_args!("{:08x}-{number:x}", self.process);
        if let Some(trace_id) = trace_id(headers) {
            tracing::warn_span!("request", %request_id, trace_id)
        } else {
            tracing::warn_span!("request", %request_id)
        }
    }
}

/// The trace id of `traceparent`, where that is one.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let (version, id) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let valid = version.len() == 2
        && is_hex(version)
        && id.len() == 32
        && is_hex(id)
        && id.bytes().any(|byte| byte != b'0');
    valid.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_trace_id_is_logged() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().unwrap());
            trace_id(&headers).map(str::to_owned)
        };
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(of(&format!("00-{id}-b7ad6b7169203331-01")), Some(id.into()));
        assert_eq!(
            of(&format!("00-{}-b7ad6b7169203331-01", "0".repeat(32))),
            None
        );
        assert_eq!(of("00-maria@example.com-b7ad6b7169203331-01"), None);
        assert_eq!(of("nonsense"), None);
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}
