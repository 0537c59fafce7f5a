//! `/api/v1/sessions`: what callers have open at this gateway. It is ended for good, but no caller is
//! kept from coming back with a credential that is still good.

mod end;
mod end_all;
mod list;
mod show;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        problem::{Kind, Problem},
        revision::{Shown, Tag},
    },
    sessions::SessionView,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list, end_all::end_all))
        .routes(routes!(show::show, end::end))
}

fn find(api: &Api, tenant: &str, id: &str) -> Result<SessionView, Problem> {
    let mut all = api.sessions.list(tenant).into_iter();
    let found = all.find(|session| session.id == id);
    found.ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(
        Kind::NOT_FOUND,
        "the tenant has no such session open at this gateway",
    )
}

/// A session does not change for administrators until it ends.
fn tag() -> Tag {
    Tag::of(1)
}

fn shown(session: SessionView) -> Shown<SessionView> {
    Shown::new(tag(), session)
}
