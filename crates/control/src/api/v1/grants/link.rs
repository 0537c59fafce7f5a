use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use mcp_ultra_domain::{Attributes, Principal, PrincipalKind, policy::Action};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{
        Api,
        caller::Caller,
        idempotency::IdempotencyKey,
        input::{Change, Input, Parameters},
        problem::{Kind, Problem},
    },
    time::timestamp,
};

/// The longest name of somebody for an issuer.
const LONGEST: usize = 512;

/// Who is to connect which server.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateConnectLink)]
pub(super) struct Body {
    /// The server, by its name in the configuration.
    server: String,
    /// Who vouches for the person (`iss`), one of `connect.logins`; without it, and without
    /// `subject`, the person is the caller.
    issuer: Option<String>,
    /// Who the person is for that issuer (`sub`).
    subject: Option<String>,
}

/// A link. Whoever opens it has to log in as the person that it is for.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectLink)]
pub(super) struct Made {
    /// Where the person goes with a browser; null for a dry run.
    url: Option<String>,
    /// What the link is called in pages and in the log; null for a dry run.
    reference: Option<String>,
    server: String,
    tenant: String,
    issuer: String,
    subject: String,
    /// When it ends (RFC 3339). It is good once.
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

/// Makes a link by which one person connects a server to their account, before they have called it.
/// It lets nobody else do anything: whoever opens it logs in as that person first. Sent again under
/// the same idempotency key it answers with the same link.
#[utoipa::path(
    post,
    path = "/links",
    operation_id = "createConnectLink",
    tag = "grants",
    params(Change, IdempotencyKey),
    request_body = Body,
    responses(
        (status = 200, description = "A dry run: the link as it would be", body = Made),
        (status = 201, description = "The link", body = Made),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn link(
    State(api): State<Api>,
    caller: Caller,
    Parameters(change): Parameters<Change>,
    idempotency: IdempotencyKey,
    Input(body): Input<Body>,
) -> Result<Response, Problem> {
    let principal = whom(&api, &caller, change.tenant, &body)?;
    // Before the key is used up.
    api.links.check(&principal, &body.server)?;
    let now = api.clock.now();
    let mut id = api.links.new_id();
    let mut ends = Duration::from_secs(now.saturating_add(api.links.lifetime()).as_secs());
    if !change.dry_run {
        let request = ("links", principal.id(), &body);
        // With its end, so that the same link can be made again.
        let named = format!("{id}.{}", ends.as_secs());
        let claimed = idempotency.claim(&api, &caller, &request, &named);
        if let Some(made) = claimed.await? {
            (id, ends) = again(&made, now)?;
        }
    }
    let made = if change.dry_run {
        None
    } else {
        Some(api.links.link(&principal, &body.server, &id, ends)?)
    };
    let (url, reference) = made.map(|made| (made.url, made.reference)).unzip();
    let attributes = principal.attributes();
    let shown = Made {
        url,
        reference,
        server: body.server,
        tenant: attributes.tenant.to_string(),
        issuer: attributes.issuer.clone(),
        subject: attributes.subject.clone(),
        expires: timestamp(ends),
    };
    let status = if change.dry_run {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    // Nobody else has a use for it, but it need not be kept either.
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

/// For whom the link is to be, if the caller may make it.
fn whom(
    api: &Api,
    caller: &Caller,
    tenant: Option<String>,
    body: &Body,
) -> Result<Principal, Problem> {
    let (Some(issuer), Some(subject)) = (&body.issuer, &body.subject) else {
        if body.issuer.is_some() || body.subject.is_some() {
            let why = "name issuer and subject, or neither for yourself";
            return Err(Problem::invalid("subject", why));
        }
        let own = caller.principal();
        if tenant.is_some_and(|tenant| *tenant != **own.tenant()) {
            let why = "a link for yourself is of your own tenant; name issuer and subject for another one";
            return Err(Problem::invalid("tenant", why));
        }
        return caller
            .may(api, Action::AdminGrantsLinkOwn, None)
            .or_else(|_| caller.may(api, Action::AdminGrantsLink, None))
            .map(|_| own.clone());
    };
    let tenant = caller.may(api, Action::AdminGrantsLink, tenant)?;
    for (field, text) in [("issuer", issuer), ("subject", subject)] {
        if text.is_empty() || text.len() > LONGEST {
            return Err(Problem::invalid(field, "it must have 1 to 512 bytes"));
        }
    }
    Ok(Attributes::new(PrincipalKind::User, &tenant, issuer, subject).into())
}

/// The link that was made before.
fn again(made: &str, now: Duration) -> Result<(String, Duration), Problem> {
    let (id, ends) = made.split_once('.').unwrap_or_default();
    let ends = Duration::from_secs(ends.parse().unwrap_or_default());
    if ends <= now {
        let why = "the link that was made under this Idempotency-Key has ended; use a new one";
        return Err(Problem::new(Kind::CONFLICT, why));
    }
    Ok((id.to_owned(), ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_has_ended_is_not_made_again() {
        let ends = Duration::from_secs(20);
        let soon = again("id.20", Duration::from_secs(19)).unwrap();
        assert_eq!(soon, ("id".to_owned(), ends));
        assert!(again("id.20", ends).is_err());
        // What nobody has written here.
        assert!(again("id", ends).is_err() && again("id.soon", ends).is_err());
    }
}
