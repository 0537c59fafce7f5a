use std::time::Duration;

use crate::Principal;

/// A caller who is refused for a time, whatever credential they show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its identifier: of one caller always the same.
    pub id: String,
    /// Whose the caller is.
    pub tenant: String,
    /// Who vouches for the caller.
    pub issuer: String,
    /// Who the caller is for the issuer.
    pub subject: String,
    /// When it began, since the Unix epoch, in whole milliseconds.
    pub since: Duration,
    /// When it ends, likewise.
    pub until: Duration,
}

impl Block {
    /// Whether it is about this principal, of whatever kind, and not over at `now`.
    pub fn holds(&self, principal: &Principal, now: Duration) -> bool {
        let caller = principal.attributes();
        self.subject == caller.subject
            && self.issuer == caller.issuer
            && *self.tenant == *caller.tenant
            && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, PrincipalKind};

    #[test]
    fn a_block_is_about_one_caller_of_any_kind_and_ends() {
        let until = Duration::from_secs(10);
        let block = Block {
            id: "b".into(),
            tenant: "acme".into(),
            issuer: "idp".into(),
            subject: "ana".into(),
            since: Duration::ZERO,
            until,
        };
        let holds = |kind, tenant, issuer, subject, now| {
            let caller = Attributes::new(kind, tenant, issuer, subject);
            block.holds(&caller.into(), now)
        };
        let (user, before) = (PrincipalKind::User, Duration::from_secs(9));
        assert!(holds(user, "acme", "idp", "ana", before));
        assert!(holds(PrincipalKind::Agent, "acme", "idp", "ana", before));
        assert!(!holds(user, "acme", "idp", "ana", until));
        assert!(!holds(user, "other", "idp", "ana", before));
        assert!(!holds(user, "acme", "other", "ana", before));
        assert!(!holds(user, "acme", "idp", "bea", before));
    }
}
