//! Policies by what their scope says.

use std::{collections::HashMap, sync::Arc};

use bytestring::ByteString;
use cedar_policy_core::ast::{
    self, ActionConstraint, EntityReference, EntityUID, PrincipalOrResourceConstraint as Constraint,
};
use smol_str::SmolStr;

use super::{
    Action,
    entity::Kind,
    needs,
    resource::{Resource, Target},
    spelling,
};

/// The position of a policy among all of them.
pub(super) type At = u32;

/// A number for each entity that a scope names: what no scope names is in no index.
#[derive(Debug, Default)]
pub(super) struct Named([HashMap<SmolStr, u32>; Kind::ALL.len()], u32);

impl Named {
    fn add(&mut self, kind: Kind, id: SmolStr) -> u32 {
        let next = self.1;
        let number = *self.0[kind as usize].entry(id).or_insert(next);
        self.1 = next.max(number + 1);
        number
    }

    pub(super) fn get(&self, kind: Kind, id: &str) -> Option<u32> {
        self.0[kind as usize].get(id).copied()
    }
}

/// What the scope of a policy says of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OfResource {
    Any,
    Is(Kind),
    Eq(u32),
    In(u32),
    IsIn(Kind, u32),
    /// The resource with a URI of this normal form, where the policy writes it otherwise.
    Spelled(u32),
}

/// The policies for one action and one kind of principal, by resource.
pub(super) type Bucket = HashMap<OfResourceKey, Vec<At>>;

/// Hides the key from those that only pass a bucket on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OfResourceKey(OfResource);

/// For each action, the policies by the entity that the principal must be or be in; under `None`
/// those for all principals.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub named: Named,
    by_action: [HashMap<Option<u32>, Arc<Bucket>>; Action::ALL.len()],
}

/// An index that is being made.
#[derive(Default)]
pub(super) struct Builder {
    named: Named,
    by_action: [HashMap<Option<u32>, Bucket>; Action::ALL.len()],
    spellings: bool,
}

impl Builder {
    /// Adds a policy. `groups` are the actions of each group.
    pub(super) fn add(
        &mut self,
        at: At,
        policy: &ast::Policy,
        groups: &HashMap<SmolStr, Vec<Action>>,
    ) {
        let principal = policy.principal_constraint();
        // A principal that is something else, or equal to something else, there is none.
        let principal = match principal.as_inner() {
            Constraint::Any => None,
            Constraint::Is(of) if of.to_string() == Kind::Principal.as_str() => None,
            Constraint::IsIn(of, EntityReference::EUID(uid))
                if of.to_string() == Kind::Principal.as_str() =>
            {
                Some(uid)
            }
            Constraint::In(EntityReference::EUID(uid)) => Some(uid),
            Constraint::Eq(EntityReference::EUID(uid))
                if kind(uid).is_some_and(|(kind, _)| kind == Kind::Principal) =>
            {
                Some(uid)
            }
            _ => return,
        };
        let principal = match principal.map(|uid| kind(uid)) {
            None => None,
            Some(Some((kind, id))) => Some(self.named.add(kind, id)),
            Some(None) => return,
        };
        let Some(resource) = self.of_resource(policy.resource_constraint().as_inner()) else {
            return;
        };
        let spelled = self.spelled(policy.resource_constraint().as_inner());
        for action in actions(policy.action_constraint(), groups) {
            for resource in [Some(resource), spelled].into_iter().flatten() {
                self.by_action[action as usize]
                    .entry(principal)
                    .or_default()
                    .entry(OfResourceKey(resource))
                    .or_default()
                    .push(at);
            }
        }
    }

    /// Whether any scope writes a URI in another spelling than its normal form.
    pub(super) fn has_spellings(&self) -> bool {
        self.spellings
    }

    fn spelled(&mut self, constraint: &Constraint) -> Option<OfResource> {
        let (Constraint::Eq(EntityReference::EUID(uid))
        | Constraint::In(EntityReference::EUID(uid))
        | Constraint::IsIn(_, EntityReference::EUID(uid))) = constraint
        else {
            return None;
        };
        if let Constraint::IsIn(of, _) = constraint
            && of.to_string() != Kind::Resource.as_str()
        {
            return None;
        }
        let (kind, id) = kind(&spelling::normal_id(uid)?)?;
        self.spellings = true;
        Some(OfResource::Spelled(self.named.add(kind, id)))
    }

    fn of_resource(&mut self, constraint: &Constraint) -> Option<OfResource> {
        let mut number = |uid: &EntityUID| {
            let (kind, id) = kind(uid)?;
            Some(self.named.add(kind, id))
        };
        Some(match constraint {
            Constraint::Any => OfResource::Any,
            Constraint::Is(of) => OfResource::Is(Kind::named(&of.to_string())?),
            Constraint::Eq(EntityReference::EUID(uid)) => OfResource::Eq(number(uid)?),
            Constraint::In(EntityReference::EUID(uid)) => OfResource::In(number(uid)?),
            Constraint::IsIn(of, EntityReference::EUID(uid)) => {
                OfResource::IsIn(Kind::named(&of.to_string())?, number(uid)?)
            }
            _ => return None,
        })
    }

