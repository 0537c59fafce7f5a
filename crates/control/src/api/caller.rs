use std::net::IpAddr;

use axum::{
    extract::{FromRequestParts, OriginalUri},
    http::{StatusCode, request::Parts},
};
use mcp_ultra_domain::{
    Principal,
    policy::{Action, Policies},
};
use mcp_ultra_edge::{
    identity::{Credentials, Refused},
    listener::Peer,
};

use super::{
    Api,
    problem::{Kind, Problem},
};

/// Who asks. Taking one is what keeps an endpoint from answering anybody.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    principal: Principal,
    /// Where the connection is from.
    address: Option<IpAddr>,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>();
        // What is nested sees only the rest of its path.
        let original = parts.extensions.get::<OriginalUri>();
        let path = original.map_or(parts.uri.path(), |uri| uri.path());
        let url = format!("{}{path}", api.url);
        let request = Credentials {
            method: &parts.method,
            headers: &parts.headers,
            certificate: peer.and_then(|peer| peer.certificate.as_deref()),
            url: Some(&url),
            keep_token: false,
        };
        let identified = api.identity.identify_request(request).await;
        Ok(Self {
            principal: identified.map_err(|why| refuse(api, why))?.principal,
            address: peer.map(|peer| peer.addr.ip()),
        })
    }
}

/// An attacker learns no more than on the public side.
fn refuse(api: &Api, why: Refused) -> Problem {
    let (status, challenges) = api.identity.challenges().of(why);
    let (kind, detail) = match status {
        StatusCode::SERVICE_UNAVAILABLE => (
            Kind::UNAVAILABLE,
            "credentials can't be checked at the moment; try again",
        ),
        StatusCode::BAD_REQUEST => (Kind::INVALID, "send one Authorization header"),
        StatusCode::FORBIDDEN => (
            Kind::FORBIDDEN,
            "the access token lacks scopes; WWW-Authenticate says which are needed",
        ),
        _ => {
            let detail = match why {
                Refused::Missing => {
                    "send an access token or API key as Authorization: Bearer, or a bound token as Authorization: DPoP with its proof"
                }
                Refused::Proof | Refused::Replayed => {
                    "the DPoP proof is not accepted; make a new one for this request and token, and send it once"
                }
                Refused::Login => {
                    "the login of the access token is not strong or recent enough; WWW-Authenticate says what is needed: log in again"
                }
                _ => "the credential is not accepted",
            };
            (Kind::UNAUTHENTICATED, detail)
        }
    };
    Problem::new(kind, detail).with_challenges(challenges)
}

impl Caller {
    /// The principal.
    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The tenant that is asked about, if the caller may do this there: the named one, else the
    /// caller's own.
    pub(super) fn may(
        &self,
        api: &Api,
        action: Action,
        tenant: Option<String>,
    ) -> Result<String, Problem> {
        let tenant = tenant.unwrap_or_else(|| self.principal.tenant().to_string());
        if self.is_permitted(api, action, Some(&tenant)) {
            Ok(tenant)
        } else {
            let action = action.as_str();
            Err(Problem::new(
                Kind::FORBIDDEN,
                format!("you may not do {action} in this tenant"),
            ))
        }
    }

    fn is_permitted(&self, api: &Api, action: Action, tenant: Option<&str>) -> bool {
        api.rule
            .permits(&self.principal, action, tenant, self.address)
    }

    /// Whether the caller may do this to what is of no tenant, but of the gateway as a whole.
    pub(super) fn may_for_all(&self, api: &Api, action: Action) -> Result<(), Problem> {
        if self.is_permitted(api, action, None) {
            return Ok(());
        }
        let action = action.as_str();
        Err(Problem::new(
            Kind::FORBIDDEN,
            format!("you may not do {action}"),
        ))
    }

    /// Whether the caller might do this to what is of the gateway as a whole, if these policies were in
    /// force.
    pub(super) fn might(&self, api: &Api, policies: &Policies, action: Action) -> bool {
        api.rule
            .would_permit(policies, &self.principal, action, None, self.address)
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
        let own = self.principal.attributes();
        let same = &*own.tenant == tenant
            && roles.into_iter().all(|role| own.roles.contains(role))
            && scopes.into_iter().all(|scope| own.scopes.contains(scope));
        if same || self.is_permitted(api, Action::AdminKeysGrantAnything, Some(tenant)) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::FORBIDDEN,
            "the key has, or would have, roles or scopes that you do not have yourself",
        ))
    }
}
