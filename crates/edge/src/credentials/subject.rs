use std::{fmt, sync::Arc};

use mcp_ultra_domain::Principal;
use secrecy::{ExposeSecret, SecretString};

/// In whose name an upstream is spoken to.
#[derive(Clone, Debug, Default)]
pub enum Subject {
    /// The gateway's own: it reads the catalog and finds out about eras.
    #[default]
    Gateway,
    /// A caller's.
    Caller {
        /// Who calls.
        principal: Principal,
        /// What they have shown, where it was an access token and somebody needs it.
        token: Option<CallerToken>,
    },
}

/// The access token that a caller has shown, which is exchanged for another one (RFC 8693, 2.1:
/// `subject_token`). It is kept by what goes on in the caller's name and by nothing else, and wiped
/// from memory when that has ended. Clones share one allocation.
#[derive(Clone)]
pub struct CallerToken(Arc<Shown>);

struct Shown {
    text: SecretString,
    digest: [u8; 32],
}

impl CallerToken {
    /// The token with this text, whose SHA-256 is `digest`.
    pub fn new(text: &str, digest: [u8; 32]) -> Self {
        Self(Arc::new(Shown {
            text: SecretString::from(text),
            digest,
        }))
    }

    /// What it is kept and compared by: its SHA-256.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    pub(super) fn expose(&self) -> &str {
        self.0.text.expose_secret()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerToken(***)")
    }
}
