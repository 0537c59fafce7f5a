//! `/api/v1/breakers`: the circuit breakers of servers. They are the gateway's, of no tenant.

mod force;
mod list;
mod show;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        Api,
        problem::{Kind, Problem},
        revision::{Shown, Tag},
    },
    breakers::{BreakerView, Force},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(show::show, force::force))
}

/// What an operator has decided: the rest changes with each call.
fn tag(view: &BreakerView) -> Tag {
    let forced = view.forced.map_or("by-itself", Force::as_str);
    Tag::quoted(format!("\"{forced}\""))
}

fn shown(view: BreakerView) -> Shown<BreakerView> {
    Shown::new(tag(&view), view)
}

fn find(api: &Api, server: &str) -> Result<BreakerView, Problem> {
    let all = api.breakers.list().into_iter();
    let mut found = all.filter(|one| one.server == server);
    found.next().ok_or_else(|| {
        Problem::new(
            Kind::NOT_FOUND,
            "no server of that name has a circuit breaker",
        )
    })
}
