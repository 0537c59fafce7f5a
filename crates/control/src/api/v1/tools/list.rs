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
    pins::PinView,
};

/// Which tools, and which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only those that wait for approval.
    #[serde(default)]
    waiting: bool,
    /// `next` of the page before.
    after: Option<String>,
    /// The most entries of a page: 1 to 200, usually 50.
    limit: Option<u32>,
}

/// A page of them.
type Tools = List<PinView>;

/// The tools that servers offer or have offered, in the order of servers and names.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listTools",
    tag = "tools",
    params(Page),
    responses(
        (status = 200, description = "A page", body = Tools),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<Tools>, Problem> {
    let limit = Limit::of(page.limit)?;
    caller.may_for_all(&api, Action::AdminToolsRead)?;
    let after = page.after.as_deref().map(|after| {
        let parts = after.split_once('/');
        parts.ok_or_else(|| Problem::invalid("after", "it is not the `next` of a page"))
    });
    let after = after.transpose()?;
    let pins = api.pins.list(after, page.waiting, limit.and_one()).await?;
    let views = pins.iter().map(PinView::of);
    let place = |tool: &PinView| format!("{}/{}", tool.server, tool.tool);
    Ok(Json(List::cut(limit, views, place)))
}
