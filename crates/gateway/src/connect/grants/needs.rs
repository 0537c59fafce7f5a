//! What a grant is of use for.

use mcp_ultra_domain::Grant;
use mcp_ultra_edge::credentials::{Asking, Credentials, TokenEndpoint};

use super::{Grants, scopes};
use crate::connect::vault::{Of, Tokens};

/// What a grant has to be good for.
#[derive(Clone, Copy)]
pub(super) struct Needs<'a> {
    pub(super) endpoint: &'a TokenEndpoint,
    pub(super) bound_to: &'a str,
    /// Separated by spaces.
    pub(super) scopes: &'a str,
    /// Those that are not configured, and needed all the same.
    pub(super) besides: &'a str,
}

impl<'a> Needs<'a> {
    pub(super) fn of(credentials: &'a Credentials) -> Self {
        Self {
            endpoint: credentials.endpoint(),
            bound_to: credentials.bound_to(),
            scopes: credentials.scopes(),
            besides: "",
        }
    }

    pub(super) fn of_asking(asking: Asking<'a>) -> Self {
        Self {
            endpoint: asking.endpoint(),
            bound_to: asking.bound_to(),
            scopes: asking.scopes(),
            besides: "",
        }
    }

    /// Whether the person was asked for all of it already. What they were asked for counts, and not
    /// what they have granted of it: who has granted less would be asked in a circle. Where the
    /// former is not known (grants of before it was kept), it is the latter: they may be asked once.
    fn asks_no_more_than(&self, grant: &Grant, tokens: &Tokens) -> bool {
        let wanted = tokens.wanted.as_deref().map(scopes);
        let wanted = wanted.as_ref().unwrap_or(&grant.scopes);
        let needed = [self.scopes, self.besides].map(scopes);
        needed.iter().all(|needed| needed.is_subset(wanted))
    }
}

impl Grants {
    /// The tokens of a grant, where they are of this authorization server: they are shown to no
    /// other, also where the configuration has changed since.
    pub(super) fn opened(
        &self,
        grant: &Grant,
        endpoint: &TokenEndpoint,
    ) -> Result<Tokens, &'static str> {
        let tokens = self.shared.vault.open(Of::grant(grant), &grant.tokens);
        let tokens = tokens.ok_or("its tokens can't be decrypted by any of storage.keys")?;
        if endpoint.issuer() == Some(tokens.issuer.as_str()) {
            Ok(tokens)
        } else {
            Err("it is of another authorization server than is configured")
        }
    }

    /// The same, where they can be used for what is configured.
    pub(super) fn usable(&self, grant: &Grant, needs: Needs<'_>) -> Result<Tokens, &'static str> {
        let tokens = self.opened(grant, needs.endpoint)?;
        if tokens.client != needs.endpoint.client_id() || tokens.resource != needs.bound_to {
            return Err("it is of another client, resource or URL than is configured");
        }
        if !needs.asks_no_more_than(grant, &tokens) {
            return Err("its person was not asked for all the scopes that are configured");
        }
        Ok(tokens)
    }
}
