use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{shown, since_epoch, to_change};
use crate::{
    api::{
        Api,
        caller::Caller,
        input::{Change, Field, Identifier, Input, Parameters},
        problem::{Kind, Problem},
        revision::{IfMatch, Shown},
    },
    keys::{KeyChange, KeyView},
};

/// What is to become of an API key; what is left out stays as it is, and null empties it (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateApiKey)]
pub(super) struct Body {
    /// What people call it. A key always has a name, so null is refused.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Field<String>,
    /// All its roles, or null for none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    roles: Field<Vec<String>>,
    /// All its scopes, or null for none.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Field<Vec<String>>,
    /// When it ends (RFC 3339), or null for never.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Field<Timestamp>,
}

/// Changes an API key. Open streams of its principal end, and it is used as it is now.
#[utoipa::path(
    patch,
    path = "/{id}",
    operation_id = "updateKey",
    tag = "keys",
    params(Identifier, Change, IfMatch),
    request_body = Body,
    responses(
        (status = 200, description = "The key as it is, or would be, now", body = KeyView, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<Change>,
    Identifier(id): Identifier,
    meant: IfMatch,
    Input(body): Input<Body>,
) -> Result<Shown<KeyView>, Problem> {
    let found = to_change(&api, &caller, query.tenant, &id, &meant).await?;
    let name = match body.name {
        Field::Missing => None,
        Field::Null => {
            let why = "a key always has a name: leave `name` out, or send another one";
            return Err(Problem::new(Kind::INVALID, why));
        }
        Field::Value(name) => Some(name),
    };
    let (roles, scopes) = (body.roles.or_empty(), body.scopes.or_empty());
    let granted = (roles.iter().flatten(), scopes.iter().flatten());
    caller.may_grant(&api, &found.tenant, granted.0, granted.1)?;
    let expires = match body.expires {
        Field::Missing => None,
        Field::Null => Some(None),
        Field::Value(end) => Some(Some(since_epoch(end)?)),
    };
    let change = KeyChange {
        name,
        roles,
        scopes,
        expires,
    };
    let changed = api.keys.apply(found.clone(), change.clone())?;
    if query.dry_run {
        api.keys.check_name(&changed).await?;
        return Ok(shown(&api, &changed));
    }
    let changed = api.keys.update(found, change).await?;
    tracing::info!(key = id, "an API key was changed");
    Ok(shown(&api, &changed))
}
