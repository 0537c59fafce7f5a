use std::{
    hash::{DefaultHasher, Hasher},
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_ultra_domain::{
    Principal,
    catalog::{Item, Kind},
    flags::SwitchedOff,
    policy::{
        Action, Ask, Circumstances, Decision, Lister, Policies, Resource, Shown, Standing, Target,
        Verdict, WithTime,
    },
};

use super::{Rules, Viewer};
use crate::snapshot::Snapshot;

/// How many decisions are kept in one piece of memory.
const CHUNK: usize = 64;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What the principals of one kind may do under one snapshot.
pub(crate) struct View {
    /// The snapshot that it is of: see [`super::Views`].
    pub(super) snapshot: u64,
    /// Tells it from all others.
    id: u64,
    rules: Rules,
    /// One of those that it is good for.
    principal: Principal,
    /// `None` where there are no policies.
    standing: Option<(Arc<Policies>, Standing)>,
    /// The answer where there are no policies.
    permits_all: Arc<Decision>,
    lists: [OnceLock<List>; Kind::ALL.len()],
    decisions: [[OnceLock<Decisions>; Kind::ALL.len()]; Action::ALL.len()],
    servers: OnceLock<Vec<Sight>>,
}

/// Whether anything of a server is shown, as far as that depends on nothing but the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    Never,
    /// What there may be has to be asked for each time.
    AtTimes,
    Always,
}

/// Decisions on listed items by their position, made where they are first asked for.
type Decisions = Box<[OnceLock<Box<[OnceLock<Arc<Decision>>; CHUNK]>>]>;

/// The listed items of one kind that are shown, as far as that depends on nothing but the snapshot.
struct List {
    /// In their order: the position, and whether it has to be asked each time.
    entries: Vec<Entry>,
    /// How many of them have to be asked for.
    open: usize,
    digest: u64,
    with_time: WithTime,
    by_address: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    open: bool,
}

/// What tells those apart who may see other lists than each other at one moment: the view, and the
/// address where a list depends on it.
pub(super) type Alike = (u64, Option<IpAddr>);

/// A page of a list as one principal sees it.
pub(crate) enum Listing {
    /// All that there is.
    Whole,
    /// These items.
    Some {
        items: Vec<Arc<Item>>,
        /// Whether there are more.
        more: bool,
        /// Whether it is the same until the snapshot changes.
        fixed: bool,
    },
}

impl View {
    pub(super) fn new(snapshot: u64, rules: &Rules, principal: &Principal) -> Self {
        let standing = |policies: &Arc<Policies>| (policies.clone(), policies.standing(principal));
        Self {
            snapshot,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            standing: rules.policies().map(standing),
            permits_all: Arc::new(Decision {
                allowed: true,
                ..Decision::default()
            }),
            rules: rules.clone(),
            principal: principal.clone(),
            lists: Default::default(),
            decisions: Default::default(),
            servers: OnceLock::new(),
        }
    }

