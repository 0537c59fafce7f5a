//! Principals and resources as entities of Cedar.

use std::{collections::HashSet, sync::Arc};

use cedar_policy_core::{
    ast::{Eid, Entity, EntityType, EntityUID, Name, PartialValue, Value},
    entities::{Entities, TCComputation},
    extensions::Extensions,
};
use smol_str::SmolStr;

use super::{
    Action,
    resource::{Resource, Target},
    value::{Functions, datetime},
};
use crate::{Attributes, AuthorizationDetail};

/// A type of entities that the scope of a policy may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Principal,
    Tenant,
    Role,
    TenantRole,
    Server,
    DataClass,
    Tool,
    Prompt,
    Resource,
    Template,
    Administration,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Principal,
        Self::Tenant,
        Self::Role,
        Self::TenantRole,
        Self::Server,
        Self::DataClass,
        Self::Tool,
        Self::Prompt,
        Self::Resource,
        Self::Template,
        Self::Administration,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "Principal",
            Self::Tenant => "Tenant",
            Self::Role => "Role",
            Self::TenantRole => "TenantRole",
            Self::Server => "Server",
            Self::DataClass => "DataClass",
            Self::Tool => "Tool",
            Self::Prompt => "Prompt",
            Self::Resource => "Resource",
            Self::Template => "ResourceTemplate",
            Self::Administration => "Administration",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Tool(_) => Self::Tool,
            Target::Prompt => Self::Prompt,
            Target::Resource { .. } => Self::Resource,
            Target::Template => Self::Template,
            Target::Administration { .. } => Self::Administration,
        }
    }
}

/// The names of our schema, read once.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    types: Vec<EntityType>,
    kind: EntityType,
    view: EntityType,
    weekday: EntityType,
    /// The actions with the groups that they are in, in the order of [`Action::ALL`].
    actions: Vec<Arc<Entity>>,
    pub functions: Functions,
}

impl Vocabulary {
    /// `actions` are the entities of the schema's actions. `None` where it is not our schema.
    pub(super) fn new(actions: &Entities) -> Option<Self> {
        let entity_type = |name: &str| name.parse::<EntityType>().ok();
        let name = |name: &str| name.parse::<Name>().ok();
        let action = |action: Action| {
            let found = actions.iter().find(|entity| {
                let id: &str = entity.uid().eid().as_ref();
                id == action.as_str()
            });
            found.map(|entity| Arc::new(entity.clone()))
        };
        let types: Option<Vec<_>> = Kind::ALL
            .map(|kind| entity_type(kind.as_str()))
            .into_iter()
            .collect();
        let actions: Option<Vec<_>> = Action::ALL.map(action).into_iter().collect();
        Some(Self {
            types: types?,
            kind: entity_type("Kind")?,
            view: entity_type("View")?,
            weekday: entity_type("Weekday")?,
            actions: actions?,
            functions: Functions {
                decimal: name("decimal")?,
                address: name("ip")?,
                datetime: name("datetime")?,
            },
        })
    }

    pub(super) fn action(&self, action: Action) -> &Arc<Entity> {
        &self.actions[action as usize]
    }

    pub(super) fn view(&self, view: &'static str) -> Value {
        uid(&self.view, view).into()
    }

    pub(super) fn weekday(&self, weekday: &'static str) -> Value {
        uid(&self.weekday, weekday).into()
    }

    fn uid(&self, kind: Kind, id: &str) -> EntityUID {
        uid(&self.types[kind as usize], id)
    }

