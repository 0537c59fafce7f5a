use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::{find, shown};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Identifier, OfTenant, Parameters},
        problem::Problem,
        revision::Shown,
    },
    blocks::BlockView,
};

/// One caller who is blocked now.
#[utoipa::path(
    get,
    path = "/{id}",
    operation_id = "getBlock",
    tag = "blocks",
    params(Identifier, OfTenant),
    responses(
        (status = 200, description = "The block", body = BlockView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<OfTenant>,
    Identifier(id): Identifier,
) -> Result<Shown<BlockView>, Problem> {
    let tenant = caller.may(&api, Action::AdminBlocksRead, query.tenant)?;
    Ok(shown(&find(&api, &tenant, &id).await?))
}
