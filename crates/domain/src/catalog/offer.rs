use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_protocol::{
    capabilities,
    json::{self, Object},
    names::Naming,
    uri,
};

use super::{
    item::{Item, Kind, Labels, Unusable},
    template::{Template, Templates, templates_of},
};

/// What an upstream said about itself and listed, as text.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// Its capabilities, the text of an object.
    pub capabilities: ByteString,
    /// Its instructions for the model.
    pub instructions: Option<String>,
    /// The definitions, by kind.
    pub definitions: Vec<(Kind, ByteString)>,
    /// How long its lists are fresh, in milliseconds, where it said.
    pub ttl_ms: Option<u64>,
    /// Whether it marked any list as private.
    pub private: bool,
}

impl Raw {
    /// The bytes of all definitions.
    pub fn size(&self) -> usize {
        self.definitions.iter().map(|(_, text)| text.len()).sum()
    }

    /// All but the definitions.
    #[must_use]
    pub fn without_definitions(&self) -> Self {
        Self {
            capabilities: self.capabilities.clone(),
            instructions: self.instructions.clone(),
            definitions: Vec::new(),
            ttl_ms: self.ttl_ms,
            private: self.private,
        }
    }
}

/// What one upstream offers, under public names.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// What it can do.
    pub capabilities: ServerCapabilities,
    /// Its instructions for the model.
    pub instructions: Option<String>,
    /// How long its lists are fresh, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Whether its lists are for this caller only.
    pub private: bool,
    items: [Vec<Arc<Item>>; 4],
    templates: Vec<Template>,
}

/// What a server declared, as far as the gateway decides by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCapabilities {
    /// Has tools.
    pub tools: bool,
    /// Tells when the tools change.
    pub tools_changed: bool,
    /// Has prompts.
    pub prompts: bool,
    /// Tells when the prompts change.
    pub prompts_changed: bool,
    /// Has resources.
    pub resources: bool,
    /// Tells when the resources change.
    pub resources_changed: bool,
    /// Tells when a resource is updated.
    pub subscribe: bool,
    /// Completes arguments.
    pub completions: bool,
    /// Sends log messages.
    pub logging: bool,
    /// Declared extensions: identifier and the text of the settings.
    pub extensions: Vec<(String, String)>,
    /// The text of the legacy `tasks` capability (2025-11-25), where declared.
    pub legacy_tasks: Option<String>,
}

impl ServerCapabilities {
    /// Reads the text of a `ServerCapabilities` object. What is not understood is absent.
    pub fn parse(text: &str) -> Self {
        let Ok(object) = Object::parse(text) else {
            return Self::default();
        };
        let part = |key: &str| object.get(key).filter(|value| json::is_object(value));
        let flag = |key: &str, flag: &str| {
            part(key)
                .and_then(|text| Object::parse(text).ok())
                .is_some_and(|part| part.get(flag) == Some("true"))
        };
        Self {
            tools: part("tools").is_some(),
            tools_changed: flag("tools", "listChanged"),
            prompts: part("prompts").is_some(),
            prompts_changed: flag("prompts", "listChanged"),
            resources: part("resources").is_some(),
            resources_changed: flag("resources", "listChanged"),
            subscribe: flag("resources", "subscribe"),
            completions: part("completions").is_some(),
            logging: part("logging").is_some(),
            extensions: capabilities::extensions(text),
            legacy_tasks: part("tasks").map(str::to_owned),
        }
    }

    /// Whether the server has lists of `kind`.
    pub fn lists(&self, kind: Kind) -> bool {
        match kind {
            Kind::Tool => self.tools,
            Kind::Prompt => self.prompts,
            Kind::Resource | Kind::Template => self.resources,
        }
    }
}

impl Offer {
    /// Gives everything in `raw` its public name. Definitions that can't be used are left out and
    /// returned with the reason.
    pub fn new(raw: &Raw, naming: &Naming, labels: &Labels) -> (Self, Vec<(Kind, Unusable)>) {
        let mut offer = Self {
            capabilities: ServerCapabilities::parse(&raw.capabilities),
            instructions: raw.instructions.clone(),
            ttl_ms: raw.ttl_ms,
            private: raw.private,
            items: Default::default(),
            templates: Vec::new(),
        };
        let mut unusable = Vec::new();
        for (kind, definition) in &raw.definitions {
            match Item::new(*kind, definition, naming, labels) {
                Ok(item) => offer.items[*kind as usize].push(Arc::new(item)),
                Err(reason) => unusable.push((*kind, reason)),
            }
        }
        offer.name_templates(naming, labels);
        (offer, unusable)
    }

    /// The templates that the resource under a public URI is of.
    pub fn templates_of(&self, uri: &str) -> Templates {
        templates_of(&self.templates, uri)
    }

    /// Whether a public URI is another spelling of one of the templates: those that a server may
    /// take for it, and that are listed under another name.
    pub fn spells_template(&self, text: &str) -> bool {
        let normal = uri::normal(text);
        let templates = self.items(Kind::Template).iter();
        templates
            .filter(|item| *item.public != *text)
            .any(|item| uri::normal(&item.public) == normal)
    }

    /// Reads the templates, and notes for each listed resource those that it is of, so that
    /// policies see it the same whether it is listed or not.
    fn name_templates(&mut self, naming: &Naming, labels: &Labels) {
        let templates = self.items(Kind::Template).iter();
        self.templates = templates
            .map(|item| Template::new(item.public.clone()))
            .collect();
        if self.templates.is_empty() {
            return;
        }
        let mut resources = std::mem::take(&mut self.items[Kind::Resource as usize]);
        for item in &mut resources {
            let templates = self.templates_of(&item.public);
            if let Some(item) = Arc::get_mut(item) {
                let templates_of = |uri: &str| self.templates_of(uri);
                item.resource = labels.resource(&item.original, naming, templates, templates_of);
            }
        }
        self.items[Kind::Resource as usize] = resources;
    }

    /// The items of `kind`, in the upstream's order.
    pub fn items(&self, kind: Kind) -> &[Arc<Item>] {
        &self.items[kind as usize]
    }
}
