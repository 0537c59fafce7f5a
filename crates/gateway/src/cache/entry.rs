use std::{borrow::Cow, time::Duration};

use mcp_ultra_domain::cache::Hints;
use mcp_ultra_protocol::{Era, json::Object};

/// An answer that is kept: a result as a caller of one era gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The text of the result; without its `ttlMs` and first brace where that is told anew.
    body: Box<str>,
    /// The `ttlMs` that its server gave, where its caller is told of what is left of it.
    hinted: Option<Duration>,
    /// Whether it is the same for everyone.
    pub is_public: bool,
    /// When it was asked for, since the Unix epoch.
    pub asked: Duration,
    /// Until when it is good.
    pub fresh_until: Duration,
    /// Until when it is better than nothing.
    pub stale_until: Duration,
    /// The moment that it is of (see `marks`).
    pub moment: u64,
}

/// When an answer was asked for, and how long it is good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Since the Unix epoch.
    pub asked: Duration,
    pub lasts: Duration,
    pub stale: Duration,
    pub moment: u64,
}

/// An answer as it was kept elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Restored<'b> {
    pub body: &'b str,
    pub hinted: Option<Duration>,
    pub is_public: bool,
    pub asked: Duration,
    pub fresh_until: Duration,
    pub stale_until: Duration,
    pub moment: u64,
}

impl Entry {
    /// One of elsewhere.
    pub(super) fn restored(of: Restored<'_>) -> Self {
        Self {
            body: of.body.into(),
            hinted: of.hinted,
            is_public: of.is_public,
            asked: of.asked,
            fresh_until: of.fresh_until,
            stale_until: of.stale_until,
            moment: of.moment,
        }
    }

    /// What it is restored from besides its times: body and `hinted`.
    pub(super) fn parts(&self) -> (&str, Option<Duration>) {
        (&self.body, self.hinted)
    }

    /// What is kept of `result`, which its caller of `era` gets.
    pub(crate) fn new(result: &Object<'_>, era: Era, hints: Hints, times: Times) -> Self {
        let told = era == Era::Modern && result.get("ttlMs").is_some();
        let hinted = hints.ttl.filter(|_| told);
        let body = if hinted.is_some() {
            let rest = result.edit().remove("ttlMs").finish();
            rest.strip_prefix('{').unwrap_or(&rest).into()
        } else {
            result.text().into()
        };
        let fresh_until = times.asked.saturating_add(times.lasts);
        Self {
            body,
            hinted,
            is_public: hints.is_public,
            asked: times.asked,
            fresh_until,
            stale_until: fresh_until.saturating_add(times.stale),
            moment: times.moment,
        }
    }

    /// Whether it may be given at `now`.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        now < self.fresh_until && self.is_of_use(now)
    }

    /// Whether it may be given at `now` where the server fails. One of the future is of none: the
    /// time of day was put back, and nobody knows how old it is.
    pub(crate) fn is_of_use(&self, now: Duration) -> bool {
        const CLOCKS: Duration = Duration::from_secs(5);
        now < self.stale_until && self.asked <= now.saturating_add(CLOCKS)
    }

    /// How long ago it was asked for.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.asked)
    }

    /// The text of the result at `now`: with what is left of its `ttlMs`, nothing where it is stale.
    pub(crate) fn result(&self, now: Duration) -> Cow<'_, str> {
        let (first, rest) = self.pieces(now);
        if first.is_empty() {
            return Cow::Borrowed(rest);
        }
        Cow::Owned(first + rest)
    }

    /// The same in two pieces, of which the second is all that is long.
    pub(crate) fn pieces(&self, now: Duration) -> (String, &str) {
        let Some(hinted) = self.hinted else {
            return (String::new(), &self.body);
        };
        let left = if self.is_fresh(now) {
            hinted.saturating_sub(self.age(now)).as_millis()
        } else {
            0
        };
        let comma = if &*self.body == "}" { "" } else { "," };
        (format!(r#"{{"ttlMs":{left}{comma}"#), &self.body)
    }

    /// The bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, era: Era, ttl: u64, lasts: u64) -> Entry {
        let secs = Duration::from_secs;
        let object = Object::parse(text).unwrap();
        let hints = Hints {
            ttl: Some(secs(ttl)),
            is_public: false,
        };
        let times = Times {
            asked: secs(1000),
            lasts: secs(lasts),
            stale: secs(30),
            moment: 1,
        };
        Entry::new(&object, era, hints, times)
    }

    #[test]
    fn a_caller_is_told_what_is_left_of_the_time() {
        let at = Duration::from_millis;
        let text = r#"{"resultType":"complete","ttlMs":60000,"contents":[]}"#;
        let kept = entry(text, Era::Modern, 60, 40);
        let rest = r#""resultType":"complete","contents":[]}"#;
        for (now, left) in [
            (1_000_000, 60_000),
            (1_012_500, 47_500),
            (1_040_000, 0),
            (1_069_999, 0),
        ] {
            assert_eq!(kept.result(at(now)), format!("{{\"ttlMs\":{left},{rest}"));
        }
        assert!(kept.is_fresh(at(1_039_999)) && !kept.is_fresh(at(1_040_000)));
        assert!(kept.is_of_use(at(1_069_999)) && !kept.is_of_use(at(1_070_000)));
        assert!(!kept.is_of_use(at(900_000)), "the clock was put back");
        let alone = entry(r#"{"ttlMs":60000}"#, Era::Modern, 60, 40);
        assert_eq!(alone.result(at(1_000_000)), r#"{"ttlMs":60000}"#);
    }

    #[test]
    fn what_has_no_time_stays_as_it_is() {
        let text = r#"{ "contents" : [ ] }"#;
        for era in [Era::Modern, Era::Legacy] {
            let kept = entry(text, era, 60, 40);
            assert_eq!(kept.result(Duration::from_secs(1001)), text);
        }
    }
}
