use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;

use crate::{
    api::{
        Api,
        caller::Caller,
        input::Parameters,
        page::{Limit, List, Page},
        problem::Problem,
    },
    keys::KeyView,
};

/// A page of them.
type Keys = List<KeyView>;

/// The API keys of a tenant, ended ones too.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listKeys",
    tag = "keys",
    params(Page),
    responses(
        (status = 200, description = "A page", body = Keys),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<Keys>, Problem> {
    let limit = Limit::of(page.limit)?;
    let tenant = caller.may(&api, Action::AdminKeysRead, page.tenant)?;
    let keys = api
        .keys
        .list(&tenant, page.after.as_deref(), limit.and_one())
        .await?;
    let now = api.clock.now();
    let views = keys.iter().map(|key| KeyView::of(key, now));
    Ok(Json(List::cut(limit, views, |key| key.id.clone())))
}
