use std::fmt::Write;

use crate::{Attributes, policy::principal_id};

use super::context::Attribute;

/// What the answer of a flag depends on besides its definition: two that have all of this in common
/// are answered the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depends {
    /// Whose the caller is.
    pub tenant: bool,
    /// What kind of caller it is.
    pub kind: bool,
    /// Who the caller is.
    pub identity: bool,
    /// Its roles.
    pub roles: bool,
    /// Its scopes.
    pub scopes: bool,
    /// The name of what is called.
    pub name: bool,
    /// The time.
    pub time: bool,
}

impl Depends {
    pub(super) fn note(&mut self, attribute: &Attribute) {
        match attribute {
            Attribute::TargetingKey | Attribute::Subject | Attribute::Issuer => {
                self.identity = true;
            }
            Attribute::Tenant => self.tenant = true,
            Attribute::Kind => self.kind = true,
            Attribute::Roles => self.roles = true,
            Attribute::Scopes => self.scopes = true,
            Attribute::Tool | Attribute::Prompt | Attribute::Resource => self.name = true,
            Attribute::Timestamp => self.time = true,
            // Policies and switches tell servers apart anyway, and nobody has the others.
            Attribute::Server | Attribute::FlagKey | Attribute::Other(_) => {}
        }
    }

    /// What either depends on.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tenant: self.tenant | other.tenant,
            kind: self.kind | other.kind,
            identity: self.identity | other.identity,
            roles: self.roles | other.roles,
            scopes: self.scopes | other.scopes,
            name: self.name | other.name,
            time: self.time | other.time,
        }
    }

    /// A text that is the same for callers that are answered the same.
    pub fn key(self, caller: &Attributes) -> String {
        let mut key = String::new();
        // Lengths stand in front of what callers and issuers have chosen, so that no two callers
        // make one text.
        let mut part = |text: &str| {
            let _ = write!(key, "{}:{text}", text.len());
        };
        if self.tenant {
            part(&caller.tenant);
        }
        if self.kind {
            part(caller.kind.as_str());
        }
        if self.identity {
            part(&principal_id(caller));
        }
        for (wanted, words) in [(self.roles, &caller.roles), (self.scopes, &caller.scopes)] {
            if wanted {
                part(&words.len().to_string());
                for word in words {
                    part(word);
                }
            }
        }
        key
    }
}
