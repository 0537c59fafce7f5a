//! A call to a server that its caller has not connected to their account yet: the client is asked to
//! have its person open a link (URL elicitation), in the way that its revision knows.
//!
//! | client | |
//! |---|---|
//! | modern, declares `elicitation.url` | `input_required`; the retry waits for the person |
//! | 2025-11-25, declares it | the error -32042, and `notifications/elicitation/complete` when it is done |
//! | any other | an error with the link |

use std::sync::Arc;

use mcp_ultra_edge::credentials::Credentials;
use mcp_ultra_protocol::{
    Era, Notification, Version, WireError, error,
    json::{self, Object},
};

use super::{inbound, state};
use crate::{
    Gateway,
    call::Routed,
    connect::{Connect, NoLink},
    reply::Reply,
    stages::forward::Outcome,
    upstream::UpstreamError,
};

/// The key of the one request in `inputRequests`.
const KEY: &str = "connect";
/// What a client lacks that can't be asked.
const LACKS: &str = r#"{"elicitation":{"url":{}}}"#;

/// Asks the caller to connect the server.
pub(super) async fn ask(gateway: &Gateway, routed: &Routed, reply: Reply) -> Outcome {
    let besides = match means(gateway, routed) {
        Some((connect, credentials)) => {
            let (principal, server) = (&routed.call.caller.principal, routed.upstream.name());
            connect.asked_besides(principal, server, credentials).await
        }
        None => String::new(),
    };
    let message = format!(
        "To use \"{}\", connect your own account there: open the link in a browser and log in. It is good for ten minutes, and for you alone.",
        routed.upstream.name()
    );
    put(gateway, routed, reply, &besides, message).await
}

/// Asks the caller for more, where the server says that a call lacks the scopes `lacking`; the error
/// of the call where that can't be.
pub(super) async fn ask_for_more(
    gateway: &Gateway,
    routed: &Routed,
    lacking: &str,
    reply: Reply,
) -> Result<Outcome, (UpstreamError, Reply)> {
    let Some((connect, credentials)) = means(gateway, routed) else {
        return Err((UpstreamError::Scope(lacking.to_owned()), reply));
    };
    let (principal, server) = (&routed.call.caller.principal, routed.upstream.name());
    let besides = connect.step_up(principal, server, credentials, lacking);
    match besides.await {
        Ok(besides) => {
            tracing::info!(%server, scopes = lacking, "a server asks for more scopes, so its caller is asked for them");
            let message = format!(
                "\"{server}\" needs more access to your account there for this: open the link in a browser and log in. It is good for ten minutes, and for you alone."
            );
            Ok(put(gateway, routed, reply, &besides, message).await)
        }
        Err(error) => Err((error, reply)),
    }
}

/// Whether the call is to be made again, since it was made with a token that is no longer the one
/// that is kept.
pub(super) async fn is_outdated(gateway: &Gateway, routed: &Routed) -> bool {
    let Some((connect, credentials)) = means(gateway, routed) else {
        return false;
    };
    let (principal, server) = (&routed.call.caller.principal, routed.upstream.name());
    let outdated = connect.forget_outdated(principal, server, credentials);
    outdated.await
}

/// What people connect the server of a call with, where it is such a server.
fn means<'g>(gateway: &'g Gateway, routed: &'g Routed) -> Option<(&'g Connect, &'g Credentials)> {
    Some((
        gateway.connect.as_ref()?,
        routed.upstream.settings().granted()?,
    ))
}

