use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jsonwebtoken::{Validation, errors::ErrorKind};
use mcp_ultra_domain::{Clock, Principal};
use serde_json::Value;

use super::{
    Algorithm, ClaimPaths, IssuerSettings, KeyTimes, LoginRule, Refused, SharedSecret,
    api_keys::Held,
    binding::Binding,
    claims::{Times, login, principal},
    keys::Key,
    source::KeySource,
    token::{Claimed, Signed},
};
use crate::issuer::fetch::Fetcher;

/// No credential is believed to last longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 366);

/// One that tokens are believed of.
pub(super) struct Issuer {
    pub(super) name: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    claims: ClaimPaths,
    login: LoginRule,
    keys: Keys,
}

enum Keys {
    Fetched(Arc<KeySource>),
    /// The secret in use first, then those before it that are still accepted.
    Shared(ArcSwap<Vec<Arc<Key>>>),
}

/// A token that was verified.
pub(super) struct Verified {
    pub(super) principal: Principal,
    /// What else its caller must show.
    pub(super) binding: Option<Arc<Binding>>,
    /// When the token ends, with the skew of clocks.
    pub(super) until: Duration,
    pub(super) grounds: Grounds,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) why: Refused,
    /// From when the answer may be another one, where that is known: keys may be others then.
    pub(super) again: Option<Duration>,
}

impl From<Refused> for Refusal {
    fn from(why: Refused) -> Self {
        Self { why, again: None }
    }
}

/// What a token is believed for, and ends with.
#[derive(Clone)]
pub(super) enum Grounds {
    /// The signature by a key, and which issuer has that key.
    Signature {
        key: Arc<Key>,
        issuer: Option<usize>,
    },
    /// A secret of an API key.
    ApiKey(Arc<Held>),
}

impl Grounds {
    pub(super) fn are_good(&self, now: Duration) -> bool {
        match self {
            Self::Signature { key, .. } => key.is_good(now),
            Self::ApiKey(held) => held.is_good(now),
        }
    }
}

impl Issuer {
    pub(super) fn fetched(
        settings: IssuerSettings,
        resource: &str,
        login: &LoginRule,
        fetcher: Fetcher,
        times: KeyTimes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let jwks_uri = settings.jwks_uri.as_deref();
        let source = KeySource::new(&settings.issuer, jwks_uri, fetcher, times, clock);
        let mut audiences = settings.audiences;
        if audiences.is_empty() {
            audiences.push(resource.to_owned());
        }
        Self {
            name: settings.issuer,
            audiences,
            algorithms: settings.algorithms,
            claims: settings.claims,
            login: login.clone(),
            keys: Keys::Fetched(source),
        }
    }

    pub(super) fn shared(secret: SharedSecret, resource: &str, login: &LoginRule) -> Self {
        Self {
            name: secret.issuer,
            audiences: vec![resource.to_owned()],
            algorithms: Vec::new(),
            claims: secret.claims,
            login: login.clone(),
            keys: Keys::Shared(ArcSwap::from_pointee(vec![Arc::new(Key::shared(
                &secret.secret,
            ))])),
        }
    }

    /// Verifies with `secret` from now on, and with those before until `end`. They are returned, to
    /// be withdrawn then.
    pub(super) fn rotate(&self, secret: &[u8], now: Duration, end: Duration) -> Vec<Arc<Key>> {
        let Keys::Shared(keys) = &self.keys else {
            return Vec::new();
        };
        let before = keys.load_full();
        let old: Vec<_> = before.iter().filter(|key| key.is_good(now)).collect();
        if let Some(current) = old.first() {
            current.is_good_until(end);
        }
        let new = std::iter::once(Arc::new(Key::shared(secret)));
        keys.store(Arc::new(new.chain(old.into_iter().cloned()).collect()));
        before.first().cloned().into_iter().collect()
    }

    /// Asks for its keys again in the background, where it is time.
    pub(super) fn touch(&self, now: Duration) {
        if let Keys::Fetched(source) = &self.keys {
            source.touch(now);
        }
    }

    /// Verifies a token (RFC 7519, 7.2; RFC 9068, 4). `at` is the number of this issuer.
    pub(super) async fn verify(
        &self,
        token: &str,
        claimed: &Claimed,
        clock: &dyn Clock,
        skew: Duration,
        at: Option<usize>,
    ) -> Result<Verified, Refusal> {
        let (claims, key) = self.claims(token, claimed, clock).await?;
        let ours = |audience: &str| self.audiences.iter().any(|own| own == audience);
        let now = clock.now();
        let until = self.check(&claims, ours, now, skew)?;
        let latest = now.saturating_add(skew);
        // A stream lasts no longer than its login would be good for another request.
        let ends = self.login.ends(&login(&claims, latest), skew);
        let expires = ends.map_or(until, |ends| ends.min(until));
        let times = Times { latest, expires };
        let withdrawal = key.withdrawal();
        Ok(Verified {
            principal: principal(&claims, &self.claims, &self.name, times, withdrawal)?,
            binding: Binding::of(&claims)?.map(Arc::new),
            until,
            grounds: Grounds::Signature { key, issuer: at },
        })
    }

