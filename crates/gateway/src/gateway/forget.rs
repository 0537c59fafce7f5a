//! What is kept of answers is forgotten for somebody's sake.

use std::sync::Arc;

use mcp_ultra_domain::{
    Principal,
    cache::{self, Outdated, Tag},
};

use super::Gateway;
use crate::upstream::Upstream;

/// A caller, of whatever kind.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'w> {
    /// Who vouches for them.
    pub issuer: &'w str,
    /// Who they are for the issuer.
    pub subject: &'w str,
}

/// Which answers of a tenant are to be forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Forget<'f> {
    /// The tenant that they were answered to.
    pub tenant: &'f str,
    /// The server that they are of; all where it is `None`.
    pub server: Option<&'f str>,
    /// Whose alone they are; everybody's where it is `None`.
    pub whose: Option<Whose<'f>>,
}

impl Forget<'_> {
    /// The tags of these answers.
    fn tags(&self) -> Vec<Tag> {
        match self.whose {
            None => vec![Tag::Tenant(cache::bucket(self.tenant))],
            Some(Whose { issuer, subject }) => {
                let ids = Principal::ids_of(self.tenant, issuer, subject);
                ids.map(|id| Tag::Subject(cache::bucket(&id))).into()
            }
        }
    }
}

impl Gateway {
    /// Forgets answers, here at once, and where other gateways have them as soon as they are told. How many
    /// were in memory here; `None` where there is no such server.
    pub fn forget(&self, what: &Forget) -> Option<usize> {
        let (servers, tags) = (self.servers_of(what)?, what.tags());
        for server in &servers {
            for tag in &tags {
                self.outdate_in_any_case(server, Outdated::Tagged(*tag));
            }
        }
        let forgotten = servers.iter();
        Some(
            forgotten
                .map(|server| self.cache.forget(what.tenant, server, &tags))
                .sum(),
        )
    }

    /// How many answers [`Gateway::forget`] would find in memory here; `None` where there is no such
    /// server.
    pub fn count_kept(&self, what: &Forget) -> Option<usize> {
        let (servers, tags) = (self.servers_of(what)?, what.tags());
        let there = servers.iter();
        Some(
            there
                .map(|server| self.cache.count(what.tenant, server, &tags))
                .sum(),
        )
    }

    fn servers_of(&self, what: &Forget) -> Option<Vec<Arc<str>>> {
        let snapshot = self.snapshot();
        let name = |upstream: &Arc<Upstream>| upstream.name().clone();
        match what.server {
            Some(server) => snapshot.upstream(server).map(|one| vec![name(one)]),
            None => Some(snapshot.upstreams.iter().map(name).collect()),
        }
    }
}
