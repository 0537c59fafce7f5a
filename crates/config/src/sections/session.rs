//! Sessions of clients that speak 2025-11-25 or earlier, and the keys that seal tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{period::Period, text::Secret, validate::Findings};

/// The least bytes of a sealing secret: the strength of the AEAD key made from it.
const LEAST_SECRET: usize = 32;

/// Session ids, cursors and task ids are sealed tokens; with keys they are good on every replica
/// and after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSection {
    /// How long a session without a request lives.
    pub idle_timeout: Period,
    /// The keys that seal tokens: the first one seals, all of them open, so that keys can be
    /// rotated. Without keys each process makes a random one, and tokens end with it.
    pub keys: Vec<SealingKey>,
}

impl Default for SessionSection {
    fn default() -> Self {
        Self {
            idle_timeout: Period::from_secs(30 * 60),
            keys: Vec::new(),
        }
    }
}

/// One key that seals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealingKey {
    /// The name of the key in what it has sealed: 1 to 16 of a–z, 0–9 and dash.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,16}$"))]
    pub id: String,
    /// The secret the key is made from: at least 32 bytes.
    pub secret: Secret,
}

impl SessionSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        findings.not_zero("session.idle_timeout", self.idle_timeout);
        check_keys("session.keys", &self.keys, findings);
    }
}

impl SealingKey {
    /// One byte of its id: enough to try the likely key first; keys that share it are all tried.
    pub fn number(&self) -> u8 {
        self.id
            .bytes()
            .fold(7, |hash, byte| hash.wrapping_mul(31) ^ byte)
    }
}

/// Checks the keys at `path`.
pub(super) fn check_keys(path: &str, keys: &[SealingKey], findings: &mut Findings) {
    for (index, key) in keys.iter().enumerate() {
        let valid = (1..=16).contains(&key.id.len())
            && key
                .id
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !valid {
            findings.report(
                format!("{path}[{index}].id"),
                format!("`{}` can't be the id of a key", key.id),
                "use 1 to 16 of a–z, 0–9 and dash, such as 2026-07",
            );
        }
        if keys[..index].iter().any(|other| other.id == key.id) {
            findings.report(
                format!("{path}[{index}].id"),
                format!("two keys have the id `{}`", key.id),
                "give each key an id of its own",
            );
        }
        if key.secret.expose().len() < LEAST_SECRET && !findings.placeholders() {
            findings.report(
                format!("{path}[{index}].secret"),
                "the secret is shorter than 32 bytes",
                "make one with: openssl rand -base64 32",
            );
        }
    }
}
