use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::Principal;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::random;

/// The open streams of modern callers, who have no sessions. Clones are one.
#[derive(Debug, Default, Clone)]
pub(crate) struct OpenStreams(Arc<Mutex<HashMap<String, Open>>>);

#[derive(Debug, Clone)]
pub(super) struct Open {
    pub principal: Principal,
    /// When it was opened, since the Unix epoch.
    pub since: Duration,
    ended: CancellationToken,
}

/// One open stream; it is known of until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: OpenStreams,
    id: String,
    ended: CancellationToken,
}

impl OpenStreams {
    /// Notes a stream of `principal` that opens at `now`.
    pub(crate) fn enter(&self, principal: &Principal, now: Duration) -> OpenStream {
        let (id, ended) = (random::identifier(), CancellationToken::new());
        let open = Open {
            principal: principal.clone(),
            since: now,
            ended: ended.clone(),
        };
        self.0.lock().insert(id.clone(), open);
        OpenStream {
            streams: self.clone(),
            id,
            ended,
        }
    }

    /// Those of a tenant, with their ids.
    pub(super) fn of_tenant(&self, tenant: &str) -> Vec<(String, Open)> {
        let streams = self.0.lock();
        let of = streams
            .iter()
            .filter(|(_, open)| &**open.principal.tenant() == tenant);
        of.map(|(id, open)| (id.clone(), open.clone())).collect()
    }

    /// Ends a stream of a tenant; `false` where there is none.
    pub(super) fn end(&self, tenant: &str, id: &str) -> bool {
        let streams = self.0.lock();
        let open = streams.get(id);
        let open = open.filter(|open| &**open.principal.tenant() == tenant);
        open.inspect(|open| open.ended.cancel()).is_some()
    }
}

impl OpenStream {
    /// Completes when somebody ends it.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use mcp_ultra_domain::{Attributes, PrincipalKind};

    use super::*;

    #[test]
    fn streams_are_known_until_they_end_and_to_their_tenant() {
        let streams = OpenStreams::default();
        let ana = Attributes::new(PrincipalKind::User, "acme", "idp", "ana");
        let ana = Principal::from(ana);
        let stream = streams.enter(&ana, Duration::from_secs(1));
        let id = streams.of_tenant("acme")[0].0.clone();
        assert!(streams.of_tenant("other").is_empty());
        assert!(!streams.end("other", &id) && !stream.ended.is_cancelled());
        assert!(streams.end("acme", &id) && stream.ended.is_cancelled());
        drop(stream);
        assert!(streams.of_tenant("acme").is_empty() && !streams.end("acme", &id));
    }
}
