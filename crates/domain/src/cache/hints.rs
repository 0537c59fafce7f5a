use std::time::Duration;

use mcp_ultra_protocol::json::Object;

/// What a server says of an answer (2026-07-28, Caching).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// For how long it may be given again (`ttlMs`); `None` where it does not say. What can't be read
    /// is nothing at all.
    pub ttl: Option<Duration>,
    /// Whether it is the same for everyone (`cacheScope`).
    pub is_public: bool,
}

impl Hints {
    /// The hints of a result.
    pub fn of(result: &Object<'_>) -> Self {
        let ttl = result.get("ttlMs").map(|ttl| {
            let millis = ttl.trim().parse::<u64>().unwrap_or_default();
            Duration::from_millis(millis)
        });
        Self {
            ttl,
            is_public: result.get_str("cacheScope").as_deref() == Some("public"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_read_lets_nothing_be_kept_and_nobody_else_see_it() {
        let of = |text: &str| {
            let hints = Hints::of(&Object::parse(text).unwrap());
            (hints.ttl.map(|ttl| ttl.as_millis()), hints.is_public)
        };
        assert_eq!(
            of(r#"{"ttlMs":250,"cacheScope":"public"}"#),
            (Some(250), true)
        );
        assert_eq!(of("{}"), (None, false));
        for bad in ["-1", "1.5", "null", "\"9\"", "1e3", "99999999999999999999"] {
            let text = format!(r#"{{"ttlMs":{bad},"cacheScope":"Public"}}"#);
            assert_eq!(of(&text), (Some(0), false), "{bad}");
        }
        assert_eq!(of(r#"{"cacheScope":true}"#), (None, false));
    }
}
