//! Who calls: the credential of a request, before anything else of it is read.

use std::time::Duration;

use http::{HeaderMap, Method, Response, header};
use mcp_ultra_domain::Principal;
use mcp_ultra_edge::{
    identity::{Credentials, Refused},
    listener::Peer,
};
use mcp_ultra_protocol::WireError;

pub(crate) use mcp_ultra_edge::identity::Identified;

use super::{Body, body::End, respond};
use crate::Gateway;

/// Whom a request identifies; without authentication everyone is the anonymous principal. The error
/// is the response that refuses the request (MCP, Authorization, Error Handling).
pub(super) async fn identify(
    gateway: &Gateway,
    method: &Method,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Identified, Response<Body>> {
    let Some(identity) = &gateway.identity else {
        return Ok(Identified {
            principal: gateway.anonymous.clone(),
            token: None,
        });
    };
    let certificate = peer.and_then(|peer| peer.certificate.as_deref());
    let request = Credentials {
        method,
        headers,
        certificate,
        url: None,
        keep_token: gateway.settings().exchanges_tokens,
    };
    let identified = identity.identify_request(request).await;
    identified.map_err(|why| refuse(gateway, why))
}

/// How often a stream looks whether the credential of its caller has been withdrawn, or the caller
/// blocked.
const LOOK: Duration = Duration::from_secs(2);

/// The end of the principal's credential, for its streams; `None` where there is no credential.
pub(super) fn end(gateway: &Gateway, principal: &Principal) -> Option<End> {
    if principal.is_anonymous() {
        return None;
    }
    let attributes = principal.attributes();
    let (expires, withdrawal) = (attributes.expires, attributes.withdrawal.clone());
    let (clock, identity) = (gateway.clock.clone(), gateway.identity.clone());
    let principal = principal.clone();
    let is_blocked = move || {
        let identity = identity.as_ref();
        identity.is_some_and(|identity| identity.is_blocked(&principal))
    };
    Some(Box::pin(async move {
        let expires = expires.unwrap_or(Duration::MAX);
        while !withdrawal.is_withdrawn() && !is_blocked() {
            let remaining = expires.saturating_sub(clock.now());
            if remaining.is_zero() {
                break;
            }
            tokio::time::sleep(remaining.min(LOOK)).await;
        }
    }))
}

fn refuse(gateway: &Gateway, why: Refused) -> Response<Body> {
    gateway.metrics.auth_refused(why);
    tracing::debug!(reason = why.as_str(), "nobody was identified");
    let error = match why {
        Refused::Missing => WireError::invalid_request(
            "an access token is needed: send Authorization: Bearer; WWW-Authenticate says where to get one",
        ),
        Refused::Several => {
            WireError::invalid_request("there is more than one Authorization header; send one")
        }
        Refused::Certificate => WireError::invalid_request(
            "the client certificate is of nobody who is known here; send Authorization: Bearer, or show another one",
        ),
        Refused::Scope => WireError::invalid_request(
            "the access token lacks scopes; WWW-Authenticate says which are needed",
        ),
        Refused::Login => WireError::invalid_request(
            "the login of the access token is not strong or recent enough; WWW-Authenticate says what is needed: log in again",
        ),
        Refused::Unavailable => {
            WireError::internal("access tokens can't be checked at the moment; try again")
        }
        Refused::ReplayStore => {
            WireError::internal("DPoP proofs can't be checked at the moment; try again")
        }
        Refused::Proof | Refused::Replayed => WireError::invalid_request(
            "the DPoP proof is not accepted; make a new one for this request and token, and send it once",
        ),
        _ => WireError::invalid_request("the access token is not accepted; get a new one"),
    };
    let Some(identity) = &gateway.identity else {
        return respond::not_found();
    };
    let (status, challenges) = identity.challenges().of(why);
    let mut response = respond::error(status, None, &error);
    for challenge in challenges {
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, challenge.clone());
    }
    response
}
