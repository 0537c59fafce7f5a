use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use jiff::Timestamp;
use mcp_ultra_domain::{PrincipalKind, policy::Action};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyWithToken, replayed, since_epoch, with_token};
use crate::{
    api::{
        Api,
        caller::Caller,
        idempotency::IdempotencyKey,
        input::{Change, Field, Input, Parameters},
        problem::Problem,
    },
    keys::{KeyError, NewKey, USUAL_LIFETIME},
};

/// An API key that is to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiKey)]
pub(super) struct Body {
    /// What people will call it, unique among the keys of the tenant.
    #[schema(max_length = 100)]
    name: String,
    /// Who will hold it: `user`, `agent` (without it) or `workload`.
    kind: Option<String>,
    /// The roles of its principal.
    #[serde(default)]
    roles: Vec<String>,
    /// The scopes of its principal.
    #[serde(default)]
    scopes: Vec<String>,
    /// When it ends (RFC 3339): in 90 days without it, never if null.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Field<Timestamp>,
}

impl Body {
    fn new_key(&self, tenant: &str, now: Duration) -> Result<NewKey, Problem> {
        let kind = match &self.kind {
            None => PrincipalKind::Agent,
            Some(name) => PrincipalKind::parse(name)
                .ok_or_else(|| Problem::invalid("kind", "it is user, agent or workload"))?,
        };
        let expires = match self.expires {
            Field::Missing => Some(now.saturating_add(USUAL_LIFETIME)),
            Field::Null => None,
            Field::Value(end) => Some(since_epoch(end)?),
        };
        Ok(NewKey {
            tenant: tenant.to_owned(),
            name: self.name.clone(),
            kind,
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            expires,
        })
    }
}

/// Makes an API key and shows its secret, this once. Sent again under the same idempotency key it
/// answers with the key that was made, and without the secret.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "createKey",
    tag = "keys",
    params(Change, IdempotencyKey),
    request_body = Body,
    responses(
        (status = 200, description = "A dry run: the key as it would be", body = KeyWithToken),
        (status = 201, description = "The key and its secret", body = KeyWithToken, headers(("ETag" = String, description = "Its revision"))),
        Problem,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Parameters(change): Parameters<Change>,
    idempotency: IdempotencyKey,
    Input(body): Input<Body>,
) -> Result<Response, Problem> {
    let tenant = caller.may(&api, Action::AdminKeysManage, change.tenant)?;
    caller.may_grant(&api, &tenant, &body.roles, &body.scopes)?;
    let now = api.clock.now();
    let new = body.new_key(&tenant, now)?;
    let mut id = api.keys.new_id()?;
    let prepared = api.keys.prepare(id.clone(), new.clone())?;
    if change.dry_run {
        api.keys.check_name(&prepared).await?;
        return Ok(with_token(&api, StatusCode::OK, &prepared, None));
    }
    let request = ("keys", &tenant, &body);
    if let Some(made) = idempotency.claim(&api, &caller, &request, &id).await? {
        id = made;
    }
    match api.keys.create(id.clone(), new).await {
        Ok(made) => {
            tracing::info!(key = id, "an API key was made");
            let answer = with_token(&api, StatusCode::CREATED, &made.key, Some(&made.token));
            Ok(at(&id, answer))
        }
        // Made before, under this idempotency key; else the name is another key's.
        Err(KeyError::NameTaken) => match api.keys.get(&tenant, &id).await {
            Ok(made) => {
                let answer = with_token(&api, StatusCode::CREATED, &made, None);
                Ok(at(&id, replayed(answer)))
            }
            Err(KeyError::NotFound) => Err(KeyError::NameTaken.into()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn at(id: &str, mut response: Response) -> Response {
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/keys/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
