//! Which grants something goes on with.

use std::{collections::HashMap, sync::Arc};

use mcp_ultra_edge::credentials::{GrantLife, WeakGrantLife};
use parking_lot::Mutex;

/// How many holders a life has that nothing goes on with: the token that is kept in memory.
const AT_REST: usize = 1;

/// Those of one server, by principal.
type OfServer = HashMap<Arc<str>, WeakGrantLife>;

/// The lives of the grants whose tokens are in memory, by server.
#[derive(Default)]
pub(super) struct Lives(Mutex<HashMap<Arc<str>, OfServer>>);

impl Lives {
    /// That of what `principal` has granted for `server`.
    pub(super) fn of(&self, principal: &str, server: &Arc<str>) -> GrantLife {
        let mut lives = self.0.lock();
        let lives = lives.entry(server.clone()).or_default();
        if let Some(known) = lives.get(principal).and_then(WeakGrantLife::upgrade) {
            return known;
        }
        let life = GrantLife::default();
        lives.insert(principal.into(), life.downgrade());
        life
    }

    /// Ends it: what `principal` grants from now on has another one.
    pub(super) fn end(&self, principal: &str, server: &str) {
        let life = {
            let mut lives = self.0.lock();
            let lives = lives.get_mut(server);
            lives.and_then(|lives| lives.remove(principal))
        };
        if let Some(life) = life.and_then(|life| life.upgrade()) {
            life.end();
        }
    }

    /// The principals with whose grants for `server` something goes on: a call, or a stream.
    pub(super) fn in_use(&self, server: &str) -> Vec<Arc<str>> {
        let mut lives = self.0.lock();
        let Some(lives) = lives.get_mut(server) else {
            return Vec::new();
        };
        lives.retain(|_, life| life.holders() > 0);
        let in_use = lives.iter().filter(|(_, life)| life.holders() > AT_REST);
        in_use.map(|(principal, _)| principal.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_is_of_one_grant_and_what_comes_after_it_has_another() {
        let lives = Lives::default();
        let (tickets, mail): (Arc<str>, Arc<str>) = ("tickets".into(), "mail".into());
        let token = lives.of("ana", &tickets);
        let others = [lives.of("bea", &tickets), lives.of("ana", &mail)];
        assert!(lives.in_use("tickets").is_empty(), "at rest");
        let call = lives.of("ana", &tickets);
        assert_eq!(lives.in_use("tickets"), ["ana".into()]);
        lives.end("ana", "tickets");
        call.ended().await;
        token.ended().await;
        let next = lives.of("ana", &tickets);
        for life in others.iter().chain([&next]) {
            let ended = tokio::time::timeout(std::time::Duration::ZERO, life.ended());
            assert!(ended.await.is_err());
        }
        drop((token, call, next, others));
        assert!(lives.in_use("tickets").is_empty());
        assert!(lives.0.lock()["tickets"].is_empty(), "nothing is kept");
    }
}