    /// What switches something off for those who it is good for; `None` where it is on.
    pub(crate) fn off(&self, resource: &Resource, now: Duration) -> Option<SwitchedOff<'_>> {
        self.rules.off(resource, &self.principal, now)
    }

    /// The answer of the policies on a call; `None` where there are none. `listed` is the kind and
    /// position of the resource in the catalog; answers on what is not listed, whose names callers
    /// choose, are not kept.
    pub(crate) fn decide(
        &self,
        snapshot: &Snapshot,
        action: Action,
        resource: &Resource,
        listed: Option<(Kind, usize)>,
        circumstances: &Circumstances<'_>,
    ) -> Option<Arc<Decision>> {
        let (policies, standing) = self.standing.as_ref()?;
        let slot = listed.and_then(|(kind, at)| {
            let length = snapshot.catalog.items(kind).len();
            let chunks = self.decisions[action as usize][kind as usize].get_or_init(|| {
                (0..length.div_ceil(CHUNK))
                    .map(|_| OnceLock::new())
                    .collect()
            });
            let chunk = chunks.get(at / CHUNK)?;
            let chunk = chunk.get_or_init(|| Box::new([const { OnceLock::new() }; CHUNK]));
            chunk.get(at % CHUNK)
        });
        if let Some(kept) = slot.and_then(OnceLock::get) {
            return Some(kept.clone());
        }
        let Verdict {
            decision, fixed, ..
        } = policies.decide(standing, action, resource, Ask::Call, circumstances);
        let decision = Arc::new(decision);
        if let Some(slot) = slot.filter(|_| fixed) {
            return Some(slot.get_or_init(|| decision).clone());
        }
        Some(decision)
    }

    /// An answer that is not kept; `None` where there are no policies.
    pub(crate) fn ask(
        &self,
        action: Action,
        resource: &Resource,
        ask: Ask,
        circumstances: &Circumstances<'_>,
    ) -> Option<Decision> {
        let (policies, standing) = self.standing.as_ref()?;
        let verdict = policies.decide(standing, action, resource, ask, circumstances);
        Some(verdict.decision)
    }

    /// The page after the item with that public name, or the first one. `None` where there is no
    /// such item.
    pub(crate) fn page(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        after: Option<&str>,
        size: usize,
        circumstances: &Circumstances<'_>,
    ) -> Option<Listing> {
        let list = self.list(snapshot, kind);
        let items = snapshot.catalog.items(kind);
        if list.open == 0 && list.entries.len() == items.len() {
            return Some(Listing::Whole);
        }
        let first = match after {
            None => 0,
            Some(name) => {
                let after = snapshot.catalog.position(kind, name)?;
                list.entries.partition_point(|entry| entry.at <= after)
            }
        };
        let mut shown = list.entries[first..]
            .iter()
            .filter(|entry| self.is_shown(snapshot, kind, **entry, circumstances));
        let page = shown
            .by_ref()
            .take(size)
            .map(|entry| items[entry.at].item.clone())
            .collect();
        Some(Listing::Some {
            items: page,
            more: shown.next().is_some(),
            fixed: list.open == 0,
        })
    }

    /// What tells a list from another one.
    pub(crate) fn digest(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        circumstances: &Circumstances<'_>,
    ) -> u64 {
        let list = self.list(snapshot, kind);
        if list.open == 0 {
            return list.digest;
        }
        let entries = list.entries.iter();
        let shown = entries.filter(|entry| self.is_shown(snapshot, kind, **entry, circumstances));
        digest(snapshot, kind, shown)
    }

    /// When a list may be another one with the time alone.
    pub(super) fn with_time(&self, snapshot: &Snapshot, kind: Kind) -> WithTime {
        self.list(snapshot, kind).with_time
    }

    /// See [`Alike`].
    pub(super) fn alike(&self, snapshot: &Snapshot, viewer: &Viewer) -> Alike {
        let by_address = Kind::ALL
            .iter()
            .any(|kind| self.list(snapshot, *kind).by_address);
        (self.id, viewer.address.filter(|_| by_address))
    }

    /// Whether anything of the server at that position is shown now.
    pub(crate) fn shows_server(
        &self,
        snapshot: &Snapshot,
        source: usize,
        circumstances: &Circumstances<'_>,
    ) -> bool {
        match self.sights(snapshot).get(source) {
            Some(Sight::Always) => true,
            Some(Sight::AtTimes) => Kind::ALL.into_iter().any(|kind| {
                let items = snapshot.catalog.items(kind);
                let entries = self.list(snapshot, kind).entries.iter();
                let mut of_server = entries.filter(|entry| items[entry.at].source == source);
                of_server.any(|entry| self.is_shown(snapshot, kind, *entry, circumstances))
            }),
            Some(Sight::Never) | None => false,
        }
    }

    /// Whether it is the same servers that anything is shown of until the snapshot changes.
    pub(crate) fn has_fixed_servers(&self, snapshot: &Snapshot) -> bool {
        !self.sights(snapshot).contains(&Sight::AtTimes)
    }

    fn sights(&self, snapshot: &Snapshot) -> &[Sight] {
        self.servers.get_or_init(|| {
            let mut sights = vec![Sight::Never; snapshot.catalog.sources().len()];
            for kind in Kind::ALL {
                let items = snapshot.catalog.items(kind);
                for entry in &self.list(snapshot, kind).entries {
                    let sight = if entry.open {
                        Sight::AtTimes
                    } else {
                        Sight::Always
                    };
                    let of_server = &mut sights[items[entry.at].source];
                    *of_server = sight.max(*of_server);
                }
            }
            sights
        })
    }

    /// The answer where there are no policies: all that is not switched off.
    pub(crate) fn permits_all(&self) -> &Arc<Decision> {
        &self.permits_all
    }

    /// The policies that it was found by, where there are any.
    pub(crate) fn policies(&self) -> Option<&Arc<Policies>> {
        self.rules.policies()
    }

    fn is_shown(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        entry: Entry,
        circumstances: &Circumstances<'_>,
    ) -> bool {
        let item = || &snapshot.catalog.items(kind)[entry.at].item;
        !entry.open || self.may_list(item(), circumstances)
    }

    fn may_list(&self, item: &Item, circumstances: &Circumstances<'_>) -> bool {
        let resource = &item.resource;
        self.off(resource, circumstances.now).is_none()
            && self
                .ask(listing(item), resource, Ask::List, circumstances)
                .is_none_or(|decision| decision.allowed)
    }

    /// Whether an item is listed, as far as that depends on nothing but the snapshot.
    fn shown(&self, item: &Item, lister: Option<&mut Lister<'_>>) -> Shown {
        let resource = &item.resource;
        let shown = lister.map_or(Shown::ALWAYS, |lister| {
            lister.shows(listing(item), resource)
        });
        match self.rules.switched(resource) {
            Some(WithTime::Never) if self.off(resource, Duration::ZERO).is_some() => Shown {
                allowed: false,
                ..Shown::ALWAYS
            },
            None | Some(WithTime::Never) => shown,
            Some(timed) => Shown {
                fixed: false,
                with_time: shown.with_time.max(timed),
                ..shown
            },
        }
    }

    fn list(&self, snapshot: &Snapshot, kind: Kind) -> &List {
        self.lists[kind as usize].get_or_init(|| {
            let nothing = Circumstances::default();
            let standing = self.standing.as_ref();
            let mut lister =
                standing.map(|(policies, standing)| Lister::new(policies, standing, nothing));
            let mut entries = Vec::new();
            let (mut with_time, mut by_address) = (WithTime::Never, false);
            for (at, listed) in snapshot.catalog.items(kind).iter().enumerate() {
                let shown = self.shown(&listed.item, lister.as_mut());
                if shown.allowed || !shown.fixed {
                    let open = !shown.fixed;
                    with_time = with_time.max(shown.with_time);
                    by_address |= shown.by_address;
                    entries.push(Entry { at, open });
                }
            }
            List {
                digest: digest(snapshot, kind, entries.iter()),
                open: entries.iter().filter(|entry| entry.open).count(),
                entries,
                with_time,
                by_address,
            }
        })
    }
}

/// The action that lists an item: what may be called is listed.
fn listing(item: &Item) -> Action {
    match item.resource.target {
        Target::Tool(_) => Action::ToolsCall,
        Target::Prompt => Action::PromptsGet,
        // Nothing else is in a catalog.
        _ => Action::ResourcesRead,
    }
}

fn digest<'e>(snapshot: &Snapshot, kind: Kind, entries: impl Iterator<Item = &'e Entry>) -> u64 {
    let items = snapshot.catalog.items(kind);
    let mut hasher = DefaultHasher::new();
    for entry in entries {
        hasher.write_u64(items[entry.at].item.digest);
    }
    hasher.finish()
}
