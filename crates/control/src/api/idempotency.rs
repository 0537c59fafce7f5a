use aws_lc_rs::digest::{SHA256, digest};
use axum::{extract::FromRequestParts, http::request::Parts};
use mcp_ultra_domain::ports::Claim;
use serde::Serialize;
use utoipa::IntoParams;

use super::{
    Api,
    caller::Caller,
    input,
    problem::{Kind, Problem},
};

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// The idempotency key of a request that makes something
/// (draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug, IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub(super) struct IdempotencyKey(
    /// Of your choice; the same one when this is sent again
    String,
);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = input::header(&parts.headers, "idempotency-key")?.ok_or_else(|| {
            Problem::invalid(
                "Idempotency-Key",
                "send a key of your choice, such as a UUID, and the same one when you send this again",
            )
        })?;
        // The draft has it as a string of structured fields; most clients leave the quotes out.
        let key = key
            .strip_prefix('"')
            .and_then(|key| key.strip_suffix('"'))
            .unwrap_or(key);
        let fine = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
        if key.is_empty() || key.len() > LONGEST || !key.bytes().all(fine) {
            return Err(Problem::invalid(
                "Idempotency-Key",
                "it must be 1 to 255 visible ASCII characters",
            ));
        }
        Ok(Self(key.to_owned()))
    }
}

impl IdempotencyKey {
    /// Claims the key for what the caller asks for, which is to make the one of this name. Answers
    /// with the name of the one that was made before, where the same was asked for under this key.
    pub(super) async fn claim(
        &self,
        api: &Api,
        caller: &Caller,
        request: &impl Serialize,
        name: &str,
    ) -> Result<Option<String>, Problem> {
        let owner = caller.principal().id();
        let (request, now) = (digest_of(request), api.clock.now());
        let claimed = api.idempotency.claim(owner, &self.0, &request, name, now);
        match claimed.await.map_err(|error| Problem::store(&error))? {
            Claim::New => Ok(None),
            Claim::Same(made) => Ok(Some(made)),
            Claim::Other => Err(Problem::new(
                Kind::UNPROCESSABLE,
                "another request was sent under this Idempotency-Key; use a new one",
            )),
        }
    }
}

/// The digest of what is asked for: the same request has the same one.
fn digest_of(request: &impl Serialize) -> [u8; 32] {
    let text = serde_json::to_vec(request).unwrap_or_default();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, &text).as_ref());
    bytes
}
