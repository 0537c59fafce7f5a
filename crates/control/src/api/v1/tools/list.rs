use axum::{Json, extract::State};
use mcp_ultra_domain::policy::Action;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        Api,
        caller::Caller,
        input::{self, Parameters},
        problem::{Document, Problem},
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

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolList)]
pub(super) struct List {
    items: Vec<PinView>,
    /// Ask with `after` set to this for the next page; null at the end.
    next: Option<String>,
}

/// The tools that servers offer or have offered, in the order of servers and names.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "listTools",
    tag = "tools",
    params(Page),
    responses(
        (status = 200, description = "A page", body = List),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(page): Parameters<Page>,
) -> Result<Json<List>, Problem> {
    let limit = input::page_limit(page.limit)?;
    caller.may_for_all(&api, Action::AdminToolsRead)?;
    let after = page.after.as_deref().map(|after| {
        let parts = after.split_once('/');
        parts.ok_or_else(|| Problem::invalid("after", "it is not the `next` of a page"))
    });
    let after = after.transpose()?;
    // One more than asked for tells whether there is another page.
    let mut pins = api.pins.list(after, page.waiting, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = pins.len() > limit;
    pins.truncate(limit);
    let last = pins.last().filter(|_| more);
    Ok(Json(List {
        next: last.map(|pin| format!("{}/{}", pin.server, pin.tool)),
        items: pins.iter().map(PinView::of).collect(),
    }))
}
