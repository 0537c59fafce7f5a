use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, de::IgnoredAny};

use crate::identity::{Algorithm, binding::Thumbprint};

/// The modulus of an RSA key, in bytes: shorter ones are weak, longer ones cost too much time.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// The longest public exponent of an RSA key, in bytes.
const LONGEST_EXPONENT: usize = 4;

/// The public key of a proof.
pub(super) struct ProofKey {
    pub(super) decoding: DecodingKey,
    pub(super) thumbprint: Thumbprint,
}

/// The member `jwk` of a proof (RFC 7517, RFC 7518, RFC 8037).
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    // What no public key has.
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl ProofKey {
    /// The key, where it is a public one that signatures by `algorithm` can be of.
    pub(super) fn of(jwk: &Jwk, algorithm: Algorithm) -> Option<Self> {
        let private = [
            &jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi, &jwk.oth, &jwk.k,
        ];
        if private.into_iter().any(Option::is_some) {
            return None;
        }
        // The text that is hashed (RFC 7638, 3.2; RFC 8037, 2) has the members in this order. Their
        // values are base64url, which has one form only that is read.
        let (decoding, text) = match (algorithm, &*jwk.kty, jwk.crv.as_deref()) {
            (Algorithm::Es256, "EC", Some(curve @ "P-256"))
            | (Algorithm::Es384, "EC", Some(curve @ "P-384")) => {
                let length = if curve == "P-256" { 32 } else { 48 };
                let x = value(jwk.x.as_ref(), |bytes| bytes.len() == length)?;
                let y = value(jwk.y.as_ref(), |bytes| bytes.len() == length)?;
                let text = format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#);
                (DecodingKey::from_ec_components(x, y), text)
            }
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                let x = value(jwk.x.as_ref(), |bytes| bytes.len() == 32)?;
                let text = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
                (DecodingKey::from_ed_components(x), text)
            }
            (Algorithm::Rs256 | Algorithm::Ps256, "RSA", None) => {
                let n = value(jwk.n.as_ref(), |bytes| {
                    MODULUS.contains(&bytes.len()) && bytes[0] != 0
                })?;
                let e = value(jwk.e.as_ref(), |bytes| {
                    (1..=LONGEST_EXPONENT).contains(&bytes.len()) && bytes[0] != 0
                })?;
                let text = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
                (DecodingKey::from_rsa_components(n, e), text)
            }
            _ => return None,
        };
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Some(Self {
            decoding: decoding.ok()?,
            thumbprint,
        })
    }
}

/// A member, if what it encodes is `fine`.
fn value(member: Option<&String>, fine: impl Fn(&[u8]) -> bool) -> Option<&str> {
    let text = member?;
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    fine(&bytes).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(jwk: &Value, algorithm: Algorithm) -> Option<String> {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        let key = ProofKey::of(&jwk, algorithm)?;
        Some(URL_SAFE_NO_PAD.encode(key.thumbprint))
    }

    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        // RFC 9449, 4.2 and 6.1.
        let ec = json!({
            "kty": "EC", "crv": "P-256",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        let expected = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert_eq!(of(&ec, Algorithm::Es256).as_deref(), Some(expected));
        // RFC 8037, A.3.
        let okp = json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        let expected = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(of(&okp, Algorithm::EdDsa).as_deref(), Some(expected));
        // RFC 7638, 3.1.
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(of(&rsa, Algorithm::Rs256).as_deref(), Some(expected));
        assert_eq!(of(&rsa, Algorithm::Ps256).as_deref(), Some(expected));
        for (key, algorithm) in [
            (&ec, Algorithm::Es384),
            (&ec, Algorithm::Rs256),
            (&ec, Algorithm::EdDsa),
            (&okp, Algorithm::Es256),
            (&rsa, Algorithm::Es256),
            (&rsa, Algorithm::Rs512),
        ] {
            assert_eq!(of(key, algorithm), None, "{algorithm:?}");
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut key = ec.clone();
            key[private] = json!("AA");
            assert_eq!(of(&key, Algorithm::Es256), None, "{private}");
        }
        for (member, bad) in [
            ("x", json!("AA")),
            ("x", json!("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs=")),
            // The same bytes in another form.
            ("x", json!("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFt")),
            ("y", Value::Null),
            ("crv", json!("secp256k1")),
            ("kty", json!("oct")),
        ] {
            let mut key = ec.clone();
            key[member] = bad;
            assert_eq!(of(&key, Algorithm::Es256), None, "{key}");
        }
        for (member, bad) in [
            ("n", "AQAB"),
            ("e", "AAAAAQAB"),
            ("e", "AQAAAAAB"),
            ("e", ""),
        ] {
            let mut key = rsa.clone();
            key[member] = json!(bad);
            assert_eq!(of(&key, Algorithm::Rs256), None, "{key}");
        }
    }
}
