use axum::extract::State;
use mcp_ultra_domain::policy::Action;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Change, Identifier, Parameters},
        problem::Problem,
        revision::{IfMatch, Shown, Tag},
    },
    grants::{GrantView, Revoked},
};

/// A grant that is gone, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WithdrawnGrant)]
pub(super) struct Withdrawn {
    #[serde(flatten)]
    grant: GrantView,
    /// Whether the authorization server has ended the tokens (RFC 7009): `yes`, `not_offered`,
    /// `failed`, or `not_asked` for a dry run.
    revoked: &'static str,
}

/// Withdraws a grant: it is removed, its tokens are ended at the authorization server where that
/// offers it, and whoever has given it is asked again when they use the server next.
#[utoipa::path(
    delete,
    path = "/{id}",
    operation_id = "withdrawGrant",
    tag = "grants",
    params(Identifier, Change, IfMatch),
    responses(
        (status = 200, description = "The grant as it was, or as it is for a dry run", body = Withdrawn, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
) -> Result<Shown<Withdrawn>, Problem> {
    let tenant = caller.may(&api, Action::AdminGrantsManage, query.tenant)?;
    let found = api.grants.get(&tenant, &id).await?;
    let tag = Tag::of(found.revision);
    meant.check(&tag)?;
    let revoked = if query.dry_run {
        Revoked::NotAsked
    } else {
        let revoked = api.grants.withdraw(&found).await?;
        tracing::info!(
            grant = id,
            server = found.server,
            revoked = revoked.as_str(),
            "a grant was withdrawn"
        );
        revoked
    };
    let body = Withdrawn {
        grant: GrantView::from(&found),
        revoked: revoked.as_str(),
    };
    Ok(Shown::new(tag, body))
}
