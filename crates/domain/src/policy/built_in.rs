use super::{Policies, PolicyErrors, Source};

/// How messages name the built-in policies.
const NAME: &str = "built-in.cedar";

impl Policies {
    /// What decides on the admin API where the operator has no policies: who has the role
    /// `operator` may do everything, who has the role `tenant_admin` what is of their own tenant,
    /// but not hand on what they don't have themselves.
    ///
    /// # Errors
    /// [`PolicyErrors`], which no role leads to: its name is written as Cedar reads it.
    pub fn built_in(operator: &str, tenant_admin: &str) -> Result<Self, PolicyErrors> {
        let (operator, tenant_admin) = (operator.escape_debug(), tenant_admin.escape_debug());
        let text = format!(
            r#"
@id("operators")
permit(principal in Role::"{operator}", action in Action::"admin", resource);

@id("tenant-administrators")
permit(principal in Role::"{tenant_admin}", action in Action::"admin", resource)
when {{ resource has tenant && resource.tenant == principal.tenant }}
unless {{ action == Action::"admin/keys/grant-anything" }};
"#
        );
        let name = NAME.to_owned();
        Self::compile(&[Source { name, text }], None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Attributes, Principal, PrincipalKind,
        policy::{Action, Ask, Circumstances, Resource},
    };

    fn caller(tenant: &str, role: &str) -> Principal {
        let mut attributes = Attributes::new(PrincipalKind::User, tenant, "idp", "ana");
        attributes.roles.insert(role.to_owned());
        attributes.into()
    }

    fn may(policies: &Policies, who: &Principal, action: Action, tenant: Option<&str>) -> bool {
        let standing = policies.standing(who);
        let resource = Resource::administration(tenant);
        let around = Circumstances::default();
        let verdict = policies.decide(&standing, action, &resource, Ask::Call, &around);
        verdict.decision.allowed
    }

    #[test]
    fn tenants_are_apart_and_nobody_lifts_themselves() {
        let policies = Policies::built_in("operator", "tenant-admin").unwrap();
        for action in Action::ALL {
            let admin = action.is_admin();
            for tenant in [Some("acme"), Some("other"), None] {
                let answer = |who: &Principal| may(&policies, who, action, tenant);
                assert_eq!(answer(&caller("acme", "operator")), admin);
                assert!(!answer(&caller("acme", "reader")));
                assert!(!answer(&Principal::anonymous()));
                let own = tenant == Some("acme") && action != Action::AdminKeysGrantAnything;
                assert_eq!(answer(&caller("acme", "tenant-admin")), admin && own);
            }
        }
    }

    #[test]
    fn a_role_may_have_any_name() {
        let odd = "\"\\ \u{202e}*\n{x}";
        let policies = Policies::built_in(odd, "tenant-admin").unwrap();
        assert_eq!(policies.len(), 2);
        let read = |who: &Principal| may(&policies, who, Action::AdminKeysRead, None);
        assert!(read(&caller("acme", odd)));
        assert!(!read(&caller("acme", "x")));
    }
}
