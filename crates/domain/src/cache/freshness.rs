use std::time::Duration;

use super::{Hints, Kind};

/// How long answers are good, by the operator's word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Where the server does not say, by kind in the order of [`Kind::ALL`]; zero: not at all.
    pub ttl: [Duration; 4],
    /// At most, whatever the server says.
    pub at_most: Duration,
    /// For how long after that, where the server fails.
    pub stale: Duration,
    /// Whether a call of a tool that may change something outdates what its caller was answered before.
    pub writes_outdate: bool,
}

impl Freshness {
    /// Whether answers of a kind may be kept where their server does not say that they may.
    pub fn keeps_unasked(&self, kind: Kind) -> bool {
        !self.unasked(kind).is_zero()
    }

    /// How long an answer is good: never longer than its server and the operator say, and up to a
    /// tenth less by `random`, so that not all end at once. `None`: not at all.
    ///
    /// A server says it of resources. What another answer says can only make it shorter.
    pub fn lasts(&self, kind: Kind, hints: Hints, random: u64) -> Option<Duration> {
        let unasked = self.unasked(kind);
        let ttl = match hints.ttl {
            Some(said) if kind == Kind::Resource => said,
            Some(said) => said.min(unasked),
            None => unasked,
        };
        let ttl = ttl.min(self.at_most);
        let tenth = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX) / 10;
        let less = Duration::from_millis(random % tenth.saturating_add(1));
        Some(ttl.saturating_sub(less)).filter(|ttl| !ttl.is_zero())
    }

    /// Whether any answer may be kept where its server does not say so.
    pub fn keeps_any_unasked(&self) -> bool {
        Kind::ALL.iter().any(|kind| self.keeps_unasked(*kind))
    }

    fn unasked(&self, kind: Kind) -> Duration {
        self.ttl[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hints(ttl: Option<u64>) -> Hints {
        Hints {
            ttl: ttl.map(Duration::from_millis),
            is_public: false,
        }
    }

    proptest! {
        #[test]
        fn nothing_is_good_for_longer_than_anybody_says(
            said in proptest::option::of(0_u64..100_000),
            unasked in 0_u64..100_000,
            at_most in 1_u64..100_000,
            random in any::<u64>(),
            kind in 0_usize..4,
        ) {
            let rules = Freshness {
                ttl: [Duration::from_millis(unasked); 4],
                at_most: Duration::from_millis(at_most),
                ..Freshness::default()
            };
            let kind = Kind::ALL[kind];
            let lasts = rules.lasts(kind, hints(said), random);
            let millis = lasts.map_or(0, |lasts| u64::try_from(lasts.as_millis()).unwrap());
            prop_assert!(millis <= at_most);
            prop_assert!(millis <= said.unwrap_or(u64::MAX));
            if kind != Kind::Resource || said.is_none() {
                prop_assert!(millis <= unasked);
            }
            let least = match (kind, said) {
                (Kind::Resource, Some(said)) => said,
                (_, Some(said)) => said.min(unasked),
                (_, None) => unasked,
            };
            prop_assert!(millis >= least.min(at_most) * 9 / 10);
        }
    }

    #[test]
    fn without_a_word_nothing_is_kept() {
        let rules = Freshness {
            at_most: Duration::from_hours(1),
            ..Freshness::default()
        };
        for kind in Kind::ALL {
            assert_eq!(rules.lasts(kind, hints(None), 7), None);
            assert_eq!(rules.lasts(kind, hints(Some(0)), 7), None);
            assert!(!rules.keeps_unasked(kind));
        }
        assert!(!rules.keeps_any_unasked());
        assert!(rules.lasts(Kind::Resource, hints(Some(1)), 7).is_some());
        assert_eq!(rules.lasts(Kind::Tool, hints(Some(1000)), 7), None);
    }
}
