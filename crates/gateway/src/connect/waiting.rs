//! Who waits until they have connected a server, and that they are few: whoever waits holds a place
//! of `limits.calls`, and sends one call after the other for nothing.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

/// How many calls of one principal wait for one server.
const MOST_EACH: usize = 4;

/// The calls that wait, by server and principal.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    servers: HashMap<Arc<str>, usize>,
    each: HashMap<(Arc<str>, Arc<str>), usize>,
}

/// Counts one call as waiting for as long as it is held.
pub(super) struct Place {
    waiting: Arc<Waiting>,
    server: Arc<str>,
    principal: Arc<str>,
}

impl Waiting {
    /// A place for one more; `None` where as many wait as may: some for each principal, and
    /// `most` for the server.
    pub(super) fn enter(
        self: &Arc<Self>,
        server: &Arc<str>,
        principal: &Arc<str>,
        most: usize,
    ) -> Option<Place> {
        let mut counts = self.0.lock();
        let key = (server.clone(), principal.clone());
        let own = counts.each.get(&key).copied().unwrap_or_default();
        let all = counts.servers.get(server).copied().unwrap_or_default();
        if own >= MOST_EACH || all >= most {
            return None;
        }
        counts.each.insert(key, own + 1);
        counts.servers.insert(server.clone(), all + 1);
        Some(Place {
            waiting: self.clone(),
            server: server.clone(),
            principal: principal.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.0.lock();
        leave(&mut counts.servers, &self.server);
        leave(
            &mut counts.each,
            &(self.server.clone(), self.principal.clone()),
        );
    }
}

fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_wait_for_each_principal_and_for_each_server() {
        let waiting = Arc::<Waiting>::default();
        let (tickets, mail): (Arc<str>, Arc<str>) = ("tickets".into(), "mail".into());
        let (ana, bea): (Arc<str>, Arc<str>) = ("ana".into(), "bea".into());
        let mut places: Vec<Place> = (0..MOST_EACH)
            .map(|_| waiting.enter(&tickets, &ana, 6).unwrap())
            .collect();
        assert!(waiting.enter(&tickets, &ana, 6).is_none());
        assert!(waiting.enter(&mail, &ana, 6).is_some(), "another server");
        places.push(waiting.enter(&tickets, &bea, 6).unwrap());
        places.push(waiting.enter(&tickets, &bea, 6).unwrap());
        assert!(waiting.enter(&tickets, &bea, 6).is_none(), "the server's");
        places.remove(0);
        assert!(waiting.enter(&tickets, &ana, 6).is_some());
        drop(places);
        let counts = waiting.0.lock();
        assert!(counts.servers.is_empty() && counts.each.is_empty());
    }
}
