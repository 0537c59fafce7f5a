//! Proofs of possession (RFC 9449): that who sends a token has the key that it is bound to.
//!
//! - `key`: the public key of a proof, and its thumbprint (RFC 7638)
//! - `proof`: what a proof says, and that its key has signed it
//! - `target`: the endpoint as clients know it, which proofs must name
//!
//! A nonce of the server (RFC 9449, 8) is not asked for: proofs are short-lived, and remembered.

mod key;
mod proof;
mod target;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use mcp_ultra_domain::ports::{ProofId, ReplayStore};

use self::{proof::Proof, target::Target};
use super::{Credentials, Refused, binding::Thumbprint, cache::Digest};

/// What proofs may be signed by, in order of preference.
pub(super) const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

/// The header with the proof.
const HEADER: &str = "dpop";
/// The longest proof that is looked at: one with an RSA key of 4096 bits has some 2 KiB.
const LONGEST_PROOF: usize = 8 * 1024;

/// Whether a text is a proof that its own key has signed, whatever it is for: all that is read of
/// one before it is compared with its request.
pub fn is_signed_proof(text: &str) -> bool {
    text.len() <= LONGEST_PROOF && Proof::read(text).is_some_and(|proof| proof.is_signed())
}

/// Checks proofs.
pub(super) struct Dpop {
    pub(super) required: bool,
    target: Target,
    max_age: Duration,
    skew: Duration,
    used: Arc<dyn ReplayStore>,
}

impl Dpop {
    pub(super) fn new(settings: super::DpopSettings, resource: &str, skew: Duration) -> Self {
        Self {
            required: settings.required,
            target: Target::new(resource),
            max_age: settings.max_age,
            skew,
            used: settings.used,
        }
    }

    /// Checks the proof of a request with a token that is bound to `key` (RFC 9449, 4.3). It is
    /// noted as used only once all else of it is good.
    pub(super) async fn check(
        &self,
        request: Credentials<'_>,
        token: &Digest,
        key: &Thumbprint,
        now: Duration,
    ) -> Result<(), Refused> {
        let (id, until) = self.judge(request, token, key, now).ok_or(Refused::Proof)?;
        match self.used.first_use(&id, until, now).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Replayed),
            Err(error) => {
                tracing::warn!(%error, "a DPoP proof can't be checked");
                Err(Refused::ReplayStore)
            }
        }
    }

    /// What names the proof, and until when it could be used again.
    fn judge(
        &self,
        request: Credentials<'_>,
        token: &Digest,
        key: &Thumbprint,
        now: Duration,
    ) -> Option<(ProofId, Duration)> {
        let mut values = request.headers.get_all(HEADER).iter();
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        if value.len() > LONGEST_PROOF {
            return None;
        }
        let proof = Proof::read(value.to_str().ok()?)?;
        let until = proof
            .issued
            .saturating_add(self.max_age)
            .saturating_add(self.skew);
        let is_here = |htu: &str| match request.url {
            None => self.target.is(htu),
            Some(url) => Target::new(url).is(htu),
        };
        let fits = proof.key.thumbprint == *key
            && proof.method == request.method.as_str()
            && is_here(&proof.target)
            && proof.token == *token.bytes()
            && proof.issued <= now.saturating_add(self.skew)
            && now < until;
        // Last, since it costs most.
        if !fits || !proof.is_signed() {
            return None;
        }
        let mut context = Context::new(&SHA256);
        context.update(key);
        context.update(proof.id.as_bytes());
        let mut id = [0; 32];
        id.copy_from_slice(context.finish().as_ref());
        Some((id, until))
    }
}
