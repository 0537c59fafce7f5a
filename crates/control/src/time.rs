//! Times as the admin API shows them (RFC 3339).

use std::time::Duration;

use jiff::Timestamp;

/// A time since the Unix epoch, in whole milliseconds, as the stores keep it.
pub fn timestamp(since_epoch: Duration) -> Timestamp {
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_kept_and_no_time_is_too_late() {
        let text = |time| timestamp(time).to_string();
        assert_eq!(
            text(Duration::from_micros(1_500_999)),
            "1970-01-01T00:00:01.5Z"
        );
        assert_eq!(timestamp(Duration::MAX), Timestamp::MAX);
    }
}
