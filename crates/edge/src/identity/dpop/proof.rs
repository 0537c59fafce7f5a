use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    ALGORITHMS,
    key::{Jwk, ProofKey},
};
use crate::identity::Algorithm;

/// A proof as it is sent. Nothing of it is to be believed before [`Proof::is_signed`].
pub(super) struct Proof<'a> {
    /// What it is signed by; it brings the key itself.
    pub(super) key: ProofKey,
    /// Its name, unique to its key (`jti`).
    pub(super) id: String,
    /// The method of the request that it is for (`htm`).
    pub(super) method: String,
    /// The URL of the request that it is for (`htu`).
    pub(super) target: String,
    /// When it was made, since the Unix epoch (`iat`).
    pub(super) issued: Duration,
    /// The SHA-256 of the token that it goes with (`ath`).
    pub(super) token: [u8; 32],
    algorithm: Algorithm,
    message: &'a str,
    signature: &'a str,
}

/// RFC 9449, 4.2.
#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Jwk,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Payload {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    ath: String,
}

impl<'a> Proof<'a> {
    /// Reads the compact form of a JWT; `None` where it is no proof.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: Header = part(header)?;
        // RFC 7515, 4.1.11: an extension that is not understood must not be passed over.
        if header.crit.is_some() || !is_proof(&header.typ) || !ALGORITHMS.contains(&&*header.alg) {
            return None;
        }
        let algorithm = Algorithm::parse(&header.alg)?;
        let payload: Payload = part(payload)?;
        if payload.jti.is_empty() {
            return None;
        }
        Some(Self {
            key: ProofKey::of(&header.jwk, algorithm)?,
            id: payload.jti,
            method: payload.htm,
            target: payload.htu,
            issued: Duration::try_from_secs_f64(payload.iat).ok()?,
            token: URL_SAFE_NO_PAD.decode(payload.ath).ok()?.try_into().ok()?,
            algorithm,
            message,
            signature,
        })
    }

    /// Whether its own key has signed it.
    pub(super) fn is_signed(&self) -> bool {
        let algorithm = self.algorithm.jsonwebtoken();
        let (message, key) = (self.message.as_bytes(), &self.key.decoding);
        jsonwebtoken::crypto::verify(self.signature, message, key, algorithm).unwrap_or(false)
    }
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// RFC 9449, 4.2, as media types are compared (RFC 7515, 4.1.9).
fn is_proof(kind: &str) -> bool {
    let kind = match kind.split_once('/') {
        Some((group, kind)) if group.eq_ignore_ascii_case("application") => kind,
        _ => kind,
    };
    kind.eq_ignore_ascii_case("dpop+jwt")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn header() -> Value {
        json!({
            "typ": "dpop+jwt", "alg": "ES256",
            "jwk": {
                "kty": "EC", "crv": "P-256",
                "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
                "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            },
        })
    }

    fn payload() -> Value {
        json!({
            "jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": "https://resource.example.org/protectedresource",
            "iat": 1_562_262_618, "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
        })
    }

    fn text(header: &Value, payload: &Value) -> String {
        let part = |value: &Value| encode(value.to_string().as_bytes());
        format!("{}.{}.AA", part(header), part(payload))
    }

    /// The example of RFC 9449, 7.1.
    const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"; // not a secret

    #[test]
    fn the_proof_of_the_specification_is_signed_by_its_key() {
        let proof = Proof::read(EXAMPLE).unwrap();
        assert!(proof.is_signed());
        assert_eq!(proof.method, "GET");
        assert_eq!(proof.issued, Duration::from_secs(1_562_262_618));
        let again = text(&header(), &payload());
        let (message, _) = again.rsplit_once('.').unwrap();
        let (_, signature) = EXAMPLE.rsplit_once('.').unwrap();
        let other = format!("{message}.{signature}");
        assert!(!Proof::read(&other).unwrap().is_signed());
    }

    #[test]
    fn everything_else_is_none() {
        assert!(Proof::read(&text(&header(), &payload())).is_some());
        for (name, bad) in [
            ("typ", json!("JWT")),
            ("typ", json!("at+jwt")),
            ("typ", Value::Null),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("ES384")),
            ("alg", json!("RS512")),
            ("alg", json!("RS256")),
            ("jwk", Value::Null),
            ("jwk", json!({ "kty": "oct", "k": "AA" })),
            ("crit", json!(["b64"])),
        ] {
            let mut header = header();
            header[name] = bad;
            assert!(
                Proof::read(&text(&header, &payload())).is_none(),
                "{header}"
            );
        }
        for (name, bad) in [
            ("jti", json!("")),
            ("jti", json!(7)),
            ("jti", Value::Null),
            ("htm", Value::Null),
            ("htu", Value::Null),
            ("iat", json!("now")),
            ("iat", json!(-1)),
            ("iat", json!(f64::MAX)),
            ("ath", Value::Null),
            ("ath", json!("AA")),
        ] {
            let mut payload = payload();
            payload[name] = bad;
            assert!(
                Proof::read(&text(&header(), &payload)).is_none(),
                "{payload}"
            );
        }
        for text in [
            "",
            ".",
            "..",
            "...",
            "a.b.c",
            "e30.e30.",
            &format!("{EXAMPLE}.x"),
        ] {
            assert!(Proof::read(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(
            loose in ".{0,64}",
            head in any::<Vec<u8>>(),
            body in any::<Vec<u8>>(),
            member in prop::sample::select(vec!["kty", "crv", "x", "y", "n", "e", "typ", "alg"]),
            value in ".{0,48}",
            signature in "[A-Za-z0-9_-]{0,96}",
        ) {
            let tried = |text: &str| Proof::read(text).is_some_and(|proof| proof.is_signed());
            assert!(!tried(&loose));
            assert!(!tried(&format!("{}.{}.{signature}", encode(&head), encode(&body))));
            let good = text(&header(), &payload());
            let (message, _) = good.rsplit_once('.').unwrap();
            let (first, _) = message.split_once('.').unwrap();
            assert!(!tried(&format!("{message}.{signature}")));
            assert!(!tried(&format!("{first}.{}.{signature}", encode(&body))));
            let mut changed = header();
            changed["jwk"][member] = json!(value);
            let changed = text(&changed, &payload());
            let (message, _) = changed.rsplit_once('.').unwrap();
            assert!(!tried(&format!("{message}.{signature}")));
        }
    }
}
