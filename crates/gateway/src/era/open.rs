//! Opens a call with its upstream, in the era that fits.

use std::sync::Arc;

use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{Era, Version, error, headers};

use super::outbound;
use crate::{
    Gateway,
    call::Routed,
    listen,
    stages::route,
    upstream::{Exchange, Hello, Holder, OnBehalf, Outgoing, Role, Sink, UpstreamError},
};

/// Sends the call. Where the upstream turns out not to speak the era that it was found to speak,
/// the era is found again, once.
pub(super) async fn exchange(
    gateway: &Arc<Gateway>,
    routed: &Routed,
) -> Result<(Exchange, Era), UpstreamError> {
    let caller = routed.call.caller.era();
    let target = match routed.upstream.known_era_for(caller) {
        Some(target) => target,
        None => Box::pin(find_era(routed, caller)).await?,
    };
    let first = send(gateway, routed, target, None).await;
    let wrong_era = match &first {
        Ok(exchange) => exchange
            .error_code()
            .is_some_and(|code| is_refusal_of_era(target, code)),
        // What a server answers that does not know the other era's way of opening.
        Err(UpstreamError::Status(status)) => matches!(status, 400 | 404 | 405 | 406 | 415),
        Err(UpstreamError::Protocol(_)) => target == Era::Legacy,
        Err(_) => false,
    };
    if !wrong_era || !routed.upstream.doubt_eras() {
        return first.map(|exchange| (exchange, target));
    }
    let again = Box::pin(find_era(routed, caller)).await?;
    if again == target {
        return first.map(|exchange| (exchange, target));
    }
    tracing::info!(upstream = %routed.upstream.name(), "the upstream speaks another era than before");
    Box::pin(send(gateway, routed, again, None))
        .await
        .map(|exchange| (exchange, again))
}

/// Finds out the era to speak to a caller's upstream in. That is asked with a token of the gateway's
/// own: what it lacks is not the caller's to grant.
async fn find_era(routed: &Routed, caller: Era) -> Result<Era, UpstreamError> {
    let upstream = &routed.upstream;
    let found = upstream.era_for(caller).await;
    found.map_err(|error| match error {
        UpstreamError::Scope(_) if upstream.settings().granted().is_some() => {
            UpstreamError::Status(403)
        }
        error => error,
    })
}

/// Whether an upstream may have answered with `code` because it does not know the era. A server of
/// sessions that gets a call without one says so under one of three codes, depending on its SDK; a
/// modern one may mean something else by them, which asking it again about its eras shows.
fn is_refusal_of_era(target: Era, code: i64) -> bool {
    const NO_SESSION: [i64; 3] = [-32000, -32001, error::INVALID_REQUEST];
    code == error::UNSUPPORTED_VERSION || (target == Era::Modern && NO_SESSION.contains(&code))
}

/// Sends the call in the era `target`; `input` is the text of members that a retry adds to
/// `params` (`inputResponses`, `requestState`).
pub(super) async fn send(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    target: Era,
    input: Option<&outbound::Input>,
) -> Result<Exchange, UpstreamError> {
    let call = &routed.call;
    let params = route::original_params(routed)
        .and_then(|params| outbound::params(routed, target, &params, input))
        .map_err(|error| UpstreamError::Protocol(error.message))?;
    // Only a modern call over HTTP has headers of its own: elsewhere the trace goes on in `_meta`.
    let (params, headers) = match target {
        Era::Modern if !routed.upstream.is_stdio() => {
            let headers = mirrored(routed, &params);
            (params, headers)
        }
        _ => (outbound::with_trace(params, &call.headers), Vec::new()),
    };
    let behalf = ForCall { gateway, routed };
    if target == Era::Legacy {
        Box::pin(outbound::set_log_level(routed, &behalf)).await;
    }
    let outgoing = Outgoing {
        method: call.method.as_str(),
        role: Role::Call,
        envelope: Some(&call.request),
        params: Some(params),
        progress_token: call.progress_token.clone(),
        name: call.method.name_key().map(|_| &*routed.original),
        headers,
        ..Outgoing::default()
    };
    routed.upstream.call(target, &behalf, outgoing).await
}

/// The caller's behalf.
pub(crate) struct ForCall<'c> {
    pub gateway: &'c Arc<Gateway>,
    pub routed: &'c Routed,
}

impl OnBehalf for ForCall<'_> {
    fn holder(&self) -> Holder {
        holder(self.routed)
    }

    fn subject(&self) -> Subject {
        let caller = &self.routed.call.caller;
        Subject::Caller {
            principal: caller.principal.clone(),
            token: caller.token.clone(),
        }
    }

    fn lasting_subject(&self) -> Subject {
        match &self.routed.call.caller.session {
            Some(session) => Subject::Session(session.shown.clone()),
            None => self.subject(),
        }
    }

    fn hello(&self) -> Hello {
        outbound::hello_of(self.routed)
    }

    fn sink(&self) -> Sink {
        let session = self.routed.call.caller.session.as_ref();
        listen::sink(self.gateway, &self.routed.upstream, &self.holder(), session)
    }
}

/// Whose session with the upstream the call runs in.
fn holder(routed: &Routed) -> Holder {
    let caller = &routed.call.caller;
    match &caller.session {
        Some(session) => session.holder(),
        None => Holder::Caller {
            principal: caller.principal.shared_id(),
            tenant: caller.principal.tenant().clone(),
            // A copy: the session outlives the request that the text is a slice of.
            capabilities: caller.capabilities.to_string().into(),
        },
    }
}

/// The headers that mirror arguments, made anew from the arguments that leave; what is not known
/// to be such a header goes on as it came.
fn mirrored(routed: &Routed, params: &str) -> Vec<(http::HeaderName, http::HeaderValue)> {
    let call = &routed.call;
    let mut made = call.headers.trace.clone();
    let known = routed
        .item
        .as_ref()
        .map(|item| &item.params[..])
        .unwrap_or_default();
    let unknown = call
        .headers
        .params
        .iter()
        .filter(|(name, _)| !known.iter().any(|param| param.header == name.as_str()));
    made.extend(unknown.cloned());
    if known.is_empty() {
        return made;
    }
    let arguments = mcp_ultra_protocol::json::Object::parse(params)
        .ok()
        .and_then(|params| params.get("arguments"));
    for param in known {
        let Some(value) = arguments.and_then(|arguments| param.value(arguments)) else {
            continue;
        };
        let name = http::HeaderName::try_from(param.header.as_str());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::try_from(value)) {
            made.push((name, value));
        }
    }
    debug_assert!(
        made.iter()
            .all(|(name, _)| name.as_str() != headers::SESSION_ID)
    );
    made
}

/// The revision that is spoken to an upstream in `era` for this caller.
pub(super) fn version(routed: &Routed, era: Era) -> Version {
    match era {
        Era::Modern => Version::LATEST,
        Era::Legacy if routed.call.caller.era() == Era::Legacy => routed.call.caller.version,
        Era::Legacy => Version::LATEST_LEGACY,
    }
}
