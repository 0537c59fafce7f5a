use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::{find, shown};
use crate::{
    api::{Api, caller::Caller, input::Identifier, problem::Problem, revision::Shown},
    breakers::BreakerView,
};

/// The circuit breaker of one server.
#[utoipa::path(
    get,
    path = "/{id}",
    operation_id = "getBreaker",
    tag = "breakers",
    params(Identifier),
    responses(
        (status = 200, description = "The breaker", body = BreakerView, headers(("ETag" = String, description = "What an operator has decided"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Identifier(server): Identifier,
) -> Result<Shown<BreakerView>, Problem> {
    caller.may_for_all(&api, Action::AdminBreakersRead)?;
    Ok(shown(find(&api, &server)?))
}
