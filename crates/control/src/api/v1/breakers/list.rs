use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::Parameters,
        page::{Limit, List},
        problem::Problem,
    },
    breakers::BreakerView,
};

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// `next` of the page before.
    after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    limit: Option<u32>,
}

/// A page of them.
type Breakers = List<BreakerView>;

/// The circuit breakers of servers and of what the gateway itself needs, as this gateway has them.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listBreakers",
    tag = "breakers",
    params(Which),
    responses(
        (status = 200, description = "A page", body = Breakers),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Breakers>, Problem> {
    let limit = Limit::of(which.limit)?;
    caller.may_for_all(&api, Action::AdminBreakersRead)?;
    let after = which.after.unwrap_or_default();
    let all = api.breakers.list().into_iter();
    let rest = all.filter(|one| one.server > after);
    Ok(Json(List::cut(limit, rest, |one| one.server.clone())))
}
