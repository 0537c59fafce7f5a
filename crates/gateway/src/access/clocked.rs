//! Lists that change with the time alone: nothing happens then that a stream would hear of, so
//! somebody has to look.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use mcp_ultra_domain::{catalog::Kind, policy::WithTime};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{View, seen::Lists, view::Alike};
use crate::{Gateway, snapshot::Snapshot};

/// How often it is looked, and so how late a stream may be told.
const LOOK: Duration = Duration::from_secs(1);

/// How much longer the rest is than the work before it: looking takes at most a twentieth of a
/// processor, however many views and entries depend on the time.
const REST: u32 = 20;

/// Who is to be told of lists: the open streams.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<Vec<Weak<Lists>>>);

impl Watchers {
    pub(super) fn add(&self, lists: &Arc<Lists>) {
        self.0.lock().push(Arc::downgrade(lists));
    }

    /// Those whose streams are open.
    fn open(&self) -> Vec<Arc<Lists>> {
        let mut open = Vec::new();
        self.0.lock().retain(|lists| {
            let lists = lists.upgrade();
            let is_open = lists.is_some();
            open.extend(lists);
            is_open
        });
        open
    }
}

/// Looks for lists that are other ones now and tells their streams, until the gateway is gone.
pub(crate) async fn follow(gateway: Weak<Gateway>, stop: CancellationToken) {
    let (mut rest, mut minute) = (LOOK, None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let mut look = Look {
            snapshot: gateway.snapshot(),
            now: gateway.clock.now(),
            minute,
            found: HashMap::new(),
            worked: Duration::ZERO,
        };
        if look.at_all(&gateway).await {
            minute = Some(look.minute_of_now());
        }
        rest = LOOK.max(look.worked * REST);
    }
}

/// One look at the lists of all open streams.
struct Look {
    snapshot: Arc<Snapshot>,
    now: Duration,
    /// The minute of the last look.
    minute: Option<u64>,
    /// The lists that may be other ones now, once for all who see the same.
    found: HashMap<Alike, Vec<(Kind, u64)>>,
    worked: Duration,
}

impl Look {
    fn minute_of_now(&self) -> u64 {
        self.now.as_secs() / 60
    }

    /// `false` where it was broken off, since the lists are other ones by now for another reason.
    async fn at_all(&mut self, gateway: &Gateway) -> bool {
        let open = gateway.watchers.open();
        if !self.is_time(self.snapshot.rules.with_time()) {
            return true;
        }
        for lists in open {
            let Some(view) = self.snapshot.view(&lists.viewer.principal) else {
                continue;
            };
            let alike = view.alike(&self.snapshot, &lists.viewer);
            if !self.found.contains_key(&alike) {
                let digests = self.digests(&view, &lists);
                self.found.insert(alike, digests);
                // Calls go first.
                tokio::task::yield_now().await;
            }
            if !Arc::ptr_eq(&self.snapshot, &gateway.snapshot()) {
                return false;
            }
            for (kind, digest) in self.found.get(&alike).into_iter().flatten() {
                lists.tell(*kind, *digest);
            }
        }
        true
    }

    /// Whether what changes like that may have changed since the last look.
    fn is_time(&self, with_time: WithTime) -> bool {
        match with_time {
            WithTime::Never => false,
            WithTime::EachMinute => self.minute != Some(self.minute_of_now()),
            WithTime::AnyMoment => true,
        }
    }

    fn digests(&mut self, view: &View, lists: &Lists) -> Vec<(Kind, u64)> {
        let began = Instant::now();
        let circumstances = lists.viewer.circumstances_at(self.now);
        let snapshot = &self.snapshot;
        let kinds = Kind::ALL.into_iter();
        let timed = kinds.filter(|kind| self.is_time(view.with_time(snapshot, *kind)));
        let digests = timed
            .map(|kind| (kind, view.digest(snapshot, kind, &circumstances)))
            .collect();
        self.worked += began.elapsed();
        digests
    }
}
