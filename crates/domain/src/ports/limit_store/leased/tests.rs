//! Several stores and a model of the place where all count: what they admit together.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::limits::{
    day_of,
    lease::{Against, most_beyond, most_beyond_quota},
};

const NOON: Duration = Duration::from_hours(500_004);
const KEY: Key<'_> = Key::Tenant("acme");

fn rate(count: u32, period: Duration, burst: u32) -> Rate {
    let some = |number| NonZeroU32::new(number).unwrap();
    Rate::new(some(count), period, some(burst))
}

/// What Redis does, in Rust.
#[derive(Default)]
struct Center(HashMap<String, u64>);

impl Center {
    fn answer(&mut self, due: &Due, ask: &Ask, now: Duration) -> Answer {
        let kept = self.0.entry(due.name()).or_default();
        match ask.against {
            Against::Rate {
                step,
                tolerance,
                furthest,
            } => {
                let now = u64::try_from(now.as_nanos()).unwrap();
                let moved = i128::from(ask.told) * i128::from(step);
                let until = (*kept).clamp(now, now + furthest);
                let until = u64::try_from((i128::from(until) + moved).max(0)).unwrap();
                let room = (now + tolerance).saturating_sub(until) / step;
                let granted = u32::try_from(room).unwrap_or(u32::MAX).min(ask.wanted);
                *kept = until + u64::from(granted) * step;
                Answer {
                    granted,
                    standing: kept.saturating_sub(now),
                }
            }
            Against::Quota { most } => {
                let told =
                    u64::try_from((i64::try_from(*kept).unwrap() + ask.told).max(0)).unwrap();
                let room = u64::from(most).saturating_sub(told);
                let granted = u32::try_from(room).unwrap_or(u32::MAX).min(ask.wanted);
                *kept = told + u64::from(granted);
                Answer {
                    granted,
                    standing: *kept,
                }
            }
        }
    }
}

struct Replica {
    store: LeasedLimitStore,
    /// What is on its way, and when it arrives.
    flying: Vec<(Duration, Due, Ask)>,
}

struct World {
    center: Center,
    replicas: Vec<Replica>,
    apart: bool,
    now: Duration,
}

impl World {
    fn new(replicas: u32) -> Self {
        let replica = |_| {
            let key = LimitsKey::new(b"a secret of all replicas");
            let store = LeasedLimitStore::new(key, 1000, || {});
            store.set_fleet(Fleet {
                replicas,
                apart: false,
            });
            Replica {
                store,
                flying: Vec::new(),
            }
        };
        Self {
            center: Center::default(),
            replicas: (0..replicas).map(replica).collect(),
            apart: false,
            now: NOON,
        }
    }

    fn set_apart(&mut self, apart: bool) {
        self.apart = apart;
        let replicas = u32::try_from(self.replicas.len()).unwrap();
        for replica in &mut self.replicas {
            replica.store.set_fleet(Fleet { replicas, apart });
            let lost = replica.flying.drain(..);
            let lost: Vec<_> = lost.map(|(_, due, ask)| (due, ask)).collect();
            replica.store.put_off(lost);
        }
    }

    /// Goes on in time, in steps of a millisecond. Each question takes `delay` milliseconds to come
    /// there, and its answer none.
    fn pass(&mut self, millis: u64, delay: u64) {
        for _ in 0..millis.max(1) {
            self.now += Duration::from_millis(u64::from(millis > 0));
            let now = self.now;
            for replica in &mut self.replicas {
                let arrived: Vec<_> = replica
                    .flying
                    .extract_if(.., |(at, ..)| *at <= now)
                    .collect();
                for (_, due, ask) in arrived {
                    let answer = self.center.answer(&due, &ask, now);
                    replica.store.settle(due, &ask, answer, now);
                }
                if self.apart {
                    continue;
                }
                let mut asks = replica.store.due(100, now);
                asks.extend(replica.store.lapsed(now));
                let at = now + Duration::from_millis(delay);
                let asks = asks.into_iter();
                replica.flying.extend(asks.map(|(due, ask)| (at, due, ask)));
            }
        }
    }

