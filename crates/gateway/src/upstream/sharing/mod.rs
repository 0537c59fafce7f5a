//! Legacy sessions over HTTP that replicas share: one of them opens it, the others go on in it, and
//! the last that needs it ends it.
//!
//! What is needed to speak in a session is kept for the others, sealed, under a name that is made of
//! everything it depends on: how the server is configured, whose session it is, who is spoken for, and
//! what it was opened with. They are asked only where this replica has no open session, and where the
//! server has forgotten the one that it had; while they can't be asked each replica opens its own.
//!
//! | | shared |
//! |---|---|
//! | a client session's, a modern principal's | yes |
//! | the catalog's | no: each replica hears of changed lists in its own |
//! | one that all callers of a server share | no: which of them a message is for is known within one replica alone |
//! | a child process | no |
//! | with a server that has `session_per_gateway` | no |
//!
//! - `opening`: how one is opened, or gone on in
//! - `ticket`: its place in the store
//! - `upkeep`: what is done of it again and again

mod opening;
mod ticket;
mod upkeep;

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::ports::{SessionTerms, UpstreamSessionStore};
use mcp_ultra_edge::credentials::Subject;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(super) use self::ticket::Ticket;
use super::{Hello, Holder, Named, Settings};
use crate::{replicas::Replicas, vault::Vault};

/// For how long a replica counts as one that uses a session after it has said so, which it does much more
/// often: one that is gone uses none.
const USED: Duration = Duration::from_secs(90);
/// The most that is kept of a session, in bytes: a server that says more of itself is not shared.
const LARGEST: usize = 256 * 1024;

/// Where replicas share their sessions.
pub(crate) struct Sharing {
    store: Arc<dyn UpstreamSessionStore>,
    vault: Vault,
    /// How the others are reached, where they are.
    replicas: Option<Arc<Replicas>>,
}

/// A message that one replica has heard in a shared session, and another one has the call of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stray {
    /// The name of the server.
    pub server: String,
    /// The name of the session, which says nothing.
    pub session: String,
    /// The call that it is for.
    #[serde(flatten)]
    pub named: Named,
}

/// What is needed to speak in a session. Not to be shown: the id is a credential of sorts.
#[derive(Serialize, Deserialize)]
pub(super) struct Known {
    /// `Mcp-Session-Id`
    pub id: String,
    /// The revision that was agreed on.
    pub version: String,
    /// The text of the server's capabilities.
    pub capabilities: String,
    /// Its instructions.
    pub instructions: Option<String>,
}

/// Where a session belongs.
#[derive(Clone)]
struct Place {
    server: Arc<str>,
    name: String,
    /// It is a modern principal's.
    of_caller: bool,
    tenant: Arc<str>,
    terms: SessionTerms,
}

impl Sharing {
    pub(crate) fn new(
        store: Arc<dyn UpstreamSessionStore>,
        vault: Vault,
        replicas: Option<Arc<Replicas>>,
    ) -> Self {
        Self {
            store,
            vault,
            replicas,
        }
    }

    /// Seals with other keys from now on. A session that was kept under those before stays with the
    /// replicas that have it.
    pub(crate) fn rotate<'s>(&self, secrets: impl IntoIterator<Item = (u8, &'s [u8])>) {
        self.vault.rotate(secrets);
    }

    /// Where a session belongs; `None` for one that is not shared.
    fn place(
        &self,
        settings: &Settings,
        holder: &Holder,
        subject: &Subject,
        hello: &Hello,
    ) -> Option<Place> {
        if settings.session_per_replica {
            return None;
        }
        let (kind, whose, tenant, declared) = match holder {
            Holder::Catalog | Holder::Shared => return None,
            Holder::Session { id, tenant } => ("session", &**id, tenant, ""),
            Holder::Caller {
                principal,
                tenant,
                capabilities,
            } => ("caller", &**principal, tenant, &**capabilities),
        };
        let subject = subject.current();
        let spoken_for = match &*subject {
            Subject::Caller { principal, .. } => principal.id(),
            Subject::Gateway | Subject::Session(_) => "",
        };
        let parts = [
            kind,
            whose,
            &**tenant,
            declared,
            spoken_for,
            hello.version.as_str(),
            &hello.capabilities,
        ];
        let mut parts: Vec<&[u8]> = parts.map(str::as_bytes).to_vec();
        parts.push(settings.fingerprint());
        Some(Place {
            server: settings.name.clone(),
            name: self.vault.name(&parts),
            of_caller: matches!(holder, Holder::Caller { .. }),
            tenant: tenant.clone(),
            terms: SessionTerms {
                kept: settings.idle_stop + USED,
                used: USED,
            },
        })
    }

    fn seal(&self, place: &Place, known: &Known) -> Option<Vec<u8>> {
        let content = Zeroizing::new(serde_json::to_vec(known).ok()?);
        if content.len() > LARGEST {
            return None;
        }
        self.vault.seal(&place.tenant, &place.name, &content)
    }

    fn open(&self, place: &Place, sealed: &[u8]) -> Option<Known> {
        let content = self.vault.open(&place.tenant, &place.name, sealed)?;
        serde_json::from_slice(&Zeroizing::new(content)).ok()
    }
}
