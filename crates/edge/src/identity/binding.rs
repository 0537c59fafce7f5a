use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp_ultra_domain::Principal;
use serde_json::Value;

use super::{Refused, cache::Digest, verify::Grounds};
use crate::credentials::CallerToken;

/// A SHA-256 that names a key or a certificate.
pub(super) type Thumbprint = [u8; 32];

/// What a token is bound to (RFC 7800). Where it is both, both must be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The key that proofs are signed by (RFC 9449, 6.1: `jkt`).
    pub(super) key: Option<Thumbprint>,
    /// The certificate of the connection (RFC 8705, 3.1: `x5t#S256`).
    pub(super) certificate: Option<Thumbprint>,
}

impl Binding {
    /// Reads `cnf`. A token that is bound in no way that is known here is refused: whoever issued
    /// it did not mean it for anyone who finds it.
    pub(super) fn of(claims: &Value) -> Result<Option<Self>, Refused> {
        let Some(confirmation) = claims.get("cnf") else {
            return Ok(None);
        };
        let confirmation = confirmation.as_object().ok_or(Refused::Bound)?;
        let named = |name: &str| {
            let text = confirmation.get(name).map(Value::as_str);
            text.map(|text| text.and_then(thumbprint).ok_or(Refused::Bound))
                .transpose()
        };
        let (key, certificate) = (named("jkt")?, named("x5t#S256")?);
        if key.is_none() && certificate.is_none() {
            return Err(Refused::Bound);
        }
        Ok(Some(Self { key, certificate }))
    }
}

fn thumbprint(text: &str) -> Option<Thumbprint> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A token that is good, as far as it says itself. Whose it is, it tells only through
/// [`super::Identity::bearer`] and [`super::Identity::prove`], which ask for what it is bound to.
pub struct Believed {
    pub(super) principal: Principal,
    pub(super) binding: Option<Arc<Binding>>,
    pub(super) digest: Digest,
    /// Whether it is a secret of an API key.
    pub(super) is_api_key: bool,
}

impl std::fmt::Debug for Believed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Believed").finish_non_exhaustive()
    }
}

impl Believed {
    /// The text of the token for what exchanges it for another one; `None` for the secret of an
    /// API key, which is no access token. What proofs it is bound to is for the authorization server
    /// to judge.
    pub fn access_token(&self, text: &str) -> Option<CallerToken> {
        (!self.is_api_key).then(|| CallerToken::new(text, *self.digest.bytes()))
    }

    pub(super) fn new(
        principal: Principal,
        binding: Option<Arc<Binding>>,
        grounds: &Grounds,
        digest: Digest,
    ) -> Self {
        Self {
            principal,
            binding,
            digest,
            is_api_key: matches!(grounds, Grounds::ApiKey(_)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_that_is_not_known_is_no_missing_one() {
        let name = URL_SAFE_NO_PAD.encode([7; 32]);
        let of = |confirmation: Value| Binding::of(&json!({ "cnf": confirmation }));
        assert_eq!(Binding::of(&json!({})), Ok(None));
        let key = of(json!({ "jkt": name, "other": 1 })).unwrap().unwrap();
        assert_eq!((key.key, key.certificate), (Some([7; 32]), None));
        let both = of(json!({ "jkt": name, "x5t#S256": name })).unwrap();
        assert_eq!(both.unwrap().certificate, Some([7; 32]));
        for bad in [
            Value::Null,
            json!("x"),
            json!({}),
            json!({ "jwk": {} }),
            json!({ "kid": "k" }),
            json!({ "jkt": "x" }),
            json!({ "jkt": null }),
            json!({ "jkt": format!("{name}=") }),
            json!({ "jkt": name, "x5t#S256": 7 }),
        ] {
            assert_eq!(of(bad.clone()), Err(Refused::Bound), "{bad}");
        }
    }
}
