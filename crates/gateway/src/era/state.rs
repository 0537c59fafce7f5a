//! `requestState`: what a modern client carries between the rounds of one request
//! (2026-07-28, MRTR, Server Requirements).
//!
//! What an upstream wants to have carried is sealed together with upstream, principal, request
//! and time, so that it can't be changed, shown by another principal, or sent with another
//! request. A parked call is found by it in the same way, at whichever replica it waits.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{
    Era, Outcome as Answer, WireError,
    json::{self, Object},
    seal::Purpose,
};
use serde::{Deserialize, Serialize};

use super::{connect, park::Resume};
use crate::{
    Gateway,
    call::Routed,
    replicas::{Brought, bring},
    reply::Reply,
};

/// In how many seconds a replica that can't be reached may be tried again.
const SOON: u64 = 1;
/// How long a client may take to come back.
const LIFETIME: Duration = Duration::from_hours(1);

#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// What it is for.
    #[serde(flatten)]
    what: What,
    /// The request it belongs to: method and public name.
    method: String,
    name: String,
    /// When it ends, in seconds since the Unix epoch.
    ends: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    /// A modern upstream's own state, where it gave one.
    Upstream {
        upstream: String,
        state: Option<String>,
    },
    /// A call that waits.
    Parked {
        id: String,
        /// The replica that holds it, where there may be others.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        at: Option<String>,
    },
    /// A person who connects the server to their account.
    Connect {
        upstream: String,
        /// The scopes that they were asked for besides the configured ones.
        #[serde(default)]
        besides: String,
    },
}

/// Where the retry of a request goes on.
pub(super) enum Resumed {
    /// Here, with the upstream's own state in it.
    Here(Box<Routed>, Reply),
    /// In the task that waits with the open call, here or at another replica.
    Elsewhere,
    /// Nowhere: the client has been told.
    Refused,
}

/// The text of an `input_required` result of a modern upstream with its `requestState` sealed.
pub(super) fn seal_upstream(gateway: &Gateway, routed: &Routed, result: &str) -> Option<String> {
    let object = Object::parse(result).ok()?;
    let state = object
        .get_str("requestState")
        .map(std::borrow::Cow::into_owned);
    let upstream = routed.upstream.name().to_string();
    let token = seal(gateway, routed, What::Upstream { upstream, state })?;
    Some(object.edit().set_str("requestState", &token).finish())
}

/// The `requestState` of a parked call.
pub(super) fn seal_parked(gateway: &Gateway, routed: &Routed, id: &str) -> Option<String> {
    let replicas = gateway.replicas.as_ref();
    let at = replicas.map(|replicas| replicas.own().to_owned());
    let id = id.to_owned();
    seal(gateway, routed, What::Parked { id, at })
}

/// The `requestState` of a call whose person connects the server to their account.
pub(super) fn seal_connect(gateway: &Gateway, routed: &Routed, besides: &str) -> Option<String> {
    let (upstream, besides) = (routed.upstream.name().to_string(), besides.to_owned());
    seal(gateway, routed, What::Connect { upstream, besides })
}

fn seal(gateway: &Gateway, routed: &Routed, what: What) -> Option<String> {
    let sealed = Sealed {
        what,
        method: routed.call.request.method.to_string(),
        name: public_name(routed),
        ends: (gateway.clock.now() + LIFETIME).as_secs(),
    };
    let content = serde_json::to_vec(&sealed).ok()?;
    let principal = routed.call.caller.principal.id();
    gateway
        .sealer
        .seal(Purpose::RequestState, principal, &content)
        .ok()
}

fn public_name(routed: &Routed) -> String {
    routed
        .call
        .method
        .name_key()
        .and_then(|key| Object::parse(routed.params()).ok()?.get_str(key))
        .map(std::borrow::Cow::into_owned)
        .unwrap_or_default()
}