    pub(super) fn finish(self) -> Index {
        let by_action = self.by_action.map(|by_principal| {
            by_principal
                .into_iter()
                .map(|(key, bucket)| (key, Arc::new(bucket)))
                .collect()
        });
        Index {
            named: self.named,
            by_action,
        }
    }
}

impl Index {
    /// The policies of an action for one that is, or is in, the entities with these numbers.
    pub(super) fn buckets(&self, action: Action, principal: &[u32]) -> Vec<Arc<Bucket>> {
        let by_principal = &self.by_action[action as usize];
        let own = principal.iter().copied().map(Some);
        own.chain([None])
            .filter_map(|key| by_principal.get(&key).cloned())
            .collect()
    }

    /// Calls `each` with every policy in `buckets` whose scope fits the resource. `spelled` says
    /// that its name is the normal form of its URI, and fits all spellings of that.
    pub(super) fn candidates(
        &self,
        buckets: &[Arc<Bucket>],
        resource: &Resource,
        spelled: bool,
        mut each: impl FnMut(At),
    ) {
        let of = Kind::of(&resource.target);
        let own = self.named.get(of, &resource.name);
        let within = if let Target::Administration { tenant } = &resource.target {
            let tenant = tenant.as_deref();
            let tenant = tenant.and_then(|tenant| self.named.get(Kind::Tenant, tenant));
            [own, tenant, None]
        } else {
            let class = resource.data_class.as_str();
            [
                own,
                self.named.get(Kind::Server, &resource.server),
                self.named.get(Kind::DataClass, class),
            ]
        };
        let templates: &[ByteString] = match &resource.target {
            Target::Resource { templates } => &templates.exact,
            _ => &[],
        };
        let templates = templates.iter();
        let templates = templates.filter_map(|of| self.named.get(Kind::Template, of));
        // As many as the policies name and the resource is of: most often none.
        let templates: Vec<u32> = templates.collect();
        for bucket in buckets {
            let mut look = |key: OfResource| {
                if let Some(found) = bucket.get(&OfResourceKey(key)) {
                    found.iter().copied().for_each(&mut each);
                }
            };
            look(OfResource::Any);
            look(OfResource::Is(of));
            if let Some(own) = own {
                look(OfResource::Eq(own));
                if spelled {
                    look(OfResource::Spelled(own));
                }
            }
            for within in within
                .into_iter()
                .flatten()
                .chain(templates.iter().copied())
            {
                look(OfResource::In(within));
                look(OfResource::IsIn(of, within));
            }
        }
    }
}

/// The kind and id of an entity that a scope may name.
fn kind(uid: &EntityUID) -> Option<(Kind, SmolStr)> {
    let (kind, id) = needs::key(uid);
    Some((Kind::named(&kind)?, id))
}

/// How a policy comes to be about what the admin API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Its scope names an administration or an action of the admin API.
    Named,
    /// Its scope names neither, so that it is about everything.
    All,
}

/// Whether the scope of a policy fits any action of the admin API.
pub(super) fn reaches_admin(
    policy: &ast::Policy,
    groups: &HashMap<SmolStr, Vec<Action>>,
) -> Option<Reach> {
    let action = policy.action_constraint();
    if !actions(action, groups).into_iter().any(Action::is_admin) {
        return None;
    }
    let resource = policy.resource_constraint();
    let resource = resource.as_inner();
    let fits = |uid: &EntityUID| {
        kind(uid).is_some_and(|(kind, _)| matches!(kind, Kind::Administration | Kind::Tenant))
    };
    let is = |of: &ast::EntityType| of.to_string() == Kind::Administration.as_str();
    let reaches = match resource {
        Constraint::Any => true,
        Constraint::Is(of) => is(of),
        Constraint::Eq(EntityReference::EUID(uid)) | Constraint::In(EntityReference::EUID(uid)) => {
            fits(uid)
        }
        Constraint::IsIn(of, EntityReference::EUID(uid)) => is(of) && fits(uid),
        _ => false,
    };
    let all = matches!(action, ActionConstraint::Any) && matches!(resource, Constraint::Any);
    reaches.then_some(if all { Reach::All } else { Reach::Named })
}

/// The actions that a scope means, each once.
fn actions(constraint: &ActionConstraint, groups: &HashMap<SmolStr, Vec<Action>>) -> Vec<Action> {
    let named = |uid: &EntityUID| {
        let id: &str = uid.eid().as_ref();
        id.to_owned()
    };
    match constraint {
        ActionConstraint::Any => Action::ALL.to_vec(),
        // A group is no action that anyone takes.
        ActionConstraint::Eq(uid) => Action::named(&named(uid)).into_iter().collect(),
        ActionConstraint::In(uids) => {
            let within = |action: &Action| {
                uids.iter().any(|uid| {
                    let id = named(uid);
                    action.as_str() == id
                        || groups
                            .get(id.as_str())
                            .is_some_and(|group| group.contains(action))
                })
            };
            Action::ALL.into_iter().filter(within).collect()
        }
        #[allow(
            unreachable_patterns,
            reason = "other features of the crate add constraints"
        )]
        _ => Vec::new(),
    }
}
