use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::Entity;

use super::{
    Action, Policies,
    entity::{Kind, ancestors, principal_id},
    index::Bucket,
};
use crate::{Attributes, AuthorizationDetail, Principal};

/// A text that no other parts give: lengths stand in front of what callers and issuers have chosen.
#[derive(Default)]
struct Key(String);

impl Key {
    fn part(&mut self, part: &str) {
        self.0.push_str(&part.len().to_string());
        self.0.push(':');
        self.0.push_str(part);
    }

    /// Some parts, and where they end.
    fn list<'a>(&mut self, parts: impl Iterator<Item = &'a String>) {
        for part in parts {
            self.0.push('+');
            self.part(part);
        }
        self.0.push(';');
    }
}

fn written(detail: &AuthorizationDetail) -> String {
    let AuthorizationDetail {
        kind,
        action,
        location,
        identifier,
        more,
    } = detail;
    let mut key = Key::default();
    for part in [kind, action, location, identifier] {
        key.part(part);
    }
    key.part(if *more { "more" } else { "" });
    key.0
}

/// What of a set of policies concerns one principal.
#[derive(Debug)]
pub struct Standing {
    principal: Principal,
    entity: OnceLock<Arc<Entity>>,
    buckets: [Vec<Arc<Bucket>>; Action::ALL.len()],
}

impl Standing {
    pub(super) fn entity(&self, policies: &Policies) -> &Arc<Entity> {
        self.entity.get_or_init(|| {
            let vocabulary = policies.vocabulary();
            Arc::new(vocabulary.principal(self.principal.attributes()))
        })
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn buckets(&self, action: Action) -> &[Arc<Bucket>] {
        &self.buckets[action as usize]
    }
}

impl Policies {
    /// What concerns a principal. Good for every principal with the same [`Policies::key`].
    pub fn standing(&self, principal: &Principal) -> Standing {
        let attributes = principal.attributes();
        let named = &self.index().named;
        let own = named.get(Kind::Principal, &principal_id(attributes));
        let within = ancestors(attributes)
            .into_iter()
            .filter_map(|(kind, id)| named.get(kind, &id));
        let mut numbers: Vec<u32> = own.into_iter().chain(within).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Standing {
            principal: principal.clone(),
            entity: OnceLock::new(),
            buckets: Action::ALL.map(|action| self.index().buckets(action, &numbers)),
        }
    }

    /// What the policies can tell principals apart by: two with the same key are answered the same.
    pub fn key(&self, principal: &Principal) -> String {
        let attributes = principal.attributes();
        let told = self.told_apart_by();
        let id = principal_id(attributes);
        let named = |kind: Kind, id: &str| told.names(kind.as_str(), id);
        let told_by_role = |role: &&String| {
            told.roles || named(Kind::Role, role) || self.names_tenant_role(attributes, role)
        };
        let login = &attributes.login;
        let auth_time = login.auth_time.map(|time| time.as_millis().to_string());
        let mut key = Key::default();
        key.part(attributes.kind.as_str());
        key.part(&attributes.tenant);
        key.part(if told.identity || named(Kind::Principal, &id) {
            &id
        } else {
            ""
        });
        key.list(attributes.roles.iter().filter(told_by_role));
        key.list(attributes.scopes.iter().filter(|_| told.scopes));
        let details = attributes.authorization_details.iter();
        key.list(
            details
                .filter(|_| told.details)
                .map(written)
                .collect::<Vec<_>>()
                .iter(),
        );
        key.list(login.acr.iter().filter(|_| told.acr));
        key.list(login.amr.iter().filter(|_| told.amr));
        key.list(auth_time.iter().filter(|_| told.auth_time));
        key.0
    }

    fn names_tenant_role(&self, attributes: &Attributes, role: &str) -> bool {
        let mut one = Attributes::new(attributes.kind, &attributes.tenant, "", "");
        one.roles.insert(role.to_owned());
        ancestors(&one).into_iter().any(|(kind, id)| {
            kind == Kind::TenantRole && self.told_apart_by().names(kind.as_str(), &id)
        })
    }
}
