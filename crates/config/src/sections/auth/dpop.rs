use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuthSection, nonzero};
use crate::{period::Period, validate::Findings};

/// The longest that a proof may be good for: all that were used are remembered for as long.
const MOST_AGE: Period = Period::from_secs(10 * 60);

/// Tokens that are bound to a key of the client (RFC 9449) are accepted with a proof for each
/// request, made for `auth.resource`, or for the admin API below `admin.url`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DpopSettings {
    /// Whether access tokens that are not bound to a key are refused. API keys and client
    /// certificates are not concerned.
    pub required: bool,
    /// How old a proof may be, besides `auth.clock_skew`.
    pub max_age: Period,
    /// How many used proofs are remembered, each until it is too old. Where there are as many, new
    /// ones are answered with 503, so that none is used twice.
    pub max_proofs: NonZeroU32,
}

impl Default for DpopSettings {
    fn default() -> Self {
        Self {
            required: false,
            max_age: Period::from_secs(60),
            max_proofs: nonzero(1_000_000),
        }
    }
}

pub(super) fn check(auth: &AuthSection, findings: &mut Findings) {
    let settings = &auth.dpop;
    findings.not_zero("auth.dpop.max_age", settings.max_age);
    if settings.max_age > MOST_AGE {
        findings.report(
            "auth.dpop.max_age",
            format!("{} is longer than {MOST_AGE}", settings.max_age),
            "clients make a proof for each request: a minute is enough",
        );
    }
    if settings.required && auth.issuers.is_empty() && auth.jwt_secret.is_none() {
        findings.report(
            "auth.dpop.required",
            "there are no access tokens that could be bound to a key",
            "add an issuer to auth.issuers, or leave it out",
        );
    }
}