    /// The entity of a resource, with all that it is in.
    pub(super) fn resource(&self, resource: &Resource) -> Entity {
        let uid = self.uid(Kind::of(&resource.target), &resource.name);
        if let Target::Administration { tenant } = &resource.target {
            let tenant = tenant.as_deref();
            let attributes = tenant.map(|tenant| member("tenant", tenant));
            let parents = tenant.map(|tenant| self.uid(Kind::Tenant, tenant));
            return Entity::new_with_attr_partial_value(
                uid,
                attributes,
                HashSet::new(),
                parents.into_iter().collect(),
                [],
            );
        }
        let server = self.uid(Kind::Server, &resource.server);
        let class = self.uid(Kind::DataClass, resource.data_class.as_str());
        let mut attributes: Vec<(SmolStr, PartialValue)> = vec![
            member("name", &*resource.name),
            member("server", server.clone()),
            member("dataClass", class.clone()),
        ];
        if let Target::Tool(stated) = &resource.target {
            attributes.extend([
                member("readOnly", stated.read_only),
                member("destructive", stated.destructive),
                member("idempotent", stated.idempotent),
                member("openWorld", stated.open_world),
            ]);
        }
        let mut parents = HashSet::from([server, class]);
        if let Target::Resource { templates } = &resource.target {
            let templates = templates.exact.iter();
            parents.extend(templates.map(|template| self.uid(Kind::Template, template)));
        }
        Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), parents, [])
    }

    /// The entity of a principal, with its tenant and roles.
    pub(super) fn principal(&self, principal: &Attributes) -> Entity {
        let words = |words: &std::collections::BTreeSet<String>| {
            Value::set(words.iter().map(|word| Value::from(word.as_str())), None)
        };
        let login = &principal.login;
        let mut attributes: Vec<(SmolStr, PartialValue)> = vec![
            member("kind", uid(&self.kind, principal.kind.as_str())),
            member("subject", principal.subject.as_str()),
            member("issuer", principal.issuer.as_str()),
            member("tenant", &*principal.tenant),
            ("roles".into(), words(&principal.roles).into()),
            ("scopes".into(), words(&principal.scopes).into()),
            ("amr".into(), words(&login.amr).into()),
        ];
        let details = principal.authorization_details.iter().map(detail);
        attributes.push(member("authorizationDetails", Value::set(details, None)));
        if let Some(acr) = &login.acr {
            attributes.push(member("acr", acr.as_str()));
        }
        let time = login.auth_time;
        if let Some(time) = time.and_then(|time| datetime(&self.functions, time)) {
            attributes.push(member("authTime", time));
        }
        let parents = ancestors(principal)
            .into_iter()
            .map(|(kind, id)| self.uid(kind, &id))
            .collect();
        let uid = self.uid(Kind::Principal, &principal_id(principal));
        Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), parents, [])
    }
}

/// What was allowed in detail, as a record.
fn detail(detail: &AuthorizationDetail) -> Value {
    let AuthorizationDetail {
        kind,
        action,
        location,
        identifier,
        more,
    } = detail;
    let texts = [
        ("type", kind),
        ("action", action),
        ("location", location),
        ("identifier", identifier),
    ];
    let texts = texts.map(|(name, text)| (SmolStr::new_static(name), Value::from(text.as_str())));
    let more = (SmolStr::new_static("more"), Value::from(*more));
    Value::record(texts.into_iter().chain([more]), None)
}

fn uid(of: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(of.clone(), Eid::new(id), None)
}

fn member(name: &'static str, value: impl Into<Value>) -> (SmolStr, PartialValue) {
    (SmolStr::new_static(name), value.into().into())
}

/// The id of a principal in policies: its issuer, `|` and its subject. In the issuer, `|` is
/// written `%7C`, so that no two principals have one id.
pub(crate) fn principal_id(principal: &Attributes) -> String {
    if principal.issuer.is_empty() && principal.subject.is_empty() {
        return principal.kind.as_str().to_owned();
    }
    let issuer = principal.issuer.replace('%', "%25").replace('|', "%7C");
    format!("{issuer}|{}", principal.subject)
}

/// What a principal is in: its tenant, its roles, and its roles in its tenant.
pub(super) fn ancestors(principal: &Attributes) -> Vec<(Kind, String)> {
    let tenant = principal.tenant.replace('%', "%25").replace('/', "%2F");
    let mut all = vec![(Kind::Tenant, principal.tenant.to_string())];
    for role in &principal.roles {
        all.push((Kind::Role, role.clone()));
        all.push((Kind::TenantRole, format!("{tenant}/{role}")));
    }
    all
}

/// The entities of one request. Each of them names all that it is in, so there is no closure to
/// compute.
pub(super) fn entities(all: [&Arc<Entity>; 3]) -> Option<Entities> {
    Entities::new()
        .add_entities(
            all.into_iter().cloned(),
            None::<&cedar_policy_core::entities::NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .ok()
}
