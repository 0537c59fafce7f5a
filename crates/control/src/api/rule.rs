//! Who may administer what.

use mcp_ultra_domain::Principal;

/// What can be done by the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdminAction {
    /// See the API keys of a tenant.
    ReadKeys,
    /// Make API keys, change, rotate and revoke them.
    ManageKeys,
    /// Give an API key roles and scopes that one does not have oneself.
    GrantAnything,
    /// See the definitions of tools.
    ReadTools,
    /// Agree to definitions of tools.
    ApproveTools,
}

impl AdminAction {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReadKeys,
        Self::ManageKeys,
        Self::GrantAnything,
        Self::ReadTools,
        Self::ApproveTools,
    ];

    /// Its name in policies and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadKeys => "admin/keys/read",
            Self::ManageKeys => "admin/keys/manage",
            Self::GrantAnything => "admin/keys/grant-anything",
            Self::ReadTools => "admin/tools/read",
            Self::ApproveTools => "admin/tools/approve",
        }
    }
}

/// Decides who may do what to the things of a tenant.
pub trait Rule: Send + Sync {
    /// Whether `caller` may, in a tenant, or without one, where it is of the gateway as a whole.
    fn permits(&self, caller: &Principal, action: AdminAction, tenant: Option<&str>) -> bool;
}

/// By role: operators may do everything, and administrators of a tenant what is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// The role of operators.
    pub operator: String,
    /// The role of administrators of their own tenant.
    pub tenant_admin: String,
}

impl Rule for Roles {
    fn permits(&self, caller: &Principal, action: AdminAction, tenant: Option<&str>) -> bool {
        let attributes = caller.attributes();
        if caller.is_anonymous() {
            return false;
        }
        if attributes.roles.contains(&self.operator) {
            return true;
        }
        attributes.roles.contains(&self.tenant_admin)
            && Some(&*attributes.tenant) == tenant
            && action != AdminAction::GrantAnything
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::{Attributes, PrincipalKind};

    use super::*;

    fn caller(tenant: &str, roles: &[&str]) -> Principal {
        let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", "ana");
        attributes.roles = roles.iter().map(|&role| role.to_owned()).collect();
        attributes.into()
    }

    #[test]
    fn tenants_are_apart_and_nobody_lifts_themselves() {
        let rule = Roles {
            operator: "operator".into(),
            tenant_admin: "tenant-admin".into(),
        };
        let operator = caller("acme", &["operator"]);
        let admin = caller("acme", &["tenant-admin"]);
        let user = caller("acme", &["reader"]);
        for action in AdminAction::ALL {
            for tenant in [Some("acme"), Some("other"), None] {
                assert!(rule.permits(&operator, action, tenant));
                assert!(!rule.permits(&user, action, tenant));
                assert!(!rule.permits(&Principal::anonymous(), action, tenant));
                let own = tenant == Some("acme") && action != AdminAction::GrantAnything;
                assert_eq!(rule.permits(&admin, action, tenant), own);
            }
        }
    }
}
