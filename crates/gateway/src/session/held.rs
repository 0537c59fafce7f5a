use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use mcp_ultra_domain::Principal;

use super::Live;

/// Sessions by id, counted by principal.
#[derive(Debug, Default)]
pub(super) struct Held {
    sessions: HashMap<Arc<str>, Arc<Live>>,
    of_principal: HashMap<Arc<str>, usize>,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Live>> {
        self.sessions.get(id).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.sessions.values()
    }

    /// How many the principal has.
    pub(super) fn of(&self, principal: &Principal) -> usize {
        self.of_principal.get(principal.id()).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, live: Arc<Live>) {
        let principal = live.principal.shared_id();
        if self.sessions.insert(live.id.clone(), live).is_none() {
            *self.of_principal.entry(principal).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(live) = self.sessions.remove(id) else {
            return;
        };
        if let Entry::Occupied(mut count) = self.of_principal.entry(live.principal.shared_id()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The session of the principal that has been idle for longest.
    pub(super) fn idlest_of(&self, principal: &Principal) -> Option<Arc<Live>> {
        idlest(
            self.all()
                .filter(|live| live.principal.id() == principal.id()),
        )
    }

    /// The session that goes for a new one of `tenant`: the one that has been idle for longest, of
    /// the tenants that have at least as many as that one would have.
    pub(super) fn idlest_for(&self, tenant: &str) -> Option<Arc<Live>> {
        let mut held: HashMap<&str, usize> = HashMap::from([(tenant, 1)]);
        for live in self.all() {
            *held.entry(live.principal.tenant()).or_default() += 1;
        }
        let wanted = held[tenant];
        idlest(
            self.all()
                .filter(|live| held[&**live.principal.tenant()] >= wanted),
        )
    }
}

fn idlest<'h>(sessions: impl Iterator<Item = &'h Arc<Live>>) -> Option<Arc<Live>> {
    sessions
        .filter_map(|live| Some((live.idle_for()?, live)))
        .max_by_key(|(idle, _)| *idle)
        .map(|(_, live)| live.clone())
}
