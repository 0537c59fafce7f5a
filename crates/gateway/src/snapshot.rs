//! The immutable view that a call runs under; swapped whole.

use std::{borrow::Cow, sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Principal,
    catalog::{Catalog, Kind, ServerCapabilities, State},
};
use mcp_ultra_protocol::capabilities::EXTENSION_PREFIX;

use crate::{
    access::{Rules, View, Viewer, Views},
    upstream::Upstream,
};

/// The identifier of an extension and the text of its settings.
type Extension = (String, String);

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
    /// What callers may do.
    pub rules: Rules,
    views: Views,
}

impl Snapshot {
    pub(crate) fn new(upstreams: Vec<Arc<Upstream>>, catalog: Catalog, rules: Rules) -> Self {
        let capabilities = merged_capabilities(&upstreams, &catalog);
        let instructions = merged_instructions(&catalog, |_| true);
        if let Some(policies) = rules.policies() {
            for listed in Kind::ALL.iter().flat_map(|kind| catalog.items(*kind)) {
                policies.prepare(&listed.item.resource);
            }
        }
        Self {
            upstreams,
            catalog,
            capabilities,
            instructions,
            rules,
            views: Views::default(),
        }
    }

    /// What the principal may do; `None` where there are no policies and no kill switches, and so
    /// everything.
    pub(crate) fn view(&self, principal: &Principal) -> Option<Arc<View>> {
        let governs = self.rules.governs();
        governs.then(|| self.views.of(&self.rules, principal))
    }

    /// The instructions of the upstreams that the viewer sees anything of now.
    pub(crate) fn instructions_for(&self, viewer: &Viewer, now: Duration) -> Option<String> {
        match self.view(&viewer.principal) {
            None => self.instructions.clone(),
            Some(view) => merged_instructions(&self.catalog, self.shown_by(&view, viewer, now)),
        }
    }

    /// The extensions, with their settings, of the upstreams that the viewer sees anything of now.
    pub(crate) fn extensions_for(&self, viewer: &Viewer, now: Duration) -> Cow<'_, [Extension]> {
        match self.view(&viewer.principal) {
            None => Cow::Borrowed(&self.capabilities.extensions),
            Some(view) => {
                let shown = self.shown_by(&view, viewer, now);
                Cow::Owned(merged_extensions(&self.upstreams, &self.catalog, shown))
            }
        }
    }

    /// The names of the upstreams that are not answering, or that a circuit breaker leaves alone, among those that the viewer sees anything
    /// of now.
    pub(crate) fn unavailable_for(&self, viewer: &Viewer, now: Duration) -> Vec<&str> {
        let unavailable = unavailable(&self.catalog, &self.upstreams);
        match self.view(&viewer.principal) {
            None => unavailable.map(|(_, name)| name).collect(),
            Some(view) => {
                let shown = self.shown_by(&view, viewer, now);
                let unavailable = unavailable.filter(|(at, _)| shown(*at));
                unavailable.map(|(_, name)| name).collect()
            }
        }
    }

    /// Whether the upstreams that the viewer sees anything of stay the same until the snapshot
    /// changes.
    pub(crate) fn has_fixed_upstreams_for(&self, principal: &Principal) -> bool {
        self.view(principal)
            .is_none_or(|view| view.has_fixed_servers(self))
    }

    /// Whether anything is shown of the upstream at a position.
    fn shown_by(&self, view: &View, viewer: &Viewer, now: Duration) -> impl Fn(usize) -> bool {
        let circumstances = viewer.circumstances_at(now);
        move |at| view.shows_server(self, at, &circumstances)
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
    for source in catalog.sources() {
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
    }
    union.extensions = merged_extensions(upstreams, catalog, |_| true);
    // The gateway itself tells of changes: upstreams come and go.
    union.tools_changed = union.tools;
    union.prompts_changed = union.prompts;
    union.resources_changed = union.resources;
    union
}

/// The extensions of the upstreams that are shown, by position, with the settings of the first that
/// has each.
fn merged_extensions(
    upstreams: &[Arc<Upstream>],
    catalog: &Catalog,
    shown: impl Fn(usize) -> bool,
) -> Vec<Extension> {
    let mut union: Vec<Extension> = Vec::new();
    let sources = catalog.sources().iter().zip(upstreams).enumerate();
    for (_, (source, upstream)) in sources.filter(|(at, _)| shown(*at)) {
        let offer = source.offer.iter();
        for (id, settings) in offer.flat_map(|offer| &offer.capabilities.extensions) {
            let allowed = id
                .strip_prefix(EXTENSION_PREFIX)
                .is_some_and(|name| upstream.settings().extensions.contains(&name));
            if allowed && !union.iter().any(|(known, _)| known == id) {
                union.push((id.clone(), settings.clone()));
            }
        }
    }
    union
}

fn merged_instructions(catalog: &Catalog, shown: impl Fn(usize) -> bool) -> Option<String> {
    let parts: Vec<(&str, &str)> = catalog
        .sources()
        .iter()
        .enumerate()
        .filter(|(at, _)| shown(*at))
        .filter_map(|(_, source)| {
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

/// The upstreams that are not answering or left alone, by position and name.
fn unavailable<'s>(
    catalog: &'s Catalog,
    upstreams: &'s [Arc<Upstream>],
) -> impl Iterator<Item = (usize, &'s str)> {
    catalog
        .sources()
        .iter()
        .enumerate()
        .zip(upstreams)
        .filter(|((_, source), upstream)| {
            matches!(source.state, State::Unavailable { .. }) || upstream.is_left_alone()
        })
        .map(|((at, source), _)| (at, &*source.name))
}