/// Takes up a request that carries a `requestState`; every other goes on as it is.
pub(super) async fn resume(gateway: &Arc<Gateway>, routed: Box<Routed>, reply: Reply) -> Resumed {
    if routed.call.caller.era() == Era::Legacy || !routed.call.method.may_require_input() {
        return Resumed::Here(routed, reply);
    }
    let Ok(object) = Object::parse(routed.params()) else {
        return Resumed::Here(routed, reply);
    };
    let Some(token) = object.get("requestState") else {
        return Resumed::Here(routed, reply);
    };
    match json::as_str(token)
        .as_deref()
        .and_then(|token| open(gateway, &routed, token))
    {
        Some(What::Upstream { upstream, state }) if upstream == **routed.upstream.name() => {
            let edit = object.edit();
            let params = match &state {
                Some(state) => edit.set_str("requestState", state),
                None => edit.remove("requestState"),
            };
            let params: ByteString = params.finish().into();
            let mut routed = routed;
            routed.call.request.params = Some(params);
            Resumed::Here(routed, reply)
        }
        Some(What::Connect { upstream, besides }) if upstream == **routed.upstream.name() => {
            if let connect::Taken::Declined = connect::taken(object.get("inputResponses")) {
                reply.error(&connect::declined(&upstream)).await;
                return Resumed::Refused;
            }
            // Neither is the upstream's: it has not seen the call yet.
            let edit = object.edit().remove("requestState");
            let params: ByteString = edit.remove("inputResponses").finish().into();
            if !connect::wait(gateway, &routed, &reply, &besides).await {
                return Resumed::Refused;
            }
            let mut routed = routed;
            routed.call.request.params = Some(params);
            Resumed::Here(routed, reply)
        }
        Some(What::Parked { id, at }) => {
            let responses = object.get("inputResponses").unwrap_or("{}").to_owned();
            let caller = &routed.call.caller;
            if let (Some(holder), Some(replicas)) = (at, &gateway.replicas)
                && holder != replicas.own()
            {
                let bringing = bring(replicas, &holder, &id, caller, responses, reply);
                return brought(gateway, bringing.await).await;
            }
            let subject = Subject::Caller {
                principal: caller.principal.clone(),
                token: caller.token.clone(),
            };
            let resume = Resume {
                responses,
                reply,
                subject,
            };
            match gateway.parking.resume(&id, resume).await {
                Ok(()) => Resumed::Elsewhere,
                Err(Resume { reply, .. }) => brought(gateway, Brought::NotWaiting(reply)).await,
            }
        }
        _ => {
            refuse(
                reply,
                "it was not issued for this request, or it has expired",
            )
            .await
        }
    }
}

/// What the client of a parked call is told, unless it has its answer.
async fn brought(gateway: &Gateway, brought: Brought) -> Resumed {
    let (reply, error, reason) = match brought {
        Brought::Answered => return Resumed::Elsewhere,
        Brought::NotWaiting(reply) => {
            let error = WireError::invalid_params(
                "requestState is not valid: the request no longer waits; send it again without requestState",
            );
            (reply, error, "not_waiting")
        }
        Brought::Unreachable(reply) => {
            let error = WireError::internal(
                "the gateway that holds the request can't be reached at the moment; send the same request again, with requestState",
            );
            let error = error.with_data("{\"reason\":\"unreachable\"}".to_owned());
            reply.unavailable(&error, Some(SOON)).await;
            return Resumed::Refused;
        }
        Brought::Lost(reply) => {
            let error = WireError::internal(
                "the gateway that held the request was lost after it had gone on with it: it may have been done; see to that before you send it again without requestState",
            );
            (reply, error, "lost")
        }
    };
    gateway.metrics.parked_lost(reason, 1);
    let data = format!("{{\"reason\":\"{reason}\"}}");
    reply.error(&error.with_data(data)).await;
    Resumed::Refused
}

fn open(gateway: &Gateway, routed: &Routed, token: &str) -> Option<What> {
    let principal = routed.call.caller.principal.id();
    let content = gateway
        .sealer
        .open(Purpose::RequestState, principal, token)
        .ok()?;
    let sealed: Sealed = serde_json::from_slice(&content).ok()?;
    let fits = sealed.method == *routed.call.request.method
        && sealed.name == public_name(routed)
        && sealed.ends > gateway.clock.now().as_secs();
    fits.then_some(sealed.what)
}

async fn refuse(reply: Reply, why: &str) -> Resumed {
    let error = WireError::invalid_params(format!("requestState is not valid: {why}"));
    reply.error(&error).await;
    Resumed::Refused
}

/// Whether an answer ends the call or asks for input.
pub(super) fn asks_for_input(answer: &Answer) -> bool {
    matches!(answer, Answer::Result(result) if super::inbound::kind(result) == super::inbound::Kind::InputRequired)
}
