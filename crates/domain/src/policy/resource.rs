use std::{
    borrow::Cow,
    iter,
    sync::{Arc, OnceLock},
};

use bytestring::ByteString;
use cedar_policy_core::ast::Entity;
use mcp_ultra_protocol::{json::Object, uri};

use super::{entity::Vocabulary, formula::Pattern};
use crate::catalog::Templates;

/// What something that is called may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataClass {
    /// Anyone may know it.
    Public,
    /// For the organisation itself.
    #[default]
    Internal,
    /// For some in the organisation.
    Confidential,
    /// Data of a person (LGPD Art. 5 I, GDPR Art. 4(1)).
    Personal,
    /// Data of a person that the law protects in particular (LGPD Art. 5 II, GDPR Art. 9).
    Sensitive,
}

impl DataClass {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Public,
        Self::Internal,
        Self::Confidential,
        Self::Personal,
        Self::Sensitive,
    ];

    /// Its id in policies and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Personal => "personal",
            Self::Sensitive => "sensitive",
        }
    }
}

/// What the things of one server may hold, by the names that the server itself gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    /// What they may hold that no exception fits.
    pub default: DataClass,
    /// Exceptions: names, in which `*` stands for any text. The first that fits counts.
    pub exceptions: Vec<(String, DataClass)>,
}

impl Classes {
    /// What the thing of that name may hold.
    pub fn of(&self, original: &str) -> DataClass {
        let fits =
            |(pattern, _): &&(String, DataClass)| Pattern::with_stars(pattern).fits(original);
        let exception = self.exceptions.iter().find(fits);
        exception.map_or(self.default, |(_, class)| *class)
    }

    /// What the resource with a URI of that normal form may hold, by names in any spelling.
    pub fn of_normal(&self, uri: &str) -> DataClass {
        let fits = |(pattern, _): &&(String, DataClass)| {
            Pattern::with_stars(pattern).fits(uri)
                || matches!(uri::normal(pattern), Cow::Owned(normal)
                    if Pattern::with_stars(&normal).fits(uri))
        };
        let exception = self.exceptions.iter().find(fits);
        exception.map_or(self.default, |(_, class)| *class)
    }
}

/// What a tool says of itself (MCP, `ToolAnnotations`), with the defaults of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// What it changes may be lost.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// It reaches things outside of its server's own world.
    pub open_world: bool,
}

impl Default for Annotations {
    fn default() -> Self {
        Self {
            read_only: false,
            destructive: true,
            idempotent: false,
            open_world: true,
        }
    }
}

impl Annotations {
    /// Those of a tool's definition. What is not stated, or not a boolean, is as the specification
    /// assumes; a tool that changes nothing destroys nothing.
    pub fn of(definition: &Object<'_>) -> Self {
        let stated = definition.get_object("annotations").ok().flatten();
        let hint = |key: &str, default: bool| {
            let stated = stated.as_ref().and_then(|stated| stated.get(key));
            stated.and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let default = Self::default();
        let read_only = hint("readOnlyHint", default.read_only);
        Self {
            read_only,
            destructive: !read_only && hint("destructiveHint", default.destructive),
            idempotent: hint("idempotentHint", default.idempotent),
            open_world: hint("openWorldHint", default.open_world),
        }
    }
}

/// What kind of thing is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A tool, or a task that it started.
    Tool(Annotations),
    /// A prompt.
    Prompt,
    /// A resource.
    Resource {
        /// The public URI templates that it is of.
        templates: Templates,
    },
    /// A resource template.
    Template,
    /// What the admin API administers.
    Administration {
        /// Whose it is; `None` for the gateway as a whole.
        tenant: Option<Arc<str>>,
    },
}

/// How the ids of administrations look.
const OF_TENANT: &str = "tenant:";
const OF_GATEWAY: &str = "gateway";

/// Something that may be called or administered, as policies see it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// What it is.
    pub target: Target,
    /// Its public name, URI or URI template.
    pub name: ByteString,
    /// The server that it belongs to.
    pub server: Arc<str>,
    /// What it may hold.
    pub data_class: DataClass,
    entity: OnceLock<Arc<Entity>>,
    /// The same with all templates that are possible, where there are any.
    widest: Option<Box<Resource>>,
    /// The same under the normal form of its URI, where policies see something else there.
    normal: Option<Box<Resource>>,
}

impl Resource {
    /// Something that may be called.
    pub fn new(target: Target, name: ByteString, server: Arc<str>, data_class: DataClass) -> Self {
        let widest = widened(&target).map(|target| {
            let (name, server) = (name.clone(), server.clone());
            Box::new(Self::new(target, name, server, data_class))
        });
        Self {
            widest,
            normal: None,
            target,
            name,
            server,
            data_class,
            entity: OnceLock::new(),
        }
    }

