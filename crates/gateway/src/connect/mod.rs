//! A person connects a server to their account there (MCP, Elicitation, URL mode for OAuth flows):
//! the authorization code flow in a browser, and what becomes of it.
//!
//! - `browser`: what comes with it, and what goes back
//! - `link`: what it carries, sealed
//! - `steps`: what happens at each step
//! - `traveller`: the person on the way, and what authorization servers say of them
//! - `page`: what the person sees
//! - `grants`: the tokens of one server, from the store to a call
//! - `step_up`: what a server asks for besides
//! - `vault`: tokens at rest
//! - `waiting`: who waits for their person
//!
//! The one who opens a link must be the one who has called, or links would be traps: whoever made
//! somebody else follow theirs would get that one's access. So the person logs in first, at the
//! issuer that vouches for the caller, and both must be the same.
//!
//! The ways in: [`Connect::link`] for a call, [`Connect::wait`] for its retry, and `http::connect`
//! for the browser.

mod browser;
mod grants;
mod link;
mod page;
mod step_up;
mod steps;
mod traveller;
mod vault;
mod waiting;

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::{
    Clock, Principal, PrincipalKind,
    ports::{GrantStore, ReplayStore},
};
use mcp_ultra_edge::credentials::{Credentials, TokenEndpoint};
use mcp_ultra_protocol::seal::{KeyError, Sealer};
use tokio::sync::broadcast;

pub use self::grants::Revocation;
use self::waiting::Waiting;
pub(crate) use self::{
    browser::{Answer, Browser, Cookie, Query, Shown},
    grants::Grants,
    link::{LIFETIME, Link},
    page::{Language, Page, protect},
    vault::Vault,
};

/// How long a retry waits for its person, who may still be at an authorization server. Clients give
/// a request up after a minute.
const PATIENCE: Duration = Duration::from_secs(45);
/// How often it is looked whether another process has seen the person.
const LOOK: Duration = Duration::from_secs(3);
/// How many of those who wait may miss that somebody is done before they look for themselves.
const DONE: usize = 64;

/// What connecting is made of.
pub struct ConnectParts {
    /// Where browsers reach the gateway, without a slash at the end.
    pub base: String,
    /// The issuers where callers log in.
    pub logins: Vec<TokenEndpoint>,
    /// Where grants are kept.
    pub grants: Arc<dyn GrantStore>,
    /// The links and steps that were used.
    pub used: Arc<dyn ReplayStore>,
    /// What tokens are encrypted with: ids and secrets, of which the first encrypts.
    pub keys: Vec<(u8, Vec<u8>)>,
}

impl std::fmt::Debug for ConnectParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectParts").finish_non_exhaustive()
    }
}

/// Connects servers to the accounts of people.
pub(crate) struct Connect {
    base: String,
    logins: Vec<TokenEndpoint>,
    granted: Arc<grants::Shared>,
    used: Arc<dyn ReplayStore>,
    clock: Arc<dyn Clock>,
    done: broadcast::Sender<(Arc<str>, String)>,
    waiting: Arc<Waiting>,
}

/// A link by which one person connects one server.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectLink {
    /// Where that person goes with a browser.
    pub url: String,
    /// What the link is called in pages and in the log.
    pub reference: String,
}

impl std::fmt::Debug for ConnectLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectLink")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

/// Why somebody can't be asked to connect a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLink {
    /// They are not known by an issuer that they could log in at.
    #[error(
        "it is used in the name of people who log in in a browser, and you are known by something that can't: call with an access token of {0}"
    )]
    NoLogin(String),
    /// They are no person, who alone could log in.
    #[error(
        "it is used in the name of people who log in in a browser, and your access token is of the kind {0}: call with the token of a person"
    )]
    NoPerson(&'static str),
    /// There is no randomness, or no server of that name.
    #[error("a link could not be made")]
    Failed,
}

impl Connect {
    pub(crate) fn new(parts: ConnectParts, clock: Arc<dyn Clock>) -> Result<Self, KeyError> {
        let keys = parts.keys.iter().map(|(id, secret)| (*id, &secret[..]));
        Ok(Self {
            granted: Arc::new(grants::Shared::new(
                parts.grants,
                Vault::new(keys)?,
                clock.clone(),
            )),
            base: parts.base,
            logins: parts.logins,
            used: parts.used,
            clock,
            done: broadcast::Sender::new(DONE),
            waiting: Arc::default(),
        })
    }

