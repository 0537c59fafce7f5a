use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use bytestring::ByteString;
use mcp_ultra_protocol::{
    json::{self, Object},
    names::Naming,
    param_headers::{self, InvalidAnnotation, ParamHeader},
    uri,
};

use super::{
    effect::{Effect, Trust},
    template::Templates,
};
use crate::policy::{Annotations, Classes, Resource, Target};

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tools/list`
    Tool,
    /// `prompts/list`
    Prompt,
    /// `resources/list`
    Resource,
    /// `resources/templates/list`
    Template,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::Template];

    /// The key of the array in a list result.
    pub fn list_key(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::Template => "resourceTemplates",
        }
    }

    /// The method that lists.
    pub fn list_method(self) -> &'static str {
        match self {
            Self::Tool => "tools/list",
            Self::Prompt => "prompts/list",
            Self::Resource => "resources/list",
            Self::Template => "resources/templates/list",
        }
    }

    /// The key of the name in a definition.
    fn name_key(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }
}

/// One tool, prompt, resource or template under its public name.
#[derive(Debug, Clone)]
pub struct Item {
    /// The public name, URI or URI template.
    pub public: ByteString,
    /// The upstream's own.
    pub original: ByteString,
    /// The definition for modern clients, with the public name in it.
    pub modern: ByteString,
    /// The definition for legacy clients.
    pub legacy: ByteString,
    /// Arguments of a tool that are mirrored into headers.
    pub params: Vec<ParamHeader>,
    /// What policies see of it.
    pub resource: Resource,
    /// What calling it does, where it is a tool; reading changes nothing.
    pub effect: Effect,
    /// A hash of the definition, good for this process.
    pub digest: u64,
}

/// What the operator says of a server's items.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// The server's name in the configuration.
    pub server: Arc<str>,
    /// What its items may hold.
    pub classes: Classes,
    /// Whose word on what they do counts.
    pub trust: Trust,
}

impl Labels {
    /// What policies see of the resource with that URI of the server's own. `templates` are those
    /// that it is of, and `templates_of` says it for the normal form of its URI, under the public
    /// one: a server may put a URI into that form before it looks at it.
    pub fn resource(
        &self,
        original: &str,
        naming: &Naming,
        templates: Templates,
        templates_of: impl FnOnce(&str) -> Templates,
    ) -> Resource {
        let of = |public: Cow<'_, str>, templates, class| {
            let target = Target::Resource { templates };
            let public = ByteString::from(public.into_owned());
            Resource::new(target, public, self.server.clone(), class)
        };
        let class = self.classes.of(original);
        let resource = of(naming.public_uri(original), templates, class);
        let normal = uri::normal(original);
        let normal_class = self.classes.of_normal(&normal);
        if normal == original && normal_class == class {
            return resource;
        }
        let public = naming.public_uri(&normal);
        let templates = templates_of(&public);
        resource.with_normal(of(public, templates, normal_class))
    }
}

/// Why a definition is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not an object with a name.
    #[error("the definition has no \"{0}\"")]
    NoName(&'static str),
    /// Not readable.
    #[error("the definition can't be read: {0}")]
    Unreadable(String),
    /// 2026-07-28 forbids a client to offer such a tool.
    #[error("{0}")]
    Annotation(#[from] InvalidAnnotation),
}

impl Item {
    /// Reads a definition as an upstream sent it and gives it its public name.
    ///
    /// # Errors
    /// [`Unusable`]: one bad definition leaves the others of the list alone.
    pub fn new(
        kind: Kind,
        definition: &str,
        naming: &Naming,
        labels: &Labels,
    ) -> Result<Self, Unusable> {
        let object =
            Object::parse(definition).map_err(|error| Unusable::Unreadable(error.to_string()))?;
        let key = kind.name_key();
        let original = object
            .get_str(key)
            .filter(|name| !name.is_empty())
            .ok_or(Unusable::NoName(key))?;
        let params = match (kind, object.get("inputSchema")) {
            (Kind::Tool, Some(schema)) => param_headers::of_schema(schema)?,
            _ => Vec::new(),
        };
        let public = match kind {
            Kind::Tool | Kind::Prompt => naming.public_name(&original),
            Kind::Resource | Kind::Template => naming.public_uri(&original),
        };
        let mut edit = object.edit();
        if !naming.is_identity() {
            edit = edit.set(key, json::quote(&public));
        }
        let ui_meta = object
            .get("_meta")
            .and_then(|meta| public_ui_meta(meta, naming));
        if let Some(meta) = ui_meta {
            edit = edit.set("_meta", meta);
        }
        let modern: ByteString = edit.finish().into();
        let legacy = legacy_definition(kind, &modern);
        let public: ByteString = public.into_owned().into();
        let of = |target| {
            let class = labels.classes.of(&original);
            Resource::new(target, public.clone(), labels.server.clone(), class)
        };
        let stated = Annotations::of(&object);
        let effect = match kind {
            Kind::Tool => labels.trust.effect(&original, stated),
            Kind::Prompt | Kind::Resource | Kind::Template => Effect::ReadOnly,
        };
        let resource = match kind {
            Kind::Tool => of(Target::Tool(stated)),
            Kind::Prompt => of(Target::Prompt),
            Kind::Resource => {
                let none = Templates::default;
                labels.resource(&original, naming, none(), |_| none())
            }
            Kind::Template => of(Target::Template),
        };
        let digest = hash(&modern);
        Ok(Self {
            resource,
            effect,
            digest,
            public,
            original: original.into_owned().into(),
            modern,
            legacy,
            params,
        })
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// `_meta.ui.resourceUri` (MCP Apps) with the public URI; `None` where there is nothing to change.
fn public_ui_meta(meta: &str, naming: &Naming) -> Option<String> {
    if naming.is_identity() {
        return None;
    }
    let meta = Object::parse(meta).ok()?;
    let mut edit = meta.edit();
    let mut changed = false;
    // The flat key is what earlier drafts of the extension used; servers still send it.
    if let Some(uri) = meta.get_str("ui/resourceUri") {
        edit = edit.set_str("ui/resourceUri", &naming.public_uri(&uri));
        changed = true;
    }
    if let Ok(Some(ui)) = meta.get_object("ui")
        && let Some(uri) = ui.get_str("resourceUri")
    {
        let ui = ui
            .edit()
            .set_str("resourceUri", &naming.public_uri(&uri))
            .finish();
        edit = edit.set("ui", ui);
        changed = true;
    }
    changed.then(|| edit.finish())
}

/// Legacy revisions know output schemas of objects only; 2026-07-28 allows any.
fn legacy_definition(kind: Kind, modern: &ByteString) -> ByteString {
    if kind != Kind::Tool {
        return modern.clone();
    }
    let Ok(object) = Object::parse(modern) else {
        return modern.clone();
    };
    let Some(schema) = object.get("outputSchema") else {
        return modern.clone();
    };
    let is_object_schema = Object::parse(schema)
        .is_ok_and(|schema| schema.get_str("type").is_some_and(|kind| kind == "object"));
    if is_object_schema {
        modern.clone()
    } else {
        object.edit().remove("outputSchema").finish().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_keeps_all_but_its_name() {
        let naming = Naming::prefixed("crm").unwrap();
        let text = r#"{"x":1e9,"name":"find","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://a","k":1}}}"#;
        let item = Item::new(Kind::Tool, text, &naming, &Labels::default()).unwrap();
        assert_eq!(
            item.modern,
            r#"{"x":1e9,"name":"crm_find","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"crm+ui://a","k":1}}}"#
        );
        assert_eq!((&*item.public, &*item.original), ("crm_find", "find"));
    }

    #[test]
    fn an_output_schema_of_no_object_is_not_for_legacy_clients() {
        let text = r#"{"name":"a","outputSchema":{"type":"array"}}"#;
        let item = Item::new(Kind::Tool, text, &Naming::identity(), &Labels::default()).unwrap();
        assert_eq!(item.modern, text);
        assert_eq!(item.legacy, r#"{"name":"a"}"#);
    }

    #[test]
    fn bad_definitions_are_named() {
        for text in [
            "[]",
            "{}",
            r#"{"name":""}"#,
            r#"{"name":7}"#,
            r#"{"name":"a","name":"b"}"#,
        ] {
            assert!(
                Item::new(Kind::Tool, text, &Naming::identity(), &Labels::default()).is_err(),
                "{text}"
            );
        }
    }
}
