use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    mem,
};

use parking_lot::Mutex;

use crate::limits::Key;

/// How many parts a table has at most, each with a lock of its own.
const SHARDS: usize = 64;

/// Makes 64 bits of a key: a hash (`SipHash`) under a secret of this process, so that nobody can
/// choose keys that meet, and keys of any length take the same room. That two of 100,000 keys meet
/// by chance is as likely as one in some thousand million.
#[derive(Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    pub(super) fn of(&self, key: &Key<'_>) -> u64 {
        self.0.hash_one(key)
    }
}

/// Which of `parts` a fingerprint belongs to. The bits in its middle: a map looks at both ends.
pub(super) fn part(fingerprint: u64, parts: usize) -> usize {
    let middle = (fingerprint >> 32) as usize;
    middle % parts
}

/// Takes a fingerprint as the hash that it is.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

type Map<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// What is kept under fingerprints: never more than a number of entries, and of those that were
/// used lately never fewer than half of it.
///
/// Each shard has two generations. What is used is in the young one; when that is full and does not
/// consist of what may be forgotten, it becomes the old one, and what was still in the old one is
/// lost. Whoever is looked up comes back into the young one, so that a flood of keys that are used
/// once drives out nothing that is in use.
pub(super) struct Table<V> {
    shards: Box<[Shard<V>]>,
    /// The most entries of one generation of one shard.
    most: usize,
}

/// On cache lines of its own: its neighbours' locks are taken by other threads.
#[repr(align(128))]
struct Shard<V>(Mutex<Generations<V>>);

struct Generations<V> {
    young: Map<V>,
    old: Map<V>,
}

impl<V: Copy + Default> Table<V> {
    /// A table for `most` entries, or a few more than that where `most` is small.
    pub(super) fn new(most: usize) -> Self {
        let shards = (most / 32).clamp(1, SHARDS).next_power_of_two();
        let generations = || Generations {
            young: Map::default(),
            old: Map::default(),
        };
        Self {
            shards: (0..shards)
                .map(|_| Shard(Mutex::new(generations())))
                .collect(),
            most: (most / shards / 2).max(1),
        }
    }

    /// Changes the entry of a fingerprint, which is the default one at first. `is_idle` says which
    /// entries may be forgotten without a loss.
    pub(super) fn change<R>(
        &self,
        fingerprint: u64,
        is_idle: impl Fn(&V) -> bool,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        let mut guard = self.shard(fingerprint).lock();
        let Generations { young, old } = &mut *guard;
        if let Some(value) = young.get_mut(&fingerprint) {
            return change(value);
        }
        // Before the old ones are given up.
        let value = old.remove(&fingerprint).unwrap_or_default();
        if young.len() >= self.most {
            young.retain(|_, value| !is_idle(value));
            // Otherwise the next ones would look through all of them again.
            if young.len() > self.most / 2 {
                *old = mem::take(young);
            }
        }
        change(young.entry(fingerprint).or_insert(value))
    }

    /// Changes the entry of a fingerprint, if there is one still.
    pub(super) fn visit<R>(&self, fingerprint: u64, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let mut guard = self.shard(fingerprint).lock();
        let Generations { young, old } = &mut *guard;
        let entry = young.get_mut(&fingerprint);
        entry.or_else(|| old.get_mut(&fingerprint)).map(change)
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        let of = |shard: &Shard<V>| {
            let generations = shard.0.lock();
            generations.young.len() + generations.old.len()
        };
        self.shards.iter().map(of).sum()
    }

    fn shard(&self, fingerprint: u64) -> &Mutex<Generations<V>> {
        &self.shards[part(fingerprint, self.shards.len())].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As even as fingerprints are.
    fn key(number: u64) -> u64 {
        let spread = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (spread ^ (spread >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_drives_out_nothing_in_use() {
        for most in [1, 64, 1000, 100_000] {
            let table = Table::<u64>::new(most);
            let mut seen = 0;
            for number in 1..300_000 {
                table.change(key(number), |_| false, |count| *count += 1);
                if number % 16 == 0 {
                    seen += 1;
                    let count = table.change(
                        key(0),
                        |_| false,
                        |count| {
                            *count += 1;
                            *count
                        },
                    );
                    if most >= 1000 {
                        assert_eq!(count, seen, "it was forgotten");
                    }
                }
            }
            assert!(
                table.len() <= most.max(2) + SHARDS,
                "{} of {most}",
                table.len()
            );
        }
    }

    #[test]
    fn what_is_looked_up_is_not_lost_when_the_generations_change() {
        let table = Table::<u64>::new(2);
        let add = |number: u64| {
            table.change(
                number,
                |_| false,
                |count| {
                    *count += 1;
                    *count
                },
            )
        };
        assert_eq!((add(0), add(1)), (1, 1));
        // The first is an old one now, and the young ones are as many as there may be.
        assert_eq!(add(0), 2);
    }

    #[test]
    fn what_may_be_forgotten_is_forgotten_first() {
        let table = Table::<u64>::new(1000);
        for number in 0..100 {
            table.change(key(number), |value| *value == 0, |value| *value = 1);
        }
        for number in 100..100_000 {
            table.change(key(number), |value| *value == 0, |_| ());
        }
        let kept = (0..100)
            .filter(|number| table.change(key(*number), |value| *value == 0, |value| *value == 1))
            .count();
        assert_eq!(kept, 100);
        assert!(table.len() <= 1000);
    }
}