    /// What people grant for a server.
    pub(crate) fn grants(&self, server: &str) -> Grants {
        Grants::new(server.into(), self.granted.clone())
    }

    /// Completes when what is being refreshed is kept: who is cut off in between may have lost the
    /// refresh token. It is bounded in time.
    pub(crate) async fn finish(&self) {
        self.granted.finish().await;
    }

    /// A link by which `principal` connects `server`: its id and the URL. They are asked for the
    /// scopes `besides` too. `session` is told when it is done.
    pub(crate) fn link(
        &self,
        sealer: &Sealer,
        principal: &Principal,
        server: &str,
        session: Option<&str>,
        besides: &str,
    ) -> Result<(String, String), NoLink> {
        self.check(principal)?;
        let link = Link::new(principal, server, session, self.clock.now()).with(besides);
        let url = self.url(sealer, &link)?;
        Ok((link.id, url))
    }

    /// A link by which `principal` connects `server`, made before anybody has called: with this
    /// identifier, until `ends` (since the Unix epoch), so that the same one can be made again.
    pub(crate) fn link_ahead(
        &self,
        sealer: &Sealer,
        principal: &Principal,
        server: &str,
        (id, ends): (&str, Duration),
    ) -> Result<ConnectLink, NoLink> {
        self.check(principal)?;
        let link = Link::of(principal, server, None, id.to_owned(), ends.as_secs());
        Ok(ConnectLink {
            url: self.url(sealer, &link)?,
            reference: link.reference(),
        })
    }

    /// Whether somebody could show who they are.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), NoLink> {
        let attributes = principal.attributes();
        if attributes.kind != PrincipalKind::User {
            return Err(NoLink::NoPerson(attributes.kind.as_str()));
        }
        if self.login(&attributes.issuer).is_none() {
            let issuers = self.logins.iter().filter_map(TokenEndpoint::issuer);
            let issuers: Vec<&str> = issuers.collect();
            return Err(NoLink::NoLogin(issuers.join(" or ")));
        }
        Ok(())
    }

    fn url(&self, sealer: &Sealer, link: &Link) -> Result<String, NoLink> {
        let token = link.seal(sealer).ok_or(NoLink::Failed)?;
        tracing::info!(
            server = link.server,
            link = link.reference(),
            "there is a link for somebody to connect the server"
        );
        Ok(format!("{}/connect/{token}", self.base))
    }

    /// Logs people in with the secrets of `logins` from now on.
    pub(crate) fn take_secrets_of(&self, logins: &[mcp_ultra_config::Login]) {
        for login in logins {
            if let Some(endpoint) = self.login(&login.issuer) {
                endpoint.take_secret(login.client_secret.expose().into());
            }
        }
    }

    /// The issuer that somebody logs in at.
    fn login(&self, issuer: &str) -> Option<&TokenEndpoint> {
        let is = |login: &&TokenEndpoint| login.issuer() == Some(issuer);
        self.logins.iter().find(is)
    }

    /// Waits a while until `principal` has connected the server of `credentials`, and was asked for
    /// the scopes `besides` too. At once where
    /// others wait already: `most` for the server.
    pub(crate) async fn wait(
        &self,
        principal: &Principal,
        server: &Arc<str>,
        credentials: &Credentials,
        besides: &str,
        most: usize,
    ) {
        let entered = self.waiting.enter(server, &principal.shared_id(), most);
        let Some(_place) = entered else {
            return;
        };
        let grants = self.grants(server);
        // Before the first look, so that nothing is missed in between.
        let mut done = self.done.subscribe();
        let waiting = async {
            while !grants.has(principal, credentials, besides).await {
                let heard = heard(&mut done, principal.id(), server);
                drop(tokio::time::timeout(LOOK, heard).await);
            }
        };
        drop(tokio::time::timeout(PATIENCE, waiting).await);
    }

    fn tell(&self, principal: &Principal, server: &str) {
        // Nobody may be waiting.
        drop(self.done.send((principal.shared_id(), server.to_owned())));
    }

    fn callback(&self) -> String {
        format!("{}/connect/callback", self.base)
    }
}

/// Completes when the principal is done with the server, or too many are to tell them apart.
async fn heard(done: &mut broadcast::Receiver<(Arc<str>, String)>, principal: &str, server: &str) {
    while let Ok((who, which)) = done.recv().await {
        if *who == *principal && which == server {
            return;
        }
    }
}
