use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::Principal;
use parking_lot::Mutex;

use super::{
    Refused,
    binding::{Believed, Binding},
    verify::{Grounds, Refusal, Verified},
};
use crate::recent::Recent;

/// How long a token that was refused is not looked at again.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How many refused tokens are remembered: apart from the good ones, which they must not displace.
const MOST_REFUSED: usize = 4096;
/// Workers look up at the same time; each of these has a lock of its own.
const SHARDS: usize = 16;

/// The SHA-256 of a token, by which it is remembered; the token itself is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is known of tokens. Bounded: of each part the newer half is kept when it is full.
pub(super) struct Cache {
    shards: Box<[Shard]>,
}

#[derive(Default)]
struct Shard {
    good: Mutex<Recent<Digest, Good>>,
    refused: Mutex<Recent<Digest, (Refused, Duration)>>,
    most_good: usize,
}

#[derive(Clone)]
struct Good {
    principal: Principal,
    binding: Option<Arc<Binding>>,
    until: Duration,
    grounds: Grounds,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        let shard = || Shard {
            most_good: most.div_ceil(SHARDS),
            ..Shard::default()
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// A token and what it is believed for, or why it was refused.
    pub(super) fn get(
        &self,
        digest: &Digest,
        now: Duration,
    ) -> Option<Result<(Believed, Grounds), Refused>> {
        let shard = self.shard(digest);
        let good = shard.good.lock().get(digest, shard.most_good);
        if let Some(good) = good {
            if now < good.until && good.grounds.are_good(now) {
                let believed = Believed::new(good.principal, good.binding, &good.grounds, *digest);
                return Some(Ok((believed, good.grounds)));
            }
            shard.good.lock().remove(digest);
            return None;
        }
        let (why, until) = shard.refused.lock().get(digest, MOST_REFUSED / SHARDS)?;
        (now < until).then_some(Err(why))
    }

    pub(super) fn keep(&self, digest: Digest, verified: Verified, now: Duration) {
        let Verified {
            principal,
            binding,
            until,
            grounds,
        } = verified;
        if now >= until {
            return;
        }
        let shard = self.shard(&digest);
        let good = Good {
            principal,
            binding,
            until,
            grounds,
        };
        shard.good.lock().insert(digest, good, shard.most_good);
    }

    pub(super) fn keep_refused(&self, digest: Digest, refusal: Refusal, now: Duration) {
        let Refusal { why, again } = refusal;
        if why.is_final() {
            let until = now.saturating_add(REFUSED_FOR);
            let until = again.map_or(until, |again| until.min(again));
            let mut refused = self.shard(&digest).refused.lock();
            refused.insert(digest, (why, until), MOST_REFUSED / SHARDS);
        }
    }

    fn shard(&self, digest: &Digest) -> &Shard {
        &self.shards[usize::from(digest.0[0]) % SHARDS]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.good.lock().len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::keys::Key;

    fn verified(until: u64) -> Verified {
        verified_by(until, Arc::new(Key::shared(b"x")))
    }

    fn verified_by(until: u64, key: Arc<Key>) -> Verified {
        Verified {
            principal: Principal::anonymous(),
            binding: None,
            until: Duration::from_secs(until),
            grounds: Grounds::Signature { key, issuer: None },
        }
    }

    #[test]
    fn a_token_is_known_until_it_ends_or_its_key_does() {
        let cache = Cache::new(16);
        let at = Duration::from_secs;
        let digest = Digest::of("a");
        cache.keep(digest, verified(10), at(0));
        assert!(cache.get(&digest, at(9)).is_some());
        assert!(cache.get(&digest, at(10)).is_none());
        let key = Arc::new(Key::shared(b"x"));
        cache.keep(digest, verified_by(10, key.clone()), at(0));
        assert!(cache.get(&digest, at(1)).is_some());
        key.withdraw();
        assert!(cache.get(&digest, at(1)).is_none());
    }

    #[test]
    fn refusals_are_short_and_displace_nothing_that_is_good() {
        let cache = Cache::new(16);
        let at = Duration::from_secs;
        let good = Digest::of("good");
        cache.keep(good, verified(1000), at(0));
        for number in 0..20_000 {
            let digest = Digest::of(&number.to_string());
            cache.keep_refused(digest, Refused::Signature.into(), at(0));
        }
        assert!(cache.get(&good, at(1)).is_some());
        let bad = Digest::of("19999");
        assert!(matches!(
            cache.get(&bad, at(1)),
            Some(Err(Refused::Signature))
        ));
        assert!(cache.get(&bad, at(11)).is_none());
        let later = Digest::of("later");
        cache.keep_refused(later, Refused::UnknownKey.into(), at(0));
        assert!(cache.get(&later, at(0)).is_none(), "may become known");
    }

    #[test]
    fn the_number_of_tokens_is_bounded_and_used_ones_stay() {
        let cache = Cache::new(160);
        let at = Duration::from_secs;
        let used = Digest::of("used");
        cache.keep(used, verified(1000), at(0));
        for number in 0..10_000 {
            let digest = Digest::of(&number.to_string());
            cache.keep(digest, verified(1000), at(0));
            assert!(cache.get(&used, at(1)).is_some(), "{number}");
        }
        assert!(cache.len() <= 160 + SHARDS, "{}", cache.len());
    }
}