    fn rate(&self, who: usize, rate: &Rate) -> bool {
        let store = &self.replicas[who % self.replicas.len()].store;
        store.rate(&KEY, rate, self.now).is_ok()
    }

    fn quota(&self, who: usize, most: u32) -> bool {
        let store = &self.replicas[who % self.replicas.len()].store;
        store.quota(&KEY, most, self.now).is_ok()
    }
}

/// The most events in any time, over what `rate` permits in it.
fn most_over(admitted: &[Duration], rate: &Rate) -> i64 {
    let mut worst = i64::MIN;
    for (first, from) in admitted.iter().enumerate() {
        for (last, to) in admitted.iter().enumerate().skip(first) {
            let count = i64::try_from(last - first + 1).unwrap();
            let time = u64::try_from(to.saturating_sub(*from).as_nanos()).unwrap();
            let permitted = u64::from(rate.burst()) + time / rate.step();
            worst = worst.max(count - i64::try_from(permitted).unwrap());
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn replicas_admit_what_the_rate_says_and_no_more_than_stated(
        replicas in 1_u32..6,
        burst in 1_u32..60,
        delay in 0_u64..30,
        events in prop::collection::vec((0_usize..6, 0_u64..40, 1_usize..12), 1..120),
    ) {
        let rate = rate(50, Duration::from_secs(1), burst);
        let mut world = World::new(replicas);
        let mut admitted = Vec::new();
        for (who, gap, calls) in events {
            world.pass(gap, delay);
            for _ in 0..calls {
                if world.rate(who, &rate) {
                    admitted.push(world.now);
                }
            }
        }
        let beyond = i64::try_from(most_beyond(burst, replicas)).unwrap();
        let over = most_over(&admitted, &rate);
        prop_assert!(over <= beyond, "{over} > {beyond}");
    }

    #[test]
    fn a_quota_is_kept_to_what_is_stated_and_all_of_it_can_be_used(
        replicas in 1_u32..6,
        most in prop_oneof![1_u32..400, 6_000_u32..12_000],
        delay in 0_u64..30,
        events in prop::collection::vec((0_usize..6, 0_u64..40, 1_usize..40), 1..200),
    ) {
        let mut world = World::new(replicas);
        let mut admitted = 0_u64;
        for (who, gap, calls) in &events {
            world.pass(*gap, delay);
            for _ in 0..*calls {
                admitted += u64::from(world.quota(*who, most));
            }
        }
        let beyond = most_beyond_quota(most, replicas);
        prop_assert!(admitted <= u64::from(most) + beyond, "{admitted} of {most} + {beyond}");
        // Whoever goes on calling gets the rest.
        for _ in 0..most {
            for who in (0..6).cycle().take(60) {
                admitted += u64::from(world.quota(who, most));
            }
            world.pass(40, delay);
            if admitted >= u64::from(most) {
                break;
            }
        }
        for _ in 0..4 {
            world.pass(2000, delay);
            for who in 0..6 {
                admitted += u64::from(world.quota(who, most));
            }
        }
        prop_assert!(admitted >= u64::from(most), "{admitted} of {most}");
        prop_assert!(admitted <= u64::from(most) + beyond, "{admitted} of {most} + {beyond}");
    }

    /// A fall and a return cost another burst at most.
    #[test]
    fn who_is_apart_goes_by_its_share(
        replicas in 1_u32..6,
        burst in 1_u32..60,
        events in prop::collection::vec((0_usize..6, 0_u64..40, 1_usize..12), 3..90),
    ) {
        let rate = rate(50, Duration::from_secs(1), burst);
        let mut world = World::new(replicas);
        let mut admitted = Vec::new();
        let third = events.len() / 3;
        for (number, (who, gap, calls)) in events.into_iter().enumerate() {
            if number == third || number == 2 * third {
                world.set_apart(number == third);
            }
            world.pass(gap, 2);
            for _ in 0..calls {
                if world.rate(who, &rate) {
                    admitted.push(world.now);
                }
            }
        }
        let beyond = most_beyond(burst, replicas) + u64::from(burst + replicas);
        let over = most_over(&admitted, &rate);
        prop_assert!(over <= i64::try_from(beyond).unwrap(), "{over} > {beyond}");
    }
}

#[test]
fn replicas_that_are_asked_all_the_time_admit_the_whole_rate() {
    for (replicas, count) in [(1, 100), (3, 100), (3, 10), (5, 1000)] {
        let rate = rate(count, Duration::from_secs(1), count);
        let mut world = World::new(replicas);
        let mut admitted = Vec::new();
        for _ in 0..10_000 {
            world.pass(1, 3);
            for who in 0..5 {
                if world.rate(who, &rate) {
                    admitted.push(world.now);
                }
            }
        }
        let expected = i64::from(count) * 11;
        let got = i64::try_from(admitted.len()).unwrap();
        // What is on its way at the end, and the time until a question is answered.
        let slack = expected / 20 + i64::from(replicas);
        let beyond = i64::try_from(most_beyond(count, replicas)).unwrap();
        assert!(got >= expected - slack, "{replicas}: {got} of {expected}");
        assert!(got <= expected + beyond, "{replicas}: {got} of {expected}");
    }
}

#[test]
fn one_alone_may_do_all_at_once() {
    let rate = rate(10, Duration::from_secs(1), 10);
    let mut world = World::new(1);
    for round in 0..5 {
        let admitted = (0..20).filter(|_| world.rate(0, &rate)).count();
        assert_eq!(admitted, 10, "{round}");
        world.pass(3000, 2);
    }
}

#[test]
fn a_refusal_says_when_there_is_room_again() {
    let rate = rate(10, Duration::from_secs(1), 10);
    let mut world = World::new(2);
    // Each finds out what the other has used.
    for _ in 0..4 {
        for who in 0..2 {
            while world.rate(who, &rate) {}
        }
        world.pass(5, 1);
    }
    let store = &world.replicas[0].store;
    let wait = store.rate(&KEY, &rate, world.now).unwrap_err();
    assert!(wait > Duration::from_millis(20), "{wait:?}");
    let wait = u64::try_from(wait.as_millis()).unwrap();
    world.pass(wait - 10, 1);
    assert!(!world.rate(0, &rate), "it is too early");
    world.pass(11, 1);
    assert!(world.rate(0, &rate));
}

#[test]
fn what_is_leased_and_not_used_is_given_back() {
    let rate = rate(1000, Duration::from_secs(1), 1000);
    let mut world = World::new(2);
    for _ in 0..100 {
        world.rate(0, &rate);
        world.pass(2, 1);
    }
    let leases = world.replicas[0].store.leases().unwrap();
    assert!(leases.granted > 0 && leases.returned == 0, "{leases:?}");
    world.pass(1500, 1);
    let leases = world.replicas[0].store.leases().unwrap();
    assert!(leases.returned > 0, "{leases:?}");
    // A key that is used seldom leases nothing.
    let before = leases.granted;
    for _ in 0..5 {
        world.pass(1500, 1);
        assert!(world.rate(0, &rate));
    }
    let leases = world.replicas[0].store.leases().unwrap();
    assert_eq!(leases.granted, before);
}

#[test]
fn a_quota_that_is_used_up_is_so_at_all_and_begins_anew_tomorrow() {
    let mut world = World::new(3);
    let mut admitted = 0;
    for _ in 0..100 {
        for who in 0..3 {
            admitted += u32::from(world.quota(who, 60));
        }
        world.pass(5, 1);
    }
    assert!((60..=70).contains(&admitted), "{admitted}");
    world.set_apart(true);
    assert!((0..3).all(|who| !world.quota(who, 60)), "it is known");
    world.set_apart(false);
    let store = &world.replicas[0].store;
    let wait = store.quota(&KEY, 60, world.now).unwrap_err();
    assert_eq!(day_of(world.now + wait), day_of(world.now) + 1);
    world.now += wait;
    world.center = Center::default();
    assert!(world.quota(0, 60));
}

#[test]
fn nobody_is_refused_while_most_of_a_large_quota_is_left() {
    let most = 4_000_000;
    let mut world = World::new(3);
    for _ in 0..20 {
        // Within one millisecond, before anything is answered.
        let admitted = (0..10_000).filter(|_| world.quota(0, most)).count();
        assert_eq!(admitted, 10_000);
        world.pass(10, 3);
    }
}

#[test]
fn places_are_shared_out() {
    let store = Arc::new(LeasedLimitStore::new(LimitsKey::new(b"k"), 10, || {}));
    store.set_fleet(Fleet {
        replicas: 3,
        apart: false,
    });
    let places: Vec<_> = (0..10).filter_map(|_| store.enter(&KEY, 10)).collect();
    assert_eq!(places.len(), 4);
    for place in places {
        store.leave(place);
    }
    assert_eq!(store.tracked().concurrency, 0);
}

#[test]
fn a_flood_of_keys_is_bounded() {
    let store = LeasedLimitStore::new(LimitsKey::new(b"k"), 100, || {});
    let rate = rate(1, Duration::from_hours(1), 1);
    for number in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(number).into();
        assert!(store.rate(&Key::of_address(address), &rate, NOON).is_ok());
    }
    assert!(store.tracked().rates <= 200 && store.due.lock().len() <= 100);
}

#[test]
fn names_are_the_same_for_the_same_secret_alone() {
    let name = |secret: &[u8], key: &Key<'_>| LimitsKey::new(secret).of(key);
    let keys = [
        Key::Tenant("a"),
        Key::Principal("a"),
        Key::Server {
            tenant: "a",
            server: "b",
        },
        Key::Tool {
            tenant: "a",
            server: "b",
            tool: None,
        },
        Key::Tool {
            tenant: "a",
            server: "b",
            tool: Some(""),
        },
        Key::of_address("192.0.2.1".parse().unwrap()),
    ];
    let mut names: Vec<u64> = keys.iter().map(|key| name(b"one", key)).collect();
    assert_eq!(names[0], name(b"one", &keys[0]));
    assert_ne!(names[0], name(b"two", &keys[0]));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), keys.len());
}

