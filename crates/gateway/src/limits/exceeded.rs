use std::time::Duration;

use mcp_ultra_domain::limits::{Bound, Rate, Scope};
use mcp_ultra_protocol::{WireError, error::LIMIT_EXCEEDED};

const DAY: Duration = Duration::from_hours(24);

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub bound: Bound,
    pub scope: Scope,
    /// How much there may be.
    most: u32,
    /// In which time.
    period: Option<Duration>,
    /// How long until it is worth trying again.
    wait: Duration,
}

impl Exceeded {
    pub(crate) fn rate(scope: Scope, rate: &Rate, wait: Duration) -> Self {
        Self {
            bound: Bound::Rates,
            scope,
            most: rate.count(),
            period: Some(rate.period()),
            wait,
        }
    }

    pub(crate) fn quota(scope: Scope, most: u32, wait: Duration) -> Self {
        Self {
            bound: Bound::Quotas,
            scope,
            most,
            period: Some(DAY),
            wait,
        }
    }

    pub(crate) fn concurrency(scope: Scope, most: u32) -> Self {
        Self {
            bound: Bound::Concurrency,
            scope,
            most,
            period: None,
            wait: Duration::ZERO,
        }
    }

    /// Whole seconds until it is worth trying again, at least one.
    pub(crate) fn retry_after(&self) -> u64 {
        let part = u64::from(self.wait.subsec_nanos() > 0);
        (self.wait.as_secs() + part).max(1)
    }

    /// What the caller is told. The key that was counted is not in it.
    pub(crate) fn to_wire(self) -> WireError {
        let (of, path, seconds) = (self.scope.as_str(), self.path(), self.retry_after());
        let message = match self.bound {
            Bound::Rates => {
                format!("too many requests of this {of} ({path}); try again in {seconds} s")
            }
            Bound::Quotas => {
                format!(
                    "the quota of this {of} is used up for today ({path}); try again in {seconds} s"
                )
            }
            Bound::Concurrency => format!(
                "too many requests of this {of} are in flight ({path}); try again when one has ended"
            ),
        };
        let data = format!("{{\"limit\":\"{path}\",\"retryAfter\":{seconds}}}");
        WireError::new(LIMIT_EXCEEDED, message).with_data(data)
    }

    /// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
    pub(crate) fn policy(&self) -> String {
        let (name, most) = (self.name(), self.most);
        match self.period {
            Some(period) => format!("\"{name}\";q={most};w={}", period.as_secs()),
            None => format!("\"{name}\";q={most};qu=\"concurrent-requests\""),
        }
    }

    /// `RateLimit` (the same draft).
    pub(crate) fn state(&self) -> String {
        let name = self.name();
        match self.period {
            Some(_) => format!("\"{name}\";r=0;t={}", self.retry_after()),
            // Nobody knows when one will have ended.
            None => format!("\"{name}\";r=0"),
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.scope.as_str(), self.bound.as_str())
    }

    /// Where it is configured.
    fn path(&self) -> String {
        format!("limits.{}.{}", self.bound.as_str(), self.scope.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_caller_is_told_which_limit_and_how_long() {
        let count = NonZeroU32::new(600).unwrap();
        let rate = Rate::new(count, Duration::from_mins(1), count);
        let wait = Duration::from_millis(2_001);
        let exceeded = Exceeded::rate(Scope::Principal, &rate, wait);
        assert_eq!(exceeded.retry_after(), 3);
        assert_eq!(exceeded.policy(), r#""principal-rates";q=600;w=60"#);
        assert_eq!(exceeded.state(), r#""principal-rates";r=0;t=3"#);
        let error = exceeded.to_wire();
        assert_eq!(error.code, -32005);
        assert_eq!(
            error.data.as_deref(),
            Some(r#"{"limit":"limits.rates.principal","retryAfter":3}"#)
        );
        let many = Exceeded::concurrency(Scope::Server, 5);
        assert_eq!(many.retry_after(), 1);
        assert_eq!(
            many.policy(),
            r#""server-concurrency";q=5;qu="concurrent-requests""#
        );
        assert_eq!(many.state(), r#""server-concurrency";r=0"#);
        let used_up = Exceeded::quota(Scope::Tool, 9, Duration::from_hours(1));
        assert_eq!(used_up.policy(), r#""tool-quotas";q=9;w=86400"#);
        assert_eq!(used_up.retry_after(), 3600);
    }
}
