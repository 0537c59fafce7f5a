//! The immutable view that a call runs under; swapped whole.

use std::sync::Arc;

use mcp_ultra_domain::catalog::{Catalog, ServerCapabilities, State};
use mcp_ultra_protocol::capabilities::EXTENSION_PREFIX;

use crate::upstream::Upstream;

/// What a call sees of the world.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The upstreams, in the order of the configuration: the order of [`Catalog::sources`].
    pub upstreams: Vec<Arc<Upstream>>,
    pub catalog: Catalog,
    /// What the gateway declares: the union of what the upstreams do.
    pub capabilities: ServerCapabilities,
    /// The instructions of all upstreams, merged.
    pub instructions: Option<String>,
}

impl Snapshot {
    pub(crate) fn new(upstreams: Vec<Arc<Upstream>>, catalog: Catalog) -> Self {
        let capabilities = merged_capabilities(&upstreams, &catalog);
        let instructions = merged_instructions(&catalog);
        Self {
            upstreams,
            catalog,
            capabilities,
            instructions,
        }
    }

    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams
            .iter()
            .find(|upstream| &**upstream.name() == name)
    }
}

/// The union. An upstream that has not answered yet may have anything, and a legacy client is
/// told only once: then tools, prompts and resources are declared, since empty lists do no harm.
fn merged_capabilities(upstreams: &[Arc<Upstream>], catalog: &Catalog) -> ServerCapabilities {
    let mut union = ServerCapabilities::default();
    for (source, upstream) in catalog.sources().iter().zip(upstreams) {
        let Some(offer) = &source.offer else {
            union.tools = true;
            union.prompts = true;
            union.resources = true;
            union.completions = true;
            continue;
        };
        let one = &offer.capabilities;
        union.tools |= one.tools;
        union.prompts |= one.prompts;
        union.resources |= one.resources;
        union.subscribe |= one.subscribe;
        union.completions |= one.completions;
        union.logging |= one.logging;
        for (id, settings) in &one.extensions {
            let allowed = id
                .strip_prefix(EXTENSION_PREFIX)
                .is_some_and(|name| upstream.settings().extensions.contains(&name));
            if allowed && !union.extensions.iter().any(|(known, _)| known == id) {
                union.extensions.push((id.clone(), settings.clone()));
            }
        }
    }
    // The gateway itself tells of changes: upstreams come and go.
    union.tools_changed = union.tools;
    union.prompts_changed = union.prompts;
    union.resources_changed = union.resources;
    union
}

fn merged_instructions(catalog: &Catalog) -> Option<String> {
    let parts: Vec<(&str, &str)> = catalog
        .sources()
        .iter()
        .filter_map(|source| {
            let text = source.offer.as_ref()?.instructions.as_deref()?.trim();
            (!text.is_empty()).then_some((&*source.name, text))
        })
        .collect();
    match &parts[..] {
        [] => None,
        // One upstream's words need no heading.
        [(_, text)] if catalog.sources().len() == 1 => Some((*text).to_owned()),
        many => Some(
            many.iter()
                .map(|(name, text)| format!("## {name}\n\n{text}"))
                .collect::<Vec<_>>()
                .join("\n\n"),
        ),
    }
}

/// The names of the upstreams that are not answering.
pub(crate) fn unavailable(catalog: &Catalog) -> Vec<&str> {
    catalog
        .sources()
        .iter()
        .filter(|source| matches!(source.state, State::Unavailable { .. }))
        .map(|source| &*source.name)
        .collect()
}
