//! Who may administer what: the policies in force say so, the same that decide on calls.

use std::{net::IpAddr, sync::Arc};

use mcp_ultra_domain::{
    Clock, Principal,
    policy::{Action, Ask, Circumstances, Failure, Policies, Resource},
};

/// Gives the policies that are in force, each time it is asked.
pub type InForce = Arc<dyn Fn() -> Arc<Policies> + Send + Sync>;

/// Decides who may do what by the admin API.
#[derive(Clone)]
pub struct Rule {
    in_force: InForce,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").finish_non_exhaustive()
    }
}

impl Rule {
    /// A rule that asks the policies in force at the time of each request.
    pub fn new(in_force: InForce, clock: Arc<dyn Clock>) -> Self {
        Self { in_force, clock }
    }

    /// Whether `caller`, whose connection is from `address`, may do this to the things of a tenant,
    /// or, without one, of the gateway as a whole. Nobody who is not known may do anything.
    pub fn permits(
        &self,
        caller: &Principal,
        action: Action,
        tenant: Option<&str>,
        address: Option<IpAddr>,
    ) -> bool {
        let policies = (self.in_force)();
        self.would_permit(&policies, caller, action, tenant, address)
    }

    /// The same by these policies, if they were in force.
    pub fn would_permit(
        &self,
        policies: &Policies,
        caller: &Principal,
        action: Action,
        tenant: Option<&str>,
        address: Option<IpAddr>,
    ) -> bool {
        if caller.is_anonymous() {
            return false;
        }
        let circumstances = Circumstances {
            now: self.clock.now(),
            address,
            arguments: None,
        };
        let standing = policies.standing(caller);
        let resource = Resource::administration(tenant);
        let verdict = policies.decide(&standing, action, &resource, Ask::Call, &circumstances);
        for Failure { policy, reason } in &verdict.decision.failures {
            tracing::error!(%policy, %reason, action = action.as_str(), "a policy can't be evaluated, so the request is refused");
        }
        verdict.decision.allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_ultra_domain::{Attributes, ManualClock, PrincipalKind, policy::Source};
    use parking_lot::Mutex;

    use super::*;

    fn compiled(text: &str) -> Arc<Policies> {
        let (name, text) = ("p.cedar".to_owned(), text.to_owned());
        Arc::new(Policies::compile(&[Source { name, text }], None).unwrap())
    }

    #[test]
    fn the_policies_of_the_moment_decide_with_time_and_network() {
        let now = Arc::new(Mutex::new(compiled("")));
        let clock = Arc::new(ManualClock::at(Duration::from_hours(12)));
        let shared = now.clone();
        let rule = Rule::new(Arc::new(move || shared.lock().clone()), clock.clone());
        let mut ana = Attributes::new(PrincipalKind::User, "acme", "idp", "ana");
        ana.roles.insert("admin".to_owned());
        let ana = Principal::from(ana);
        let read = Action::AdminKeysRead;
        let local = Some(IpAddr::from([127, 0, 0, 1]));
        let may = |tenant| rule.permits(&ana, read, tenant, local);
        assert!(!may(Some("acme")), "what no policy permits");
        *now.lock() = compiled(
            r#"permit(principal in Role::"admin", action in Action::"admin", resource in Tenant::"acme")
               when { context.time.hour < 18 && context.network.address.isLoopback() };"#,
        );
        assert!(may(Some("acme")) && !may(Some("other")) && !may(None));
        assert!(!rule.permits(&ana, read, Some("acme"), Some(IpAddr::from([10, 0, 0, 1]))));
        // What a policy asks for and is not known refuses.
        assert!(!rule.permits(&ana, read, Some("acme"), None));
        clock.advance(Duration::from_hours(8));
        assert!(!may(Some("acme")));
        *now.lock() = compiled("permit(principal, action, resource);");
        assert!(may(None));
        assert!(!rule.permits(&Principal::anonymous(), read, Some("acme"), local));
    }
}
