//! Whose grant the lists of a server are read with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::{Attributes, Grant, Principal, PrincipalKind};
use mcp_ultra_edge::credentials::{Asking, CredentialError, Lenders};
use parking_lot::Mutex;

use super::{Grants, needs::Needs};

/// How many grants are looked at at a time.
const PAGE: u32 = 50;
/// How long a grant is passed over whose giver the server did not show its lists to: it may do so
/// later.
const REFUSED_FOR: Duration = Duration::from_hours(1);
/// How many are passed over at once. A server that refuses so many refuses everyone, and is not
/// asked in the name of all who have connected it.
const MOST_REFUSED: usize = 16;

/// Whom a server did not show its lists to, and when.
#[derive(Default)]
pub(super) struct Refused(Mutex<HashMap<Arc<str>, Duration>>);

impl Refused {
    pub(super) fn note(&self, principal: &str, now: Duration) {
        let mut refused = self.0.lock();
        refused.retain(|_, since| now.saturating_sub(*since) < REFUSED_FOR);
        if refused.len() < MOST_REFUSED {
            refused.insert(principal.into(), now);
        }
    }

    fn has(&self, principal: &str, now: Duration) -> bool {
        let refused = self.0.lock();
        let since = refused.get(principal);
        since.is_some_and(|since| now.saturating_sub(*since) < REFUSED_FOR)
    }
}

impl Grants {
    /// Who has given the oldest grant of `lenders` that can be used and was not refused. It is the
    /// same one in every process that was not refused either, and stays so until that grant ends.
    /// Where all were refused: the oldest.
    pub(super) async fn first(
        &self,
        asking: Asking<'_>,
        lenders: &Lenders,
    ) -> Result<Principal, CredentialError> {
        let now = self.shared.clock.now();
        let mut refused: Option<Principal> = None;
        let mut last: Option<Grant> = None;
        loop {
            let after = last.as_ref().map(|last| (last.created, last.id.as_str()));
            let page = self.shared.store.oldest(&self.server, after, PAGE).await;
            let page = page.map_err(|error| {
                tracing::error!(server = %self.server, %error, "what people have granted can't be read");
                CredentialError::Unavailable
            })?;
            let usable = |grant: &&Grant| {
                lenders.have(&grant.issuer, &grant.subject)
                    && self.usable(grant, Needs::of_asking(asking)).is_ok()
            };
            for lender in page.iter().filter(usable).filter_map(giver) {
                if !self.refused.has(lender.id(), now) {
                    return Ok(lender);
                }
                refused.get_or_insert(lender);
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                return refused.ok_or(CredentialError::NobodyGranted);
            }
        }
    }
}

/// Who has given a grant.
fn giver(grant: &Grant) -> Option<Principal> {
    let kind = PrincipalKind::User;
    let attributes = Attributes::new(kind, &grant.tenant, &grant.issuer, &grant.subject);
    let principal = Principal::from(attributes);
    (principal.id() == grant.principal).then_some(principal)
}
