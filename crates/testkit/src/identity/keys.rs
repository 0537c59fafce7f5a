use std::io;

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that tokens are signed by.
pub struct SigningKey {
    id: Option<String>,
    kind: Kind,
}

enum Kind {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
    Ps256(RsaKeyPair),
}

impl SigningKey {
    /// A new key for ES256.
    pub fn es256(id: &str) -> io::Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::of(id, Kind::Es256(pair.map_err(io::Error::other)?))
    }

    /// A new key for ES384.
    pub fn es384(id: &str) -> io::Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING);
        Self::of(id, Kind::Es384(pair.map_err(io::Error::other)?))
    }

    /// A new key for `EdDSA`.
    pub fn ed25519(id: &str) -> io::Result<Self> {
        let pair = Ed25519KeyPair::generate();
        Self::of(id, Kind::Ed25519(pair.map_err(io::Error::other)?))
    }

    /// A new key for RS256.
    pub fn rs256(id: &str) -> io::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048);
        Self::of(id, Kind::Rs256(pair.map_err(io::Error::other)?))
    }

    /// A new key for PS256.
    pub fn ps256(id: &str) -> io::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048);
        Self::of(id, Kind::Ps256(pair.map_err(io::Error::other)?))
    }

    #[expect(clippy::unnecessary_wraps, reason = "what makes keys may fail")]
    fn of(id: &str, kind: Kind) -> io::Result<Self> {
        let id = Some(id.to_owned());
        Ok(Self { id, kind })
    }

    /// The same without an id: neither its public half nor its tokens have a `kid`.
    #[must_use]
    pub fn unnamed(self) -> Self {
        Self { id: None, ..self }
    }

    /// The name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Es256(_) => "ES256",
            Kind::Es384(_) => "ES384",
            Kind::Ed25519(_) => "EdDSA",
            Kind::Rs256(_) => "RS256",
            Kind::Ps256(_) => "PS256",
        }
    }

    /// The public half as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.kind {
            Kind::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
            }
            Kind::Es384(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-384", "x": encode(&point[1..49]), "y": encode(&point[49..]) })
            }
            Kind::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
            Kind::Rs256(pair) | Kind::Ps256(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero();
                let exponent = public.exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
            }
        };
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// The bytes of the public half, as one who confuses algorithms would take them for a secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Es256(pair) | Kind::Es384(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Rs256(pair) | Kind::Ps256(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> io::Result<String> {
        let mut header = json!({ "alg": self.algorithm(), "typ": "at+jwt" });
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        self.token_with(&header, claims)
    }

    /// A token with this header, whatever it says.
    pub fn token_with(&self, header: &Value, claims: &Value) -> io::Result<String> {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let bytes = message.as_bytes();
        let rsa = |pair: &RsaKeyPair, padding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, bytes, &mut signature)
                .map(|()| signature)
        };
        let signature = match &self.kind {
            Kind::Es256(pair) | Kind::Es384(pair) => {
                pair.sign(&random, bytes).map(|s| s.as_ref().to_vec())
            }
            Kind::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
            Kind::Rs256(pair) => rsa(pair, &RSA_PKCS1_SHA256),
            Kind::Ps256(pair) => rsa(pair, &RSA_PSS_SHA256),
        };
        let signature = signature.map_err(io::Error::other)?;
        Ok(format!("{message}.{}", encode(&signature)))
    }
}

/// How a client uses a key that its tokens are bound to (RFC 9449).
impl SigningKey {
    /// The thumbprint of the key (RFC 7638), as in `cnf.jkt`.
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let members = ["crv", "e", "kty", "n", "x", "y"].into_iter();
        let members: Vec<_> = members
            .filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(name)?)))
            .collect();
        let text = format!("{{{}}}", members.join(","));
        sha256(&text)
    }

    /// The header of a proof.
    pub fn proof_header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": self.algorithm(), "jwk": self.jwk() })
    }

    /// A proof, made `now`, for a request with this token.
    pub fn proof(&self, method: &str, url: &str, token: &str, now: u64) -> io::Result<String> {
        let claims = proof_claims(method, url, token, now)?;
        self.token_with(&self.proof_header(), &claims)
    }
}

/// The claims of a proof with a name of its own.
pub fn proof_claims(method: &str, url: &str, token: &str, now: u64) -> io::Result<Value> {
    let mut name = [0; 16];
    aws_lc_rs::rand::fill(&mut name).map_err(io::Error::other)?;
    Ok(json!({
        "jti": encode(&name), "htm": method, "htu": url, "iat": now, "ath": sha256(token),
    }))
}

fn sha256(text: &str) -> String {
    encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// A token signed by HS256.
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

/// A token that is not signed at all.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.", message(header, claims))
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
