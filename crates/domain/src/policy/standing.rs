use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::Entity;

use super::{
    Action, Policies,
    entity::{Kind, ancestors, principal_id},
    index::Bucket,
};
use crate::{Attributes, Principal};

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
        let mut key = String::new();
        let mut add = |part: &str| {
            // Lengths stand in front of what callers and issuers have chosen.
            key.push_str(&part.len().to_string());
            key.push(':');
            key.push_str(part);
        };
        add(attributes.kind.as_str());
        add(&attributes.tenant);
        let id = principal_id(attributes);
        let named = |kind: Kind, id: &str| told.names(kind.as_str(), id);
        add(if told.identity || named(Kind::Principal, &id) {
            &id
        } else {
            ""
        });
        for role in &attributes.roles {
            if told.roles || named(Kind::Role, role) || self.names_tenant_role(attributes, role) {
                add(role);
            }
        }
        add("");
        if told.scopes {
            attributes.scopes.iter().for_each(|scope| add(scope));
        }
        key
    }

    fn names_tenant_role(&self, attributes: &Attributes, role: &str) -> bool {
        let mut one = Attributes::new(attributes.kind, &attributes.tenant, "", "");
        one.roles.insert(role.to_owned());
        ancestors(&one).into_iter().any(|(kind, id)| {
            kind == Kind::TenantRole && self.told_apart_by().names(kind.as_str(), &id)
        })
    }
}
