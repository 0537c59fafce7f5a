//! What a server asks for besides the configured scopes (RFC 6750, 3.1, `insufficient_scope`; MCP
//! 2026-07-28, Authorization, Step-Up Authorization Flow).
//!
//! A server may get no more than the operator agrees to (`credentials.step_up_scopes`): whatever it
//! asks for goes to it, and an authorization server may have tokens of the same person for others.
//! What it asks for in vain is an error, or its callers would be asked in a circle.

use std::collections::BTreeSet;

use mcp_ultra_domain::Principal;
use mcp_ultra_edge::credentials::Credentials;

use super::{Connect, grants::scopes};
use crate::upstream::UpstreamError;

impl Connect {
    /// The scopes that `principal` is to be asked for besides the configured ones, separated by
    /// spaces, where a call of theirs lacks the scopes `lacking`. They are asked for what they were
    /// asked for before too, or the new grant would be less than the one that it replaces.
    ///
    /// # Errors
    /// [`UpstreamError::Scope`] where they may not be asked for all of it,
    /// [`UpstreamError::ScopeInVain`] where they were already.
    pub(crate) async fn step_up(
        &self,
        principal: &Principal,
        server: &str,
        credentials: &Credentials,
        lacking: &str,
    ) -> Result<String, UpstreamError> {
        let wanted = scopes(lacking);
        let configured = scopes(credentials.scopes());
        let may = |scope| configured.contains(scope) || credentials.step_up().contains(scope);
        if wanted.is_empty() || !wanted.iter().all(may) {
            return Err(UpstreamError::Scope(lacking.to_owned()));
        }
        let asked = self.grants(server).asked(principal.id(), credentials).await;
        let (mut asked, _) = asked.unwrap_or_default();
        if wanted.is_subset(&asked) {
            return Err(UpstreamError::ScopeInVain(lacking.to_owned()));
        }
        asked.extend(wanted);
        Ok(besides(&asked, credentials))
    }

    /// The scopes that `principal` was asked for besides the configured ones, and still may be.
    pub(crate) async fn asked_besides(
        &self,
        principal: &Principal,
        server: &str,
        credentials: &Credentials,
    ) -> String {
        let asked = self.grants(server).asked(principal.id(), credentials).await;
        asked.map_or_else(String::new, |(asked, _)| besides(&asked, credentials))
    }

    /// Whether a call was made with another token than is kept: `principal` has granted anew, or
    /// another process has refreshed it. The next call gets the one that is kept.
    pub(crate) async fn forget_outdated(
        &self,
        principal: &Principal,
        server: &str,
        credentials: &Credentials,
    ) -> bool {
        let asked = self.grants(server).asked(principal.id(), credentials).await;
        let kept = asked.map(|(_, when)| when);
        let outdated = kept.is_some() && credentials.in_use_since(principal.id()) != kept;
        if outdated {
            credentials.forget(principal.id());
        }
        outdated
    }
}

fn besides(asked: &BTreeSet<String>, credentials: &Credentials) -> String {
    let configured = scopes(credentials.scopes());
    let besides = asked
        .iter()
        .filter(|scope| !configured.contains(*scope) && credentials.step_up().contains(scope));
    let besides: Vec<&str> = besides.map(String::as_str).collect();
    besides.join(" ")
}

/// All that is asked for: what is configured, and what is needed besides.
pub(super) fn together(credentials: &Credentials, besides: &str) -> String {
    let configured = credentials.scopes();
    format!("{configured} {besides}").trim().to_owned()
}
