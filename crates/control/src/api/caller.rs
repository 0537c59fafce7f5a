use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use mcp_ultra_domain::Principal;
use mcp_ultra_edge::identity::{Refused, bearer};

use super::{
    Api,
    problem::{Kind, Problem},
    rule::AdminAction,
};

/// Who asks. Taking one is what keeps an endpoint from answering anybody.
#[derive(Debug, Clone)]
pub(super) struct Caller(Principal);

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let identified = match bearer(&parts.headers) {
            Ok(token) => api.identity.identify(token).await,
            Err(why) => Err(why),
        };
        let principal = identified.map_err(|why| refuse(api, why))?;
        Ok(Self(principal))
    }
}

/// An attacker learns no more than on the public side.
fn refuse(api: &Api, why: Refused) -> Problem {
    let (status, challenge) = api.identity.challenges().of(why);
    let (kind, detail) = match status {
        StatusCode::SERVICE_UNAVAILABLE => (
            Kind::UNAVAILABLE,
            "credentials can't be checked at the moment; try again",
        ),
        StatusCode::BAD_REQUEST => (Kind::INVALID, "send one Authorization header"),
        _ if why == Refused::Missing => (
            Kind::UNAUTHENTICATED,
            "send an access token or API key as Authorization: Bearer",
        ),
        _ => (Kind::UNAUTHENTICATED, "the credential is not accepted"),
    };
    Problem::new(kind, detail).with_challenge(challenge)
}

impl Caller {
    /// The principal.
    pub(super) fn principal(&self) -> &Principal {
        &self.0
    }

    /// The tenant that is asked about, if the caller may do this there: the named one, else the
    /// caller's own.
    pub(super) fn may(
        &self,
        api: &Api,
        action: AdminAction,
        tenant: Option<String>,
    ) -> Result<String, Problem> {
        let tenant = tenant.unwrap_or_else(|| self.0.tenant().to_string());
        if api.rule.permits(&self.0, action, Some(&tenant)) {
            Ok(tenant)
        } else {
            let action = action.as_str();
            Err(Problem::new(
                Kind::FORBIDDEN,
                format!("you may not do {action} in this tenant"),
            ))
        }
    }

    /// Whether the caller may do this to what is of no tenant, but of the gateway as a whole.
    pub(super) fn may_for_all(&self, api: &Api, action: AdminAction) -> Result<(), Problem> {
        if api.rule.permits(&self.0, action, None) {
            return Ok(());
        }
        let action = action.as_str();
        Err(Problem::new(
            Kind::FORBIDDEN,
            format!("you may not do {action}"),
        ))
    }

    /// Whether the caller may hand on these roles and scopes: their own, or any where they may do
    /// that. Else a key would be a way to more than one has.
    pub(super) fn may_grant<'a>(
        &self,
        api: &Api,
        tenant: &str,
        roles: impl IntoIterator<Item = &'a String>,
        scopes: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), Problem> {
        let own = self.0.attributes();
        let same = &*own.tenant == tenant
            && roles.into_iter().all(|role| own.roles.contains(role))
            && scopes.into_iter().all(|scope| own.scopes.contains(scope));
        if same
            || api
                .rule
                .permits(&self.0, AdminAction::GrantAnything, Some(tenant))
        {
            return Ok(());
        }
        Err(Problem::new(
            Kind::FORBIDDEN,
            "the key has, or would have, roles or scopes that you do not have yourself",
        ))
    }
}
