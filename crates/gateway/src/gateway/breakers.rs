//! Circuit breakers that replicas share: what this gateway tells the others of its own, and what it
//! takes over from them. A task beside the calls does both; while nobody can be told, each breaker
//! decides by itself.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use mcp_ultra_domain::{
    Announcement,
    breaker::{Forced, Standing},
    ports::{BreakerBoard, BreakerNews, Decision, Posted},
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::upstream::Upstream;

/// How often the others are told and asked.
const LOOK: Duration = Duration::from_millis(250);

/// The breakers that are shared.
pub(super) struct Shared {
    board: Arc<dyn BreakerBoard>,
    /// What operators have decided here and the others were not told yet.
    forced: Mutex<HashMap<Arc<str>, Option<Forced>>>,
    /// Told when there is something to tell or to ask before it is time.
    wake: Arc<Notify>,
}

/// What is known of the breaker of one upstream.
#[derive(Default, Clone, Copy)]
struct Known {
    /// The counts that were told.
    opened: u64,
    closed: u64,
    /// The number of the latest change of another one.
    number: u64,
    /// What the others say that an operator has decided.
    forced: Option<Forced>,
}

impl Shared {
    pub(super) fn new(board: Arc<dyn BreakerBoard>) -> Self {
        Self {
            board,
            forced: Mutex::default(),
            wake: Arc::default(),
        }
    }

    /// An operator has decided here.
    pub(super) fn force(&self, upstream: &Arc<str>, forced: Option<Forced>) {
        self.forced.lock().insert(upstream.clone(), forced);
        self.wake.notify_one();
    }
}

impl Gateway {
    /// The breakers of another gateway have changed.
    pub(super) fn breakers_changed(&self) {
        if let Some(shared) = &self.shared_breakers {
            shared.wake.notify_one();
        }
    }
}

/// Tells and asks until the gateway is gone or drains.
pub(super) async fn follow(gateway: Weak<Gateway>, stop: CancellationToken) {
    let mut known: HashMap<Arc<str>, Known> = HashMap::new();
    loop {
        let Some(running) = gateway.upgrade() else {
            return;
        };
        let Some(shared) = &running.shared_breakers else {
            return;
        };
        exchange(&running, shared, &mut known).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn exchange(gateway: &Gateway, shared: &Shared, known: &mut HashMap<Arc<str>, Known>) {
    let snapshot = gateway.snapshot();
    let with_breaker: Vec<(&Arc<Upstream>, Standing)> = snapshot
        .upstreams
        .iter()
        .filter_map(|upstream| Some((upstream, upstream.standing()?)))
        .collect();
    known.retain(|name, _| snapshot.upstream(name).is_some());
    let decided = shared.forced.lock().clone();
    let mut news: Vec<(Arc<str>, BreakerNews)> = decided
        .iter()
        .map(|(name, forced)| (name.clone(), BreakerNews::Forced(*forced)))
        .collect();
    for (upstream, standing) in &with_breaker {
        upstream.tell_changes_of_breaker(&shared.wake);
        let of = known.entry(upstream.name().clone()).or_default();
        let what = of.news(standing);
        news.extend(what.map(|what| (upstream.name().clone(), what)));
    }
    let Ok(posted) = shared.board.exchange(&news).await else {
        for (upstream, _) in with_breaker {
            upstream.lead_breaker(false);
        }
        return;
    };
    if news.iter().any(|(_, news)| is_change(news)) {
        gateway
            .announcements
            .announce(Announcement::BreakersChanged);
    }
    let posted: HashMap<&str, &Posted> = posted.iter().map(|one| (&*one.server, one)).collect();
    // Those that were decided meanwhile are told the next time.
    shared
        .forced
        .lock()
        .retain(|name, forced| decided.get(name) != Some(forced));
    for (upstream, standing) in with_breaker {
        upstream.lead_breaker(true);
        let Some(of) = known.get_mut(upstream.name()) else {
            continue;
        };
        (of.opened, of.closed) = (standing.opened, standing.closed);
        let decision = posted.get(&**upstream.name()).map(|one| one.decision);
        let is_to_be_told = shared.forced.lock().contains_key(upstream.name());
        if !is_to_be_told {
            of.decide(shared, upstream, decision.unwrap_or_default());
        }
        if let Some(one) = posted.get(&**upstream.name()) {
            of.take_over(upstream, one);
        }
    }
}

/// Whether others want to know of it at once.
fn is_change(news: &BreakerNews) -> bool {
    match news {
        BreakerNews::Opened(_) | BreakerNews::Closed | BreakerNews::Forced(_) => true,
        BreakerNews::WantsProbes(_) => false,
    }
}

impl Known {
    /// What the others have to be told.
    fn news(&self, standing: &Standing) -> Option<BreakerNews> {
        // One of which the count is smaller is a new one.
        let has_opened = standing.opened > self.opened;
        let has_closed = standing.closed > self.closed;
        match standing.open_for {
            Some(time) if has_opened => Some(BreakerNews::Opened(time)),
            _ if has_closed => Some(BreakerNews::Closed),
            _ => standing.wants_probes.map(BreakerNews::WantsProbes),
        }
    }

    /// Takes over what an operator has decided anywhere; what was lost is told again.
    fn decide(&mut self, shared: &Shared, upstream: &Upstream, decision: Decision) {
        let wanted = match decision {
            Decision::Unknown => {
                if self.forced.is_some() {
                    shared.force(upstream.name(), self.forced);
                }
                return;
            }
            Decision::ByItself => None,
            Decision::Forced(forced) => Some(forced),
        };
        self.forced = wanted;
        let is_so = upstream.breaker().and_then(|status| status.forced);
        if is_so != wanted {
            upstream.force_breaker(wanted);
            let forced = wanted.map_or("no more", |forced| match forced {
                Forced::Open => "open",
                Forced::Closed => "closed",
            });
            tracing::info!(upstream = %upstream.name(), forced, "an administrator of another gateway has decided on a circuit breaker");
        }
    }

    fn take_over(&mut self, upstream: &Upstream, posted: &Posted) {
        let is_new = self.number != posted.number;
        self.number = posted.number;
        if posted.may_probe {
            upstream.permit_probes();
        }
        if posted.by_us {
            return;
        }
        match posted.open_for {
            Some(time) if !time.is_zero() => upstream.open_with_others(time),
            None if is_new => upstream.close_with_others(),
            _ => {}
        }
    }
}