/// Puts the question, with a link to be asked for the scopes `besides` too.
async fn put(
    gateway: &Gateway,
    routed: &Routed,
    reply: Reply,
    besides: &str,
    message: String,
) -> Outcome {
    let caller = &routed.call.caller;
    let server = routed.upstream.name();
    let session = caller.session.as_ref().map(|session| &*session.id);
    let made = match &gateway.connect {
        Some(connect) => connect.link(&gateway.sealer, &caller.principal, server, session, besides),
        None => Err(NoLink::Failed),
    };
    let (id, url) = match made {
        Ok(made) => made,
        Err(why) => {
            reply.error(&no_link(server, &why)).await;
            return Outcome::Failed("credentials");
        }
    };
    let can = caller.can().elicitation_url;
    match caller.era() {
        Era::Modern if can && routed.call.method.may_require_input() => {
            let Some(state) = state::seal_connect(gateway, routed, besides) else {
                reply.error(&no_link(server, &NoLink::Failed)).await;
                return Outcome::Failed("internal");
            };
            let asked = format!(
                r#"{{"resultType":"input_required","inputRequests":{{"{KEY}":{{"method":"elicitation/create","params":{{"mode":"url","url":{},"message":{}}}}}}},"requestState":{}}}"#,
                json::quote(&url),
                json::quote(&message),
                json::quote(&state),
            );
            reply.result(&asked).await;
        }
        Era::Legacy if can && caller.version >= Version::V2025_11_25 => {
            let elicitation = format!(
                r#"{{"mode":"url","elicitationId":{},"url":{},"message":{}}}"#,
                json::quote(&id),
                json::quote(&url),
                json::quote(&message),
            );
            let error = WireError::new(error::URL_ELICITATION_REQUIRED, message)
                .with_data(format!(r#"{{"elicitations":[{elicitation}]}}"#));
            reply.error(&error).await;
        }
        era => {
            let data = format!(
                r#"{{"requiredCapabilities":{LACKS},"upstream":{},"kind":"credentials","url":{}}}"#,
                json::quote(server),
                json::quote(&url)
            );
            let error = WireError {
                code: inbound::cannot_answer(era, LACKS).code,
                message: format!(
                    "{message} Then call again. The link: {url} (A client that declares elicitation.url is asked for it without an error.)"
                )
                .into(),
                data: Some(data),
            };
            reply.error(&error).await;
        }
    }
    Outcome::InputRequired
}

fn no_link(server: &str, why: &NoLink) -> WireError {
    let data = format!(
        r#"{{"upstream":{},"kind":"credentials","retryable":false}}"#,
        json::quote(server)
    );
    WireError::internal(format!(
        "The upstream server \"{server}\" can't be used: {why}"
    ))
    .with_data(data)
}

/// How a person has taken the question.
pub(super) enum Taken {
    /// They went to the link, or nothing is known of it.
    On,
    /// They do not want to.
    Declined,
}

/// What a client has answered.
pub(super) fn taken(responses: Option<&str>) -> Taken {
    let action = responses
        .and_then(|responses| Object::parse(responses).ok())
        .and_then(|responses| Object::parse(responses.get(KEY)?).ok())
        .and_then(|response| response.get_str("action").map(std::borrow::Cow::into_owned));
    match action.as_deref() {
        Some("decline" | "cancel") => Taken::Declined,
        _ => Taken::On,
    }
}

/// What a client is told whose person has declined.
pub(super) fn declined(server: &str) -> WireError {
    let data = format!(
        r#"{{"upstream":{},"kind":"credentials","retryable":false}}"#,
        json::quote(server)
    );
    WireError::internal(format!(
        "\"{server}\" is not connected, since its person has declined; without that it can't be used in their name"
    ))
    .with_data(data)
}

/// Waits a while until the caller has connected the server, and was asked for the scopes `besides`
/// too; `false` where the client has gone
/// before.
pub(super) async fn wait(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    reply: &Reply,
    besides: &str,
) -> bool {
    let Some((connect, credentials)) = means(gateway, routed) else {
        return true;
    };
    let principal = &routed.call.caller.principal;
    let (server, most) = (routed.upstream.name(), routed.upstream.settings().max_calls);
    tokio::select! {
        biased;
        () = reply.gone() => false,
        // Another process serves whoever is not done yet.
        () = gateway.draining() => true,
        () = connect.wait(principal, server, credentials, besides, most) => true,
    }
}

/// Tells a client that its person is done (2025-11-25, Completion Notifications).
pub(crate) fn complete(id: &str) -> Notification {
    let params = format!(r#"{{"elicitationId":{}}}"#, json::quote(id));
    Notification::new("notifications/elicitation/complete", Some(&params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_no_is_a_no() {
        let declined = |text| matches!(taken(text), Taken::Declined);
        for text in [
            None,
            Some("{}"),
            Some("7"),
            Some(r#"{"connect":{"action":"accept"}}"#),
            Some(r#"{"other":{"action":"decline"}}"#),
            Some(r#"{"connect":7}"#),
        ] {
            assert!(!declined(text), "{text:?}");
        }
        assert!(declined(Some(r#"{"connect":{"action":"decline"}}"#)));
        assert!(declined(Some(r#"{"connect":{"action":"cancel"}}"#)));
    }
}
