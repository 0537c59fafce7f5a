//! What callers have open here, for administrators: sessions and, of modern callers, streams.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::Principal;

use super::Live;
use crate::Gateway;

/// What a caller has open here.
#[derive(Debug, Clone)]
pub struct ClientSession {
    /// An id for administrators, which opens nothing. Of a session it is the same for as long as the
    /// session lasts.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// The revision of MCP that was negotiated; `None` for a stream of a modern caller, who has no
    /// session.
    pub version: Option<&'static str>,
    /// When it was opened, since the Unix epoch.
    pub since: Duration,
    /// When its caller was last heard of; `None` for a stream, which is one request.
    pub used: Option<Duration>,
}

impl Gateway {
    /// What the callers of a tenant have open here, in the order of the ids. An idle session that was
    /// taken out of memory is not among them until its caller comes back.
    pub fn client_sessions(&self, tenant: &str) -> Vec<ClientSession> {
        let now = self.clock.now();
        let sessions = self
            .sessions
            .of(|one| &**one.tenant() == tenant)
            .into_iter();
        let sessions = sessions.map(|live| ClientSession {
            id: public_id(&live.id),
            principal: live.principal.clone(),
            version: Some(live.version.as_str()),
            since: live.since,
            used: Some(now.saturating_sub(live.quiet_for())),
        });
        let streams = self.open_streams.of_tenant(tenant).into_iter();
        let streams = streams.map(|(id, open)| ClientSession {
            id,
            principal: open.principal,
            version: None,
            since: open.since,
            used: None,
        });
        let mut all: Vec<_> = sessions.chain(streams).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// Ends what a caller of a tenant has open here: a session for good, with its calls, streams and
    /// sessions with servers. `false` where there is no such thing.
    pub async fn end_client_session(&self, tenant: &str, id: &str) -> bool {
        if self.open_streams.end(tenant, id) {
            return true;
        }
        let sessions: Vec<Arc<Live>> = self.sessions.of(|one| &**one.tenant() == tenant);
        let found = sessions.iter().find(|live| public_id(&live.id) == id);
        let Some(live) = found else { return false };
        self.sessions.terminate(self, live).await;
        true
    }
}

/// Whoever is blocked has nothing open.
impl Gateway {
    /// Reads again who is blocked, refuses them from now on and ends their sessions here; their streams
    /// end within seconds.
    pub async fn enforce_blocks(&self) {
        let Some(identity) = &self.identity else {
            return;
        };
        match identity.read_blocks().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "who is blocked can't be read again; what is known of it holds");
                return;
            }
        }
        let blocked = self.sessions.of(|principal| identity.is_blocked(principal));
        let ended = blocked
            .iter()
            .map(|live| self.sessions.terminate(self, live));
        futures_util::future::join_all(ended).await;
    }
}

/// An id that tells nothing of the one it is made from, which has 128 random bits.
fn public_id(id: &str) -> String {
    let digest = digest(&SHA256, id.as_bytes());
    let bytes = digest.as_ref().iter().take(16);
    bytes.fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}
