use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{Algorithm, Refused};

/// How a token says that it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signed {
    /// By the private key of an issuer.
    Key(Algorithm),
    /// HS256, by the shared secret.
    Shared,
}

/// What a token says of itself. Nothing of it is believed: it chooses the key that it is verified
/// with.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) algorithm: Signed,
    pub(super) key_id: Option<String>,
    pub(super) issuer: Option<String>,
}

/// The JOSE header (RFC 7515, 4.1), as far as it is looked at. `jku`, `jwk`, `x5u` and `x5c`, by
/// which a token brings its own key, are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    iss: Option<String>,
}

impl Claimed {
    /// Reads the compact form of a JWT (RFC 7519).
    pub(super) fn read(token: &str) -> Result<Self, Refused> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed);
        };
        let header: Header = part(header)?;
        let payload: Payload = part(payload)?;
        // RFC 7515, 4.1.11: an extension that is not understood must not be passed over.
        if header.crit.is_some() || !header.typ.as_deref().is_none_or(is_access_token) {
            return Err(Refused::Malformed);
        }
        let algorithm = match (&*header.alg, Algorithm::parse(&header.alg)) {
            ("HS256", _) => Signed::Shared,
            (_, Some(algorithm)) => Signed::Key(algorithm),
            _ => return Err(Refused::Algorithm),
        };
        Ok(Self {
            algorithm,
            key_id: header.kid,
            issuer: payload.iss,
        })
    }
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Result<T, Refused> {
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| Refused::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Malformed)
}

/// RFC 9068, 2.1, and what issuers use that are older than it.
fn is_access_token(kind: &str) -> bool {
    let kind = match kind.split_once('/') {
        Some((group, kind)) if group.eq_ignore_ascii_case("application") => kind,
        _ => kind,
    };
    kind.eq_ignore_ascii_case("at+jwt") || kind.eq_ignore_ascii_case("jwt")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(
            text in ".{0,64}",
            header in any::<Vec<u8>>(),
            payload in any::<Vec<u8>>(),
        ) {
            drop(Claimed::read(&text));
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let known = encode(br#"{"alg":"RS256"}"#);
            drop(Claimed::read(&format!("{}.{}.s", encode(&header), encode(&payload))));
            drop(Claimed::read(&format!("{known}.{}.s", encode(&payload))));
        }
    }

    fn read(header: &str, payload: &str) -> Result<Claimed, Refused> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Claimed::read(&format!("{}.{}.sig", encode(header), encode(payload)))
    }

    #[test]
    fn what_a_token_says_of_itself_is_read() {
        let claimed = read(
            r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#,
            r#"{"iss":"i"}"#,
        )
        .unwrap();
        assert_eq!(claimed.algorithm, Signed::Key(Algorithm::Es256));
        assert_eq!(claimed.key_id.as_deref(), Some("k"));
        assert_eq!(claimed.issuer.as_deref(), Some("i"));
        for kind in ["JWT", "jwt", "application/at+jwt", "AT+JWT"] {
            assert!(read(&format!(r#"{{"alg":"RS256","typ":"{kind}"}}"#), "{}").is_ok());
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (header, why) in [
            (r#"{"alg":"none"}"#, Refused::Algorithm),
            (r#"{"alg":"None"}"#, Refused::Algorithm),
            (r#"{"alg":"HS512"}"#, Refused::Algorithm),
            (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, Refused::Malformed),
            (r#"{"alg":"ES256","typ":"logout+jwt"}"#, Refused::Malformed),
            (r#"{"alg":"ES256","crit":["b64"]}"#, Refused::Malformed),
            (r#"{"alg":"ES256","alg":"none"}"#, Refused::Malformed),
            ("{}", Refused::Malformed),
            ("[]", Refused::Malformed),
            ("", Refused::Malformed),
        ] {
            assert_eq!(read(header, "{}").unwrap_err(), why, "{header}");
        }
        for token in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            "e30.e30.",
            "ä.b.c",
            "a b",
            "e30.e30.c d",
            "a, Bearer b",
        ] {
            assert_eq!(
                Claimed::read(token).unwrap_err(),
                Refused::Malformed,
                "{token}"
            );
        }
    }
}
