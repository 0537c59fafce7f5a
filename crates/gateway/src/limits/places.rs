use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For how long who was refused counts among those who want places: long enough to try again.
const WAITING: Duration = Duration::from_secs(2);

/// The places for calls in flight of all tenants (`limits.calls`).
///
/// While a quarter of them is free, whoever comes gets one, and nothing is counted. Then a tenant
/// gets one as long as it has less than its share: the places, divided by the tenants that want
/// any. One that wants them alone may have all.
#[derive(Debug)]
pub(crate) struct CallPlaces {
    free: Arc<Semaphore>,
    most: usize,
    counted: Arc<Counted>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct CallPlace {
    _permit: OwnedSemaphorePermit,
    _counted: Option<CountedPlace>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    Full,
    /// The last ones are for tenants that have less than their share.
    Share,
}

/// What was given while places were scarce.
#[derive(Debug, Default)]
struct Counted(Mutex<Tenants>);

#[derive(Debug, Default)]
struct Tenants {
    /// Those that want places: they have some that were counted, or were refused a moment ago.
    wanting: HashMap<Arc<str>, Wants>,
    /// When those were last forgotten that want none any more.
    swept: Duration,
}

#[derive(Debug, Default)]
struct Wants {
    places: usize,
    refused: Option<Duration>,
}

#[derive(Debug)]
struct CountedPlace {
    counted: Arc<Counted>,
    tenant: Arc<str>,
}

impl CallPlaces {
    /// At most `most` places.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            counted: Arc::default(),
        }
    }

    /// A place for a call of `tenant`. `now` is asked for only where places are scarce.
    ///
    /// # Errors
    /// [`NoPlace`] where all are taken, or the tenant has its share of what is scarce.
    pub(crate) fn enter(
        &self,
        tenant: &Arc<str>,
        now: impl FnOnce() -> Duration,
    ) -> Result<CallPlace, NoPlace> {
        let permit = self.free.clone().try_acquire_owned();
        if let Ok(permit) = permit {
            if self.free.available_permits() >= self.most.div_ceil(4) {
                return Ok(CallPlace {
                    _permit: permit,
                    _counted: None,
                });
            }
            let counted = self.counted.enter(tenant, self.most, now())?;
            return Ok(CallPlace {
                _permit: permit,
                _counted: Some(counted),
            });
        }
        self.counted.0.lock().refuse(tenant, self.most, now());
        Err(NoPlace::Full)
    }
}

impl Counted {
    fn enter(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        most: usize,
        now: Duration,
    ) -> Result<CountedPlace, NoPlace> {
        let mut tenants = self.0.lock();
        tenants.sweep(now);
        let has = tenants.wanting.get(tenant).map(|wants| wants.places);
        let wanting = tenants.wanting.len() + usize::from(has.is_none());
        let share = (most / wanting).max(1);
        if wanting > 1 && has.unwrap_or_default() >= share {
            tenants.refuse(tenant, most, now);
            return Err(NoPlace::Share);
        }
        let wants = tenants.wanting.entry(tenant.clone()).or_default();
        wants.places += 1;
        wants.refused = None;
        Ok(CountedPlace {
            counted: self.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl Tenants {
    /// Notes that `tenant` wants a place. Of those that have none, as many are known as there are
    /// places.
    fn refuse(&mut self, tenant: &Arc<str>, most: usize, now: Duration) {
        self.sweep(now);
        if let Some(wants) = self.wanting.get_mut(tenant) {
            wants.refused = Some(now);
        } else if self.wanting.len() < most {
            let wants = Wants {
                places: 0,
                refused: Some(now),
            };
            self.wanting.insert(tenant.clone(), wants);
        }
    }

    /// Not with every call: there may be many.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) < WAITING / 2 {
            return;
        }
        self.swept = now;
        self.wanting.retain(|_, wants| {
            let waits = |at: Duration| now.saturating_sub(at) < WAITING;
            wants.places > 0 || wants.refused.is_some_and(waits)
        });
    }
}

impl Drop for CountedPlace {
    fn drop(&mut self) {
        let mut tenants = self.counted.0.lock();
        let Some(wants) = tenants.wanting.get_mut(&self.tenant) else {
            return;
        };
        wants.places = wants.places.saturating_sub(1);
        if wants.places == 0 && wants.refused.is_none() {
            tenants.wanting.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_hours(12);

    fn enter(places: &CallPlaces, tenant: &str, now: Duration) -> Result<CallPlace, NoPlace> {
        places.enter(&tenant.into(), || now)
    }

    fn all(places: &CallPlaces, tenant: &str, now: Duration) -> Vec<CallPlace> {
        std::iter::from_fn(|| enter(places, tenant, now).ok()).collect()
    }

    #[test]
    fn one_alone_may_have_all_and_no_clock_is_asked_while_there_are_many() {
        let places = CallPlaces::new(8);
        let tenant: Arc<str> = "acme".into();
        let few = || places.enter(&tenant, || unreachable!("there are many"));
        let some: Vec<_> = (0..6).map(|_| few().unwrap()).collect();
        let rest = all(&places, "acme", NOON);
        assert_eq!(some.len() + rest.len(), 8);
        let refused = enter(&places, "acme", NOON);
        assert_eq!(refused.unwrap_err(), NoPlace::Full);
        drop((some, rest));
        assert_eq!(all(&places, "acme", NOON).len(), 8, "given back");
        assert_eq!(all(&CallPlaces::new(1), "acme", NOON).len(), 1);
    }

    #[test]
    fn who_was_refused_gets_what_becomes_free() {
        let places = CallPlaces::new(8);
        let mut greedy = all(&places, "greedy", NOON);
        // Calls end and others begin while places are scarce, so that nearly all are counted.
        for _ in 0..8 {
            drop(greedy.remove(0));
            greedy.extend(enter(&places, "greedy", NOON));
        }
        assert_eq!(greedy.len(), 8);
        assert_eq!(enter(&places, "quiet", NOON).unwrap_err(), NoPlace::Full);
        let mut quiet = Vec::new();
        for _ in 0..4 {
            drop(greedy.remove(0));
            // It always comes first, and it is in vain.
            let again = enter(&places, "greedy", NOON);
            assert_eq!(again.unwrap_err(), NoPlace::Share);
            quiet.push(enter(&places, "quiet", NOON).unwrap());
        }
        assert_eq!((greedy.len(), quiet.len()), (4, 4));
        // With half of the places each has its share.
        assert!(enter(&places, "quiet", NOON).is_err());
    }

    #[test]
    fn who_wants_none_any_more_is_forgotten() {
        let places = CallPlaces::new(4);
        let greedy = all(&places, "greedy", NOON);
        for number in 0..100 {
            drop(enter(&places, &number.to_string(), NOON));
        }
        assert!(places.counted.0.lock().wanting.len() <= 4);
        let later = NOON + WAITING;
        drop(enter(&places, "greedy", later));
        let tenants = places.counted.0.lock();
        assert_eq!(tenants.wanting.len(), 1);
        drop((tenants, greedy));
        assert_eq!(all(&places, "greedy", later).len(), 4);
    }
}
