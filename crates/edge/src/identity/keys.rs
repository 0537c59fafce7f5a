use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jsonwebtoken::DecodingKey;
use mcp_ultra_domain::Withdrawal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Algorithm;

/// The most keys that an issuer may have.
const MOST_KEYS: usize = 100;

/// A key that signatures are verified with, and until when.
pub(super) struct Key {
    pub(super) decoding: DecodingKey,
    material: Jwk,
    /// In milliseconds since the Unix epoch; 0 once it is withdrawn. Tokens that it has verified
    /// end with it.
    good_until: AtomicU64,
    /// Of the principals whose tokens it has verified.
    withdrawal: Withdrawal,
}

/// A JSON Web Key (RFC 7517, RFC 7518, RFC 8037), as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Box<RawValue>>,
}

/// Why a key set can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is not a JSON Web Key Set")]
    Form,
    #[error("it has more than {MOST_KEYS} keys")]
    TooMany,
    #[error("it has no key that signatures can be verified with")]
    Empty,
}

/// Reads a key set (RFC 7517, 5). Keys of kinds that are not known are passed over, as that
/// section asks; a secret (`oct`) in a public document is one of them.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Arc<Key>>, KeySetError> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|_| KeySetError::Form)?;
    if set.keys.len() > MOST_KEYS {
        return Err(KeySetError::TooMany);
    }
    let keys: Vec<_> = set
        .keys
        .iter()
        .filter_map(|raw| Key::of(serde_json::from_str(raw.get()).ok()?))
        .map(Arc::new)
        .collect();
    if keys.is_empty() {
        return Err(KeySetError::Empty);
    }
    Ok(keys)
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let decoding = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => {
                DecodingKey::from_rsa_components(jwk.n.as_deref()?, jwk.e.as_deref()?).ok()?
            }
            ("EC", Some("P-256" | "P-384")) => {
                DecodingKey::from_ec_components(jwk.x.as_deref()?, jwk.y.as_deref()?).ok()?
            }
            ("OKP", Some("Ed25519")) => DecodingKey::from_ed_components(jwk.x.as_deref()?).ok()?,
            _ => return None,
        };
        Some(Self {
            decoding,
            material: jwk,
            good_until: AtomicU64::new(0),
            withdrawal: Withdrawal::default(),
        })
    }

    /// The shared secret, which is good until another one takes its place.
    pub(super) fn shared(secret: &[u8]) -> Self {
        Self {
            decoding: DecodingKey::from_secret(secret),
            material: Jwk {
                kty: "oct".to_owned(),
                kid: None,
                usage: None,
                alg: None,
                crv: None,
                x: None,
                y: None,
                n: None,
                e: None,
            },
            good_until: AtomicU64::new(u64::MAX),
            withdrawal: Withdrawal::default(),
        }
    }

    /// Whether a signature by `algorithm` can be of this key: its type fits, and its own `alg`.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let jwk = &self.material;
        let kind = match (&*jwk.kty, jwk.crv.as_deref()) {
            ("RSA", _) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            ("EC", Some("P-256")) => algorithm == Es256,
            ("EC", Some("P-384")) => algorithm == Es384,
            ("OKP", _) => algorithm == EdDsa,
            _ => false,
        };
        // RFC 9864 names Ed25519 what RFC 8037 names EdDSA.
        let own = jwk.alg.as_deref().map(|name| match name {
            "Ed25519" => Some(EdDsa),
            name => Algorithm::parse(name),
        });
        kind && own.is_none_or(|own| own == Some(algorithm))
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.material.kid.as_deref()
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.material == other.material
    }

    pub(super) fn is_good(&self, now: Duration) -> bool {
        millis(now) < self.good_until.load(Ordering::Acquire)
    }

    pub(super) fn is_good_until(&self, end: Duration) {
        self.good_until.store(millis(end), Ordering::Release);
    }

    pub(super) fn withdraw(&self) {
        self.good_until.store(0, Ordering::Release);
        self.withdrawal.withdraw();
    }

    pub(super) fn withdrawal(&self) -> &Withdrawal {
        &self.withdrawal
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_known_are_passed_over() {
        let set = br#"{"keys":[
            {"kty":"oct","k":"c2VjcmV0"},
            {"kty":"EC","crv":"P-521","x":"AA","y":"AA"},
            {"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"},
            {"kty":"RSA"}, 7, {"kty":"EC"},
            {"kty":"RSA","kid":"a","alg":"RS256","n":"AQAB","e":"AQAB"},
            {"kty":"EC","crv":"P-256","kid":"b","x":"AA","y":"AA"},
            {"kty":"OKP","crv":"Ed25519","x":"AA","alg":"Ed25519"}]}"#;
        let keys = read(set).unwrap();
        assert_eq!(keys.len(), 3);
        assert!(keys[0].fits(Algorithm::Rs256) && !keys[0].fits(Algorithm::Ps256));
        assert!(keys[1].fits(Algorithm::Es256) && !keys[1].fits(Algorithm::Es384));
        assert!(keys[2].fits(Algorithm::EdDsa) && !keys[2].fits(Algorithm::Es256));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys":1}"#, "<html>"] {
            assert!(matches!(read(text.as_bytes()), Err(KeySetError::Form)));
        }
        assert!(matches!(read(br#"{"keys":[]}"#), Err(KeySetError::Empty)));
        let many = format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(MOST_KEYS));
        assert!(matches!(read(many.as_bytes()), Err(KeySetError::TooMany)));
    }
}
