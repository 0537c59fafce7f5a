//! An issuer of access tokens for the gateway that is measured: keys, a place where they are
//! published, and tokens signed by them.

use std::{convert::Infallible, net::Ipv4Addr};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::error::{Error, Result, io};

/// What the tokens are meant for.
const AUDIENCE: &str = "http://127.0.0.1/mcp";
/// Seconds that a token is valid for: longer than any run.
const LIFETIME: i64 = 3_600;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA with P-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, a key of 2,048 bits.
    Rs256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// The issuer. Its keys can be fetched until it is dropped.
pub(crate) struct Issuer {
    ecdsa: EcdsaKeyPair,
    rsa: RsaKeyPair,
    /// The key of a client that tokens can be bound to.
    client: EcdsaKeyPair,
    random: SystemRandom,
    port: u16,
    serving: JoinHandle<()>,
}

impl Issuer {
    /// Makes keys and publishes them on a free port.
    pub(crate) async fn start() -> Result<Self> {
        let made = |_| Error::Unusable("making the issuer's keys failed".to_owned());
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(made)?;
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(made)?;
        let client = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(made)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(io("listening for the issuer"))?;
        let address = listener.local_addr().map_err(io("asking for the port"))?;
        let keys = Bytes::from(json!({ "keys": public(&ecdsa, &rsa) }).to_string());
        Ok(Self {
            ecdsa,
            rsa,
            client,
            random: SystemRandom::new(),
            port: address.port(),
            serving: tokio::spawn(publish(listener, keys)),
        })
    }

    /// The section of the gateway's configuration that has it believe these tokens.
    pub(crate) fn section(&self) -> String {
        let issuer = self.name();
        format!(
            "auth:\n  resource: {AUDIENCE}\n  issuers: \
             [{{ issuer: \"{issuer}\", jwks_uri: \"{issuer}/keys\" }}]\n"
        )
    }

    /// A token of `subject` with one role. Each call gives another one.
    pub(crate) fn token(&self, algorithm: Algorithm, subject: &str, role: &str) -> Result<String> {
        self.issue(algorithm, &self.claims(subject, role)?)
    }

    /// The same, bound to the key of a client.
    pub(crate) fn bound_token(
        &self,
        algorithm: Algorithm,
        subject: &str,
        role: &str,
    ) -> Result<String> {
        let mut claims = self.claims(subject, role)?;
        let point = encode_point(&self.client);
        // RFC 7638, section 3: the members in this order, without spaces.
        let key = format!(
            "{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}",
            point[0], point[1]
        );
        claims["cnf"] = json!({ "jkt": hash(&key) });
        self.issue(algorithm, &claims)
    }

    /// A proof of that client for one call with the token (RFC 9449, section 4.2).
    pub(crate) fn proof(&self, token: &str) -> Result<String> {
        let [x, y] = encode_point(&self.client);
        let key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key });
        let claims = json!({
            "jti": self.unique()?, "htm": "POST", "htu": AUDIENCE, "ath": hash(token),
            "iat": jiff::Timestamp::now().as_second(),
        });
        let message = message(&header, &claims);
        let signature = self.sign_by(&self.client, message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What identity providers put into a token: about 700 bytes of it.
    fn claims(&self, subject: &str, role: &str) -> Result<Value> {
        let now = jiff::Timestamp::now().as_second();
        Ok(json!({
            "iss": self.name(), "aud": AUDIENCE, "sub": subject, "client_id": "mcp-ultra-bench",
            "iat": now, "nbf": now, "exp": now + LIFETIME, "jti": self.unique()?,
            "scope": "openid profile mcp:tools mcp:resources", "roles": [role, "employee"],
            "tenant": "acme", "azp": "mcp-ultra-bench",
        }))
    }

    fn issue(&self, algorithm: Algorithm, claims: &Value) -> Result<String> {
        let header = json!({ "typ": "at+jwt", "alg": algorithm.name(), "kid": algorithm.name() });
        let message = message(&header, claims);
        let signature = self.sign(algorithm, message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn name(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn unique(&self) -> Result<String> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::SecureRandom::fill(&self.random, &mut bytes)
            .map_err(|_| Error::Unusable("no randomness for a token".to_owned()))?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        match algorithm {
            Algorithm::Es256 => self.sign_by(&self.ecdsa, message),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }

    fn sign_by(&self, key: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>> {
        let signature = key.sign(&self.random, message).map_err(failed)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn failed(_: aws_lc_rs::error::Unspecified) -> Error {
    Error::Unusable("signing a token failed".to_owned())
}

/// Header and claims as they are signed (RFC 7515, section 5.1).
fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The coordinates of a public key.
fn encode_point(pair: &EcdsaKeyPair) -> [String; 2] {
    let point = pair.public_key().as_ref();
    [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part))
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The public halves (RFC 7517).
fn public(ecdsa: &EcdsaKeyPair, rsa: &RsaKeyPair) -> [Value; 2] {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let [x, y] = encode_point(ecdsa);
    let modulus = rsa.public_key().modulus();
    let exponent = rsa.public_key().exponent();
    [
        json!({
            "kid": "ES256", "alg": "ES256", "use": "sig", "kty": "EC", "crv": "P-256",
            "x": x, "y": y,
        }),
        json!({
            "kid": "RS256", "alg": "RS256", "use": "sig", "kty": "RSA",
            "n": encode(modulus.big_endian_without_leading_zero()),
            "e": encode(exponent.big_endian_without_leading_zero()),
        }),
    ]
}

async fn publish(listener: TcpListener, keys: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let keys = keys.clone();
        let answer = move || {
            let mut response = Response::new(Full::new(keys.clone()));
            let json = http::HeaderValue::from_static("application/json");
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, json);
            response
        };
        let service = service_fn(move |_| {
            let response = answer();
            async move { Ok::<_, Infallible>(response) }
        });
        // A gateway that can't fetch the keys refuses the first call, which is counted there.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[tokio::test]
    async fn tokens_are_signed_and_each_is_another_one() {
        let issuer = Issuer::start().await.unwrap();
        let token = issuer.token(Algorithm::Es256, "ana", "team-001").unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = issuer.ecdsa.public_key().as_ref().to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(message.as_bytes(), &signature)
            .unwrap();
        let other = issuer.token(Algorithm::Es256, "ana", "team-001").unwrap();
        assert_ne!(token, other);
        let rsa = issuer.token(Algorithm::Rs256, "ana", "team-001").unwrap();
        assert!(rsa.len() > token.len() && rsa.split('.').count() == 3);
    }
}
