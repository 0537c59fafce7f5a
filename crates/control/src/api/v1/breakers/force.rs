use axum::extract::State;
use mcp_ultra_domain::policy::Action;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{find, shown, tag};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{DryRun, Identifier, Input, Parameters},
        problem::Problem,
        revision::{IfMatch, Shown},
    },
    breakers::{BreakerView, Force},
};

/// What the breaker is to do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForceBreaker)]
pub(super) struct Wanted {
    /// `open`: no call passes; `closed`: all calls pass; null: it decides by itself.
    #[serde(deserialize_with = "Option::deserialize")]
    forced: Option<Force>,
}

/// Forces the circuit breaker of a server open or closed, or lets it decide by itself again. A breaker
/// that is forced closed forgets what has failed. One of what the gateway itself needs is forced at this
/// gateway alone, for an hour at most.
#[utoipa::path(
    put,
    path = "/{id}",
    operation_id = "forceBreaker",
    tag = "breakers",
    params(Identifier, DryRun, IfMatch),
    request_body = Wanted,
    responses(
        (status = 200, description = "The breaker as it is now, or as it was for a dry run", body = BreakerView, headers(("ETag" = String, description = "What an operator has decided"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn force(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<DryRun>,
    Identifier(server): Identifier,
    meant: IfMatch,
    Input(wanted): Input<Wanted>,
) -> Result<Shown<BreakerView>, Problem> {
    caller.may_for_all(&api, Action::AdminBreakersForce)?;
    let there = find(&api, &server)?;
    meant.check(&tag(&there))?;
    if query.dry_run {
        return Ok(shown(there));
    }
    api.breakers.force(&server, wanted.forced);
    let forced = wanted.forced.map_or("no more", Force::as_str);
    tracing::info!(
        upstream = server,
        forced,
        "an administrator has decided on a circuit breaker"
    );
    Ok(shown(find(&api, &server)?))
}