    /// The same, which is `normal` under the normal form of its URI ([`uri::normal`]). What is
    /// permitted has to be so under either.
    #[must_use]
    pub fn with_normal(mut self, normal: Self) -> Self {
        self.normal = Some(Box::new(normal));
        self
    }

    /// What the admin API administers: the things of a tenant, or, without one, of the gateway as a
    /// whole. What they are says the action.
    pub fn administration(tenant: Option<&str>) -> Self {
        let id = match tenant {
            Some(tenant) => format!("{OF_TENANT}{tenant}"),
            None => OF_GATEWAY.to_owned(),
        };
        let tenant = tenant.map(Arc::from);
        // It is of no server and has no class, and neither is looked at.
        Self::new(
            Target::Administration { tenant },
            id.into(),
            "".into(),
            DataClass::default(),
        )
    }

    /// The administration with that id in policies: `tenant:` and the tenant, or `gateway`.
    pub fn administration_named(id: &str) -> Option<Self> {
        match id.strip_prefix(OF_TENANT) {
            Some(tenant) if !tenant.is_empty() => Some(Self::administration(Some(tenant))),
            None if id == OF_GATEWAY => Some(Self::administration(None)),
            _ => None,
        }
    }

    /// The same as a server may see it that is less strict about templates than RFC 6570; `None`
    /// where that makes no difference. What is permitted has to be so either way.
    fn widest(&self) -> Option<&Self> {
        self.widest.as_deref()
    }

    /// What else servers may take it for, and whether under the normal form of its URI. What is
    /// permitted has to be so in all of these forms. `spellings` says that policies write URIs in
    /// other spellings, which are then to be found by their normal form.
    pub(super) fn forms(&self, spellings: bool) -> impl Iterator<Item = (&Self, bool)> {
        let is_resource = matches!(self.target, Target::Resource { .. });
        let same = (spellings && is_resource).then_some(self);
        let normal = self.normal.as_deref().or(same);
        let with_widest = normal.into_iter().flat_map(|normal| {
            let forms = iter::once(normal).chain(normal.widest());
            forms.map(|form| (form, true))
        });
        let widest = self.widest().map(|widest| (widest, false));
        widest.into_iter().chain(with_widest)
    }

    /// What Cedar evaluates, made when a condition first needs it.
    pub(super) fn entity(&self, vocabulary: &Vocabulary) -> &Arc<Entity> {
        self.entity
            .get_or_init(|| Arc::new(vocabulary.resource(self)))
    }
}

/// The target with every template that is possible in the place of those that are certain.
fn widened(target: &Target) -> Option<Target> {
    let Target::Resource { templates } = target else {
        return None;
    };
    let Templates { exact, possible } = templates;
    (!possible.is_empty()).then(|| Target::Resource {
        templates: Templates {
            exact: exact.iter().chain(possible).cloned().collect(),
            possible: Vec::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(definition: &str) -> Annotations {
        Annotations::of(&Object::parse(definition).unwrap())
    }

    #[test]
    fn what_a_tool_does_not_state_is_as_the_specification_assumes() {
        assert_eq!(of("{}"), Annotations::default());
        assert_eq!(of(r#"{"annotations":7}"#), Annotations::default());
        let stated = of(r#"{"annotations":{"readOnlyHint":"yes","openWorldHint":false}}"#);
        assert_eq!((stated.read_only, stated.open_world), (false, false));
    }

    #[test]
    fn the_first_exception_that_fits_counts() {
        let classes = Classes {
            default: DataClass::Confidential,
            exceptions: vec![
                ("get_*_name".into(), DataClass::Public),
                ("get_*".into(), DataClass::Personal),
                ("*".into(), DataClass::Internal),
            ],
        };
        for (name, class) in [
            ("get_my_name", DataClass::Public),
            ("get_name", DataClass::Personal),
            ("get_", DataClass::Personal),
            ("forget_x", DataClass::Internal),
        ] {
            assert_eq!(classes.of(name), class, "{name}");
        }
        assert_eq!(Classes::default().of("x"), DataClass::Internal);
    }

    #[test]
    fn an_administration_is_known_by_its_id() {
        for tenant in [Some("acme"), Some("gateway"), Some("tenant:x"), None] {
            let made = Resource::administration(tenant);
            let named = Resource::administration_named(&made.name).unwrap();
            assert_eq!((named.target, named.name), (made.target, made.name));
        }
        for id in ["", "tenant:", "acme", "gateway "] {
            assert!(Resource::administration_named(id).is_none(), "{id}");
        }
    }

    #[test]
    fn a_tool_that_changes_nothing_destroys_nothing() {
        let stated = of(r#"{"annotations":{"readOnlyHint":true,"destructiveHint":true}}"#);
        assert!(stated.read_only && !stated.destructive);
    }
}
