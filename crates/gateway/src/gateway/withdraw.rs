//! What ends when a person's grant is withdrawn.

use std::{collections::HashSet, sync::Arc};

use mcp_ultra_domain::{Grant, holder};
use mcp_ultra_edge::credentials::Credentials;

use super::Gateway;
use crate::{
    connect::{Grants, Revocation},
    upstream::Upstream,
};

impl Gateway {
    /// Ends what is left of a grant that was removed: calls and streams that are under way with it,
    /// sessions, what is in memory of it, and its tokens at the authorization server.
    pub async fn end_grant(&self, grant: &Grant) -> Revocation {
        let upstream = self.snapshot().upstream(&grant.server).cloned();
        let granted = upstream.as_ref().and_then(|one| {
            let credentials = one.settings().granted()?;
            Some((one, credentials))
        });
        let (Some(connect), Some((upstream, credentials))) = (&self.connect, granted) else {
            return Revocation::Failed;
        };
        let grants = connect.grants(&grant.server);
        end(upstream, &grants, credentials, &grant.principal).await;
        self.grant_changed(upstream, &grant.principal);
        grants.revoke(grant, credentials.endpoint()).await
    }

    /// Ends what goes on with grants that were withdrawn elsewhere: by another process, or in the
    /// store. It is looked for those with which something goes on; all others are looked at when they
    /// are used next.
    pub(super) async fn end_withdrawn(&self) {
        for upstream in &self.snapshot().upstreams {
            self.end_withdrawn_at(upstream, |_| true).await;
        }
    }

    /// The same for one server and one principal, by its [`holder`].
    pub(super) async fn end_withdrawn_of(&self, server: &str, whose: &str) {
        if let Some(upstream) = self.snapshot().upstream(server) {
            let is_theirs = |principal: &str| holder(principal) == whose;
            self.end_withdrawn_at(upstream, is_theirs).await;
        }
    }

    async fn end_withdrawn_at(&self, upstream: &Upstream, of: impl Fn(&str) -> bool) {
        let (Some(connect), Some(credentials)) = (&self.connect, upstream.settings().granted())
        else {
            return;
        };
        let grants = connect.grants(upstream.name());
        let mut principals: HashSet<Arc<str>> = upstream.principals().into_iter().collect();
        principals.extend(grants.in_use());
        let lender = credentials.lender();
        principals.extend(lender.map(|lender| lender.shared_id()));
        principals.retain(|principal| of(principal));
        for principal in principals {
            if grants.is_gone(&principal).await {
                end(upstream, &grants, credentials, &principal).await;
                self.grant_changed(upstream, &principal);
                tracing::info!(server = %upstream.name(), "a grant was withdrawn elsewhere, so what went on with it has ended");
            }
        }
    }

    /// What somebody has granted has changed: where a server's lists are read with that, or with
    /// nothing yet, it is found out anew with whose they are.
    pub(crate) fn grant_changed(&self, upstream: &Upstream, principal: &str) {
        let Some(credentials) = upstream.settings().lent() else {
            return;
        };
        let lender = credentials.lender();
        if lender.is_none_or(|lender| lender.id() == principal) {
            self.keepers.suspect(upstream.name());
        }
    }
}

async fn end(upstream: &Upstream, grants: &Grants, credentials: &Credentials, principal: &str) {
    // First, so that calls are told why. Then the sessions, with the token that they had.
    grants.ends(principal);
    upstream.close_of(principal).await;
    credentials.forget(principal);
}
