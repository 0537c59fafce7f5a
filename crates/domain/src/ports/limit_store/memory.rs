use std::{collections::HashMap, hash::BuildHasherDefault, time::Duration};

use parking_lot::Mutex;

use super::{
    LimitStore, Tracked,
    table::{AsItIs, Fingerprints, Table, part},
};
use crate::limits::{DayCount, Key, Rate, Scope};

/// Counts in this process alone; what was counted ends with it.
pub struct MemoryLimitStore {
    fingerprints: Fingerprints,
    rates: [Table<u64>; Scope::ALL.len()],
    quotas: [Table<DayCount>; Scope::ALL.len()],
    in_flight: Box<[InFlight]>,
}

/// How many are in flight of each key. There are as many keys as calls at most, which are bounded
/// (`limits.calls`).
type InFlight = Mutex<HashMap<u64, u32, BuildHasherDefault<AsItIs>>>;

/// How many parts the numbers in flight have.
const SHARDS: usize = 16;

impl MemoryLimitStore {
    /// A store that keeps `most` keys of each scope.
    pub fn new(most: usize) -> Self {
        Self {
            fingerprints: Fingerprints::default(),
            rates: Scope::ALL.map(|_| Table::new(most)),
            quotas: Scope::ALL.map(|_| Table::new(most)),
            in_flight: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn in_flight(&self, fingerprint: u64) -> &InFlight {
        &self.in_flight[part(fingerprint, SHARDS)]
    }
}

impl LimitStore for MemoryLimitStore {
    fn rate(&self, key: &Key<'_>, rate: &Rate, now: Duration) -> Result<(), Duration> {
        self.rates[key.scope() as usize].change(
            self.fingerprints.of(key),
            |kept| Rate::is_at_rest(*kept, now),
            |kept| rate.count_one(kept, now),
        )
    }

    fn quota(&self, key: &Key<'_>, most: u32, now: Duration) -> Result<(), Duration> {
        self.quotas[key.scope() as usize].change(
            self.fingerprints.of(key),
            |count| count.is_over(now),
            |count| count.count_one(most, now),
        )
    }

    fn give_back(&self, key: &Key<'_>, now: Duration) {
        self.quotas[key.scope() as usize].change(
            self.fingerprints.of(key),
            |count| count.is_over(now),
            |count| count.give_back(now),
        );
    }

    fn enter(&self, key: &Key<'_>, most: u32) -> Option<u64> {
        let fingerprint = self.fingerprints.of(key);
        let mut in_flight = self.in_flight(fingerprint).lock();
        let count = in_flight.entry(fingerprint).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(fingerprint)
    }

    fn leave(&self, place: u64) {
        let mut in_flight = self.in_flight(place).lock();
        if let Some(count) = in_flight.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&place);
            }
        }
    }

    fn tracked(&self) -> Tracked {
        Tracked {
            rates: self.rates.iter().map(Table::len).sum(),
            quotas: self.quotas.iter().map(Table::len).sum(),
            concurrency: self.in_flight.iter().map(|part| part.lock().len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{Clock as _, ManualClock, limits::Place};

    fn per_second(count: u32) -> Rate {
        let count = NonZeroU32::new(count).unwrap();
        Rate::new(count, Duration::from_secs(1), count)
    }

    #[test]
    fn keys_do_not_touch_each_other() {
        let store = MemoryLimitStore::new(1000);
        let clock = ManualClock::at(Duration::from_hours(500_000));
        let tool = |tenant, server, tool| Key::Tool {
            tenant,
            server,
            tool,
        };
        let keys = [
            Key::Tenant("a"),
            Key::Tenant("b"),
            Key::Principal("a"),
            Key::Server {
                tenant: "a",
                server: "b",
            },
            tool("a", "b", None),
            tool("a", "b", Some("")),
            tool("a", "b", Some("c")),
            tool("a", "bc", Some("")),
            tool("ab", "", Some("c")),
            Key::of_address("192.0.2.1".parse().unwrap()),
        ];
        let rate = per_second(2);
        for key in &keys {
            assert_eq!(store.rate(key, &rate, clock.now()), Ok(()));
            assert_eq!(store.rate(key, &rate, clock.now()), Ok(()));
            assert!(store.rate(key, &rate, clock.now()).is_err(), "{key:?}");
            assert_eq!(store.quota(key, 1, clock.now()), Ok(()));
            assert!(store.quota(key, 1, clock.now()).is_err(), "{key:?}");
        }
        clock.advance(Duration::from_millis(500));
        for key in &keys {
            assert_eq!(store.rate(key, &rate, clock.now()), Ok(()));
            assert!(store.rate(key, &rate, clock.now()).is_err(), "{key:?}");
            store.give_back(key, clock.now());
            assert_eq!(store.quota(key, 1, clock.now()), Ok(()));
        }
    }

    #[test]
    fn places_are_given_back_and_leave_nothing() {
        let store = Arc::new(MemoryLimitStore::new(10));
        let enter = |key: &Key<'_>| {
            let id = store.enter(key, 2)?;
            Some(Place::new(store.clone(), id))
        };
        let (one, other) = (Key::Tenant("a"), Key::Tenant("b"));
        let first = enter(&one);
        let second = enter(&one);
        assert!(first.is_some() && second.is_some() && enter(&one).is_none());
        assert!(enter(&other).is_some());
        drop(first);
        let third = enter(&one);
        assert!(third.is_some() && enter(&one).is_none());
        assert_eq!(store.tracked().concurrency, 1);
        drop((second, third));
        assert_eq!(store.tracked().concurrency, 0);
    }

    #[test]
    fn a_flood_of_one_scope_does_not_touch_another() {
        let store = MemoryLimitStore::new(256);
        let now = Duration::from_hours(500_000);
        let hourly = Rate::new(NonZeroU32::MIN, Duration::from_hours(1), NonZeroU32::MIN);
        assert_eq!(store.rate(&Key::Tenant("a"), &hourly, now), Ok(()));
        for number in 0..100_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(number).into();
            assert_eq!(store.rate(&Key::of_address(address), &hourly, now), Ok(()));
        }
        assert!(store.rate(&Key::Tenant("a"), &hourly, now).is_err());
        assert!(store.tracked().rates <= 256 + 1);
    }

    proptest! {
        /// Whatever other tenants do, a tenant is answered as if it were alone.
        #[test]
        fn tenants_are_apart(events in prop::collection::vec((0_usize..4, 0_u64..300), 1..300)) {
            let tenants = ["a", "b", "c", "d"];
            let rate = per_second(3);
            let together = MemoryLimitStore::new(1000);
            let alone = tenants.map(|_| MemoryLimitStore::new(1000));
            let clock = ManualClock::at(Duration::from_hours(500_000));
            for (who, gap) in events {
                clock.advance(Duration::from_millis(gap));
                let (now, tenant) = (clock.now(), tenants[who]);
                let keys = [
                    Key::Tenant(tenant),
                    Key::Server { tenant, server: "s" },
                    Key::Tool { tenant, server: "s", tool: Some("t") },
                ];
                for key in keys {
                    prop_assert_eq!(together.rate(&key, &rate, now), alone[who].rate(&key, &rate, now));
                    prop_assert_eq!(together.quota(&key, 9, now), alone[who].quota(&key, 9, now));
                }
            }
        }
    }
}
