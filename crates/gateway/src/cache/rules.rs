use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use mcp_ultra_config::{CacheSection, CacheTtls, Config};
use mcp_ultra_domain::cache::{Freshness, Kind};

/// What the operator says of answers that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// By the names of servers; those of which nothing is kept are missing.
    servers: HashMap<String, Freshness>,
    /// The largest answer.
    pub largest: usize,
    /// Whether gateways keep answers for each other.
    pub shared: bool,
}

impl Rules {
    pub(crate) fn new(config: &Config) -> Self {
        let servers = config.enabled_servers().filter_map(|server| {
            let section = config.cache(server);
            let freshness = section.enabled.then(|| freshness(&section))?;
            Some((server.name.clone(), freshness))
        });
        Self {
            servers: servers.collect(),
            largest: config.cache.largest.as_usize(),
            shared: config.cache.shared,
        }
    }

    /// The servers for which something else held `before`.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<Arc<str>> {
        let all: BTreeSet<&String> = self.servers.keys().chain(before.servers.keys()).collect();
        let changed = all
            .into_iter()
            .filter(|server| self.of(server) != before.of(server));
        changed.map(|server| server.as_str().into()).collect()
    }

    /// What holds for a server; `None` where nothing of it is kept.
    pub(crate) fn of(&self, server: &str) -> Option<&Freshness> {
        self.servers.get(server)
    }
}

fn freshness(section: &CacheSection) -> Freshness {
    let CacheTtls {
        resources,
        prompts,
        completions,
        tools,
    } = section.ttl;
    let ttl = Kind::ALL.map(|kind| match kind {
        Kind::Resource => resources.get(),
        Kind::Prompt => prompts.get(),
        Kind::Completion => completions.get(),
        Kind::Tool => tools.get(),
    });
    Freshness {
        ttl,
        at_most: section.ttl_at_most.get(),
        stale: section.stale.get(),
        writes_outdate: section.writes_outdate,
    }
}
