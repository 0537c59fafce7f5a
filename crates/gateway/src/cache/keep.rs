use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_ultra_domain::cache::{Freshness, Hints, Kind};
use mcp_ultra_protocol::{Era, Outcome, json::Object};
use parking_lot::Mutex;

use super::{
    Asked, Entry, Place,
    entry::Times,
    flights::{Flight, Landed},
};
use crate::{Gateway, random};

/// What goes with a call whose answer may be kept: it is kept when the answer has come, if nothing on
/// the way speaks against it. Dropped before, it lets those go on who wait for the answer.
pub(crate) struct Keep {
    pub gateway: Arc<Gateway>,
    pub asked: Asked,
    pub freshness: Freshness,
    pub largest: usize,
    /// That of the caller, whose form the answer has.
    pub era: Era,
    /// When the server is asked, since the Unix epoch.
    pub since: Duration,
    /// How long it was waited before for others who ask for the same, or have the answer: that is part
    /// of the time that the call may take.
    pub waited: Duration,
    /// The moment that the answer is of.
    pub moment: u64,
    /// What the server says of the answer, where it has said it in its own form.
    pub hints: OnceLock<Hints>,
    /// The answer depends on more than was asked.
    pub spoiled: AtomicBool,
    /// Those who wait for the answer, if anybody does.
    pub flight: Mutex<Option<Flight>>,
    /// What may be given where the server fails.
    pub stale: Option<Arc<Entry>>,
    /// Where it is kept for other gateways, if it is.
    pub place: Option<Box<Place>>,
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keep")
            .field("kind", &self.asked.kind)
            .finish_non_exhaustive()
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.keep_for_others(None);
    }
}

impl Keep {
    /// Takes what a server of 2026-07-28 says of its answer.
    pub(crate) fn hint(&self, outcome: &Outcome) {
        if let Outcome::Result(result) = outcome
            && let Ok(result) = Object::parse(result)
        {
            self.hints.get_or_init(|| Hints::of(&result));
        }
    }

    /// The caller was told or asked something on the way: the answer alone would not be the same. Who
    /// waits for it asks for themselves, and not only when the client has read or answered that.
    pub(crate) fn spoil(&self) {
        if !self.spoiled.swap(true, Ordering::Relaxed) {
            self.land(Landed::NotKept);
        }
    }

    fn land(&self, landed: Landed) {
        let flight = self.flight.lock().take();
        if let Some(flight) = flight {
            flight.land(landed);
        }
    }

    /// Takes the answer that its caller gets; `whole` where that is all of the response.
    pub(crate) fn answered(mut self, outcome: &Outcome, whole: bool) {
        let cache = &self.gateway.cache;
        let now = self.gateway.clock.now();
        let entry = match outcome {
            Outcome::Result(result) if whole => self.entry(result).map(Arc::new),
            _ => None,
        };
        if entry.is_none() && matches!(outcome, Outcome::Result(_)) {
            cache.experience.note(&self.asked.keys.own, None);
        }
        let kept = entry.filter(|entry| cache.keep(&self.asked, entry, now));
        if kept.is_some() {
            let took = now.saturating_sub(self.since);
            cache.experience.note(&self.asked.keys.own, Some(took));
        }
        self.keep_for_others(kept.clone());
        self.land(kept.map_or(Landed::NotKept, Landed::Kept));
    }

    fn entry(&self, result: &str) -> Option<Entry> {
        if self.spoiled.load(Ordering::Relaxed) || result.len() > self.largest {
            return None;
        }
        let object = Object::parse(result).ok()?;
        let is_complete = object.get("resultType").is_none()
            || object.get_str("resultType").as_deref() == Some("complete");
        let is_error = object.get("isError").is_some_and(|text| text != "false");
        if !is_complete || is_error {
            return None;
        }
        let hints = self.hints.get().copied().unwrap_or_default();
        let kind = self.asked.kind;
        // A server says it of resources: what another answer says lets nobody else have it.
        let is_public = hints.is_public && kind == Kind::Resource;
        let hints = Hints {
            is_public: is_public && self.asked.keys.common.is_some(),
            ..hints
        };
        let lasts = self.freshness.lasts(kind, hints, random::number())?;
        let times = Times {
            asked: self.since,
            lasts,
            stale: self.freshness.stale,
            moment: self.moment,
        };
        Some(Entry::new(&object, self.era, hints, times))
    }

    /// Keeps the answer where other gateways find it, and lets them ask the server. Nobody waits for it.
    fn keep_for_others(&mut self, kept: Option<Arc<Entry>>) {
        let (Some(place), Some(shared)) = (self.place.take(), self.gateway.cache.shared.clone())
        else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let asked = kept.as_ref().map(|_| self.asked.clone());
        let now = self.gateway.clock.now();
        runtime.spawn(async move {
            if let (Some(entry), Some(asked)) = (kept, asked) {
                shared.keep(&asked, &place, &entry, now).await;
            }
            shared.release(&place).await;
        });
    }

    /// What may be given since the server has failed: the text of a result.
    pub(crate) fn stale(self) -> Option<String> {
        let (cache, now) = (&self.gateway.cache, self.gateway.clock.now());
        let entry = self.stale.as_ref()?;
        if !cache.holds(&self.asked, entry, now) {
            return None;
        }
        self.gateway.metrics.cache_stale(self.asked.kind);
        Some(entry.result(now).into_owned())
    }
}
