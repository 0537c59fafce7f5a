use axum::extract::State;
use mcp_ultra_domain::policy::Action;

use super::{find, shown, tag};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Change, Identifier, Parameters},
        problem::{Kind, Problem},
        revision::{IfMatch, Shown},
    },
    blocks::BlockView,
};

/// Lets a caller in again before the block is over, with a credential that is still good.
#[utoipa::path(
    delete,
    path = "/{id}",
    operation_id = "removeBlock",
    tag = "blocks",
    params(Identifier, Change, IfMatch),
    responses(
        (status = 200, description = "The block as it was, or as it is for a dry run", body = BlockView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
) -> Result<Shown<BlockView>, Problem> {
    let tenant = caller.may(&api, Action::AdminBlocksManage, query.tenant)?;
    let found = find(&api, &tenant, &id).await?;
    meant.check(&tag(&found))?;
    if !query.dry_run {
        if !api.blocks.remove(&found).await? {
            return Err(Problem::new(
                Kind::CHANGED,
                "the block has been changed meanwhile; read it again",
            ));
        }
        api.sessions.blocks_changed().await;
        tracing::info!(block = id, "an administrator let a blocked caller in again");
    }
    Ok(shown(&found))
}