/// Of a quota it would be lost for the day otherwise.
#[test]
fn one_that_ends_tells_and_gives_back_all_of_it() {
    let mut world = World::new(2);
    let rate = rate(1000, Duration::from_secs(10), 100);
    let mut used = 0;
    for _ in 0..40 {
        used += u64::from(world.quota(0, 1000));
        world.rate(0, &rate);
        world.pass(1, 1);
    }
    // More is asked for, and answered.
    world.pass(3, 1);
    used += u64::from(world.quota(0, 1000));
    let counted = |world: &World, kind: char| {
        let mut names = world.center.0.iter();
        let found = names.find(|(name, _)| name.starts_with(kind));
        *found.unwrap().1
    };
    assert!(counted(&world, 'q') > used, "some is leased");
    let flying: Vec<_> = world.replicas[0].flying.drain(..).collect();
    for (_, due, ask) in flying {
        let answer = world.center.answer(&due, &ask, world.now);
        world.replicas[0].store.settle(due, &ask, answer, world.now);
    }
    for round in 0.. {
        let (store, now) = (&world.replicas[0].store, world.now);
        let asks = store.parting(1, now);
        if asks.is_empty() {
            break;
        }
        assert!(round < 10 && asks.iter().all(|(_, ask)| ask.wanted == 0));
        for (due, ask) in asks {
            let answer = world.center.answer(&due, &ask, now);
            world.replicas[0].store.settle(due, &ask, answer, now);
        }
    }
    assert_eq!(counted(&world, 'q'), used);
    let leases = world.replicas[0].store.leases().unwrap();
    assert!(leases.returned > 0);
}
