//! Whose grant the lists of a server are read with.

use mcp_ultra_domain::{Attributes, Grant, Principal, PrincipalKind};
use mcp_ultra_edge::credentials::{Asking, CredentialError};

use super::{Grants, needs::Needs};

/// How many grants are looked at at a time.
const PAGE: u32 = 50;

impl Grants {
    /// Who has given the oldest grant that can be used. It is the same one in every process, and
    /// stays so until that grant ends.
    pub(super) async fn first(&self, asking: Asking<'_>) -> Result<Principal, CredentialError> {
        let mut last: Option<Grant> = None;
        loop {
            let after = last.as_ref().map(|last| (last.created, last.id.as_str()));
            let page = self.shared.store.oldest(&self.server, after, PAGE).await;
            let page = page.map_err(|error| {
                tracing::error!(server = %self.server, %error, "what people have granted can't be read");
                CredentialError::Unavailable
            })?;
            let usable = |grant: &&Grant| self.usable(grant, Needs::of_asking(asking)).is_ok();
            if let Some(lender) = page.iter().filter(usable).find_map(giver) {
                return Ok(lender);
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                return Err(CredentialError::NobodyGranted);
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
