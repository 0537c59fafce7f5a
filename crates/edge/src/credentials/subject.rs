use std::{borrow::Cow, fmt, sync::Arc};

use arc_swap::ArcSwap;
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
    /// That of a client's session, whoever's token it has shown last: for what goes on beyond one
    /// request.
    Session(LatestSubject),
}

/// In whose name a client's session is, by the last that its client has shown. Clones are one.
#[derive(Clone)]
pub struct LatestSubject(Arc<ArcSwap<Subject>>);

impl Subject {
    /// The gateway or a caller: what a [`Subject::Session`] is at this moment.
    pub fn current(&self) -> Cow<'_, Self> {
        match self {
            Self::Session(latest) => Cow::Owned((**latest.0.load()).clone()),
            other => Cow::Borrowed(other),
        }
    }
}

impl LatestSubject {
    /// A session of this principal, who has shown nothing yet.
    pub fn new(principal: Principal) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Subject::Caller {
            principal,
            token: None,
        })))
    }

    /// Notes a token that its client has shown, and as whom: the same one as ever, by another token
    /// with another end.
    pub fn show(&self, principal: &Principal, token: &CallerToken) {
        let same = |shown: &Subject| matches!(shown, Subject::Caller { token: Some(known), .. } if known.digest() == token.digest());
        if !same(&self.0.load()) {
            self.0.store(Arc::new(Subject::Caller {
                principal: principal.clone(),
                token: Some(token.clone()),
            }));
        }
    }

    /// The token that was shown last.
    pub fn token(&self) -> Option<CallerToken> {
        match &**self.0.load() {
            Subject::Caller { token, .. } => token.clone(),
            _ => None,
        }
    }
}

impl fmt::Debug for LatestSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestSubject").finish_non_exhaustive()
    }
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

    /// Gives the text to `seal`, for another replica of the gateway that goes on in the caller's name:
    /// what comes of it must show nothing of the token.
    pub fn sealed_by<T>(&self, seal: impl FnOnce(&str) -> T) -> T {
        seal(self.expose())
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