    /// Verifies an identity token that was issued to `client` (`OpenID` Connect Core, 3.1.3.7); whose
    /// it is.
    pub(super) async fn verify_id_token(
        &self,
        token: &str,
        claimed: &Claimed,
        (client, nonce): (&str, &str),
        clock: &dyn Clock,
        skew: Duration,
    ) -> Result<String, Refused> {
        let read = self.claims(token, claimed, clock).await;
        let (claims, _) = read.map_err(|refusal| refusal.why)?;
        self.check(&claims, |audience| audience == client, clock.now(), skew)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let several = claims
            .get("aud")
            .and_then(Value::as_array)
            .is_some_and(|all| all.len() > 1);
        if (several || claims.get("azp").is_some()) && text("azp") != Some(client) {
            return Err(Refused::Audience);
        }
        if text("nonce") != Some(nonce) {
            return Err(Refused::Malformed);
        }
        let subject = text("sub").filter(|subject| !subject.is_empty());
        subject.map(str::to_owned).ok_or(Refused::Malformed)
    }

    /// The claims of a token that one of its keys has signed, and that key.
    async fn claims(
        &self,
        token: &str,
        claimed: &Claimed,
        clock: &dyn Clock,
    ) -> Result<(Value, Arc<Key>), Refusal> {
        match (&self.keys, claimed.algorithm) {
            (Keys::Fetched(source), Signed::Key(algorithm)) => {
                if !self.algorithms.contains(&algorithm) {
                    return Err(Refused::Algorithm.into());
                }
                let id = claimed.key_id.as_deref();
                let fetched = by_fetched(token, source, id, algorithm).await;
                fetched.map_err(|why| Refusal {
                    why,
                    again: Some(source.again()),
                })
            }
            (Keys::Shared(keys), Signed::Shared) => {
                let now = clock.now();
                let keys = keys.load();
                let good: Vec<_> = keys
                    .iter()
                    .filter(|key| key.is_good(now))
                    .cloned()
                    .collect();
                Ok(signed(token, &good, jsonwebtoken::Algorithm::HS256)?)
            }
            _ => Err(Refused::Algorithm.into()),
        }
    }

    /// Checks the claims; when the token ends.
    fn check(
        &self,
        claims: &Value,
        is_ours: impl Fn(&str) -> bool,
        now: Duration,
        skew: Duration,
    ) -> Result<Duration, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.name) {
            return Err(Refused::Issuer);
        }
        let meant = |value: &Value| value.as_str().is_some_and(&is_ours);
        let ours = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(meant),
            Some(one) => meant(one),
            None => false,
        };
        if !ours {
            return Err(Refused::Audience);
        }
        let until = time(claims, "exp")?
            .ok_or(Refused::Expired)?
            .min(now.saturating_add(LONGEST_LIFE))
            .saturating_add(skew);
        if until <= now {
            return Err(Refused::Expired);
        }
        let latest = now.saturating_add(skew);
        for begins in [time(claims, "nbf")?, time(claims, "iat")?] {
            if begins.is_some_and(|begins| begins > latest) {
                return Err(Refused::NotYetValid);
            }
        }
        Ok(until)
    }
}

/// The claims of a token and the key of an issuer that it is signed by. Keys without an id, or with
/// that of the one before, are known to be new only by a signature of theirs.
async fn by_fetched(
    token: &str,
    source: &Arc<KeySource>,
    id: Option<&str>,
    algorithm: Algorithm,
) -> Result<(Value, Arc<Key>), Refused> {
    let keys = source.candidates(id, algorithm).await?;
    match signed(token, &keys, algorithm.jsonwebtoken()) {
        Err(Refused::Signature) => {
            let keys = source.replaced(&keys, id, algorithm).await;
            signed(token, &keys, algorithm.jsonwebtoken())
        }
        done => done,
    }
}

/// The claims of a token and the key that it is signed by.
fn signed(
    token: &str,
    keys: &[Arc<Key>],
    algorithm: jsonwebtoken::Algorithm,
) -> Result<(Value, Arc<Key>), Refused> {
    // Claims are checked above, by the clock that is passed in.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    for key in keys {
        match jsonwebtoken::decode::<Value>(token, &key.decoding, &validation) {
            Ok(data) => return Ok((data.claims, key.clone())),
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => {}
                ErrorKind::InvalidAlgorithm => return Err(Refused::Algorithm),
                ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                    return Err(Refused::Malformed);
                }
                _ => return Err(Refused::Signature),
            },
        }
    }
    Err(Refused::Signature)
}

/// A `NumericDate` (RFC 7519, 2): seconds, perhaps with a fraction.
pub(super) fn time(claims: &Value, name: &str) -> Result<Option<Duration>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().ok_or(Refused::Malformed)?;
    // Before 1970 is as long ago as 1970.
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Ok(Some(time))
}
