//! A person on the way through the steps, and what authorization servers are asked and say of them.

use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::Principal;
use mcp_ultra_edge::credentials::{
    AuthorizationRequest, AuthorizationServer, Credentials, TokenAnswer, TokenEndpoint, TokenError,
    Verifier,
};
use mcp_ultra_edge::identity::Refused;
use secrecy::ExposeSecret;

use super::{
    Answer, Connect, Cookie, Page, Query,
    browser::Told,
    link::{Flow, Link, Step},
    step_up::together,
};
use crate::{Gateway, random, upstream::Upstream};

/// A person on the way, and what they are about to connect.
pub(super) struct Traveller<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) connect: &'g Connect,
    pub(super) upstream: Arc<Upstream>,
    pub(super) principal: Principal,
    /// What the link is called in the log.
    pub(super) link: String,
    pub(super) browser: &'g str,
    pub(super) now: Duration,
}

impl Traveller<'_> {
    /// Where the browser goes for `step`, and the cookie that it takes along.
    pub(super) async fn depart(
        &self,
        link: Link,
        step: Step,
        credentials: &Credentials,
    ) -> Result<(String, Cookie), Answer> {
        let endpoint = match step {
            Step::Grant => credentials.endpoint(),
            Step::Login => self.connect.login(&link.issuer).ok_or(Page::NoLink)?,
        };
        let identifies = step == Step::Login || endpoint.issuer() == Some(&link.issuer);
        let verifier = Verifier::new().map_err(|_| Page::Failed)?;
        let mut flow = Flow::new(link, step, endpoint, verifier.expose(), self.now);
        flow.nonce = identifies.then(random::identifier);
        if step == Step::Grant {
            flow.wanted = together(credentials, &flow.link.besides);
        }
        let server = self.server(endpoint, step).await?;
        if identifies && server.is_pairwise {
            tracing::warn!(server = %self.upstream.name(), link = self.link, issuer = flow.link.issuer, "the issuer offers pairwise subjects alone (subject_types_supported), so it may call people by other names than in their access tokens, and nobody could connect a server; let the gateway's client and the clients of callers have public subjects, or one sector identifier");
        }
        let sealer = &self.gateway.sealer;
        let state = flow.state(sealer, self.browser).ok_or(Page::Failed)?;
        let (scopes, resource) = match step {
            Step::Login => ("openid".to_owned(), ""),
            Step::Grant if identifies => (with_openid(&flow.wanted), credentials.resource()),
            Step::Grant => (flow.wanted.clone(), credentials.resource()),
        };
        let request = AuthorizationRequest {
            redirect_uri: &self.connect.callback(),
            state: &state,
            challenge: &verifier.challenge(),
            scopes: &scopes,
            resource,
            nonce: flow.nonce.as_deref(),
        };
        let to = server.url(endpoint.client_id(), &request);
        let sealed = flow.seal(sealer, self.browser).ok_or(Page::Failed)?;
        Ok((to, Cookie::flow(&flow.link.id, sealed)))
    }

    /// What the authorization server of a step says of itself.
    async fn server(
        &self,
        endpoint: &TokenEndpoint,
        step: Step,
    ) -> Result<AuthorizationServer, Answer> {
        let server = match step {
            Step::Login => endpoint.server_of_login().await,
            Step::Grant => endpoint.server().await,
        };
        server.map_err(|error| self.failed(&error))
    }

    /// The code of an answer, if it is of the authorization server that was asked.
    pub(super) async fn code<'q>(
        &self,
        query: &'q Query,
        endpoint: &TokenEndpoint,
        step: Step,
    ) -> Result<&'q str, Answer> {
        let server = self.server(endpoint, step).await?;
        let right = match &query.issuer {
            Some(issuer) => endpoint.issuer() == Some(issuer),
            None => !server.says_issuer,
        };
        if !right {
            tracing::warn!(server = %self.upstream.name(), link = self.link, "a browser came back with an answer that is not of the authorization server that was asked (RFC 9207); it was thrown away");
            return Err(Page::Unexpected.into());
        }
        match (&query.error, &query.code) {
            (Some(error), _) if error == "access_denied" => {
                let server = self.upstream.name().to_string();
                Err(Answer::Page(Told::Denied(server), Vec::new()))
            }
            (Some(error), _) => {
                let error: String = error
                    .chars()
                    .filter(|char| char.is_ascii_lowercase() || *char == '_')
                    .take(40)
                    .collect();
                tracing::warn!(server = %self.upstream.name(), link = self.link, error, "an authorization server has refused a request of a browser");
                Err(Page::Failed.into())
            }
            (None, Some(code)) if !code.is_empty() => Ok(code),
            (None, _) => Err(Page::Unexpected.into()),
        }
    }

    /// Whether the one who has logged in is the one who has called.
    pub(super) async fn is_who_has_called(
        &self,
        endpoint: &TokenEndpoint,
        answer: &TokenAnswer,
        nonce: &str,
    ) -> Result<(), Page<'static>> {
        let server = self.upstream.name();
        let attributes = self.principal.attributes();
        let (Some(identity), Some(token)) = (&self.gateway.identity, &answer.id_token) else {
            tracing::warn!(%server, link = self.link, issuer = attributes.issuer, "an issuer has logged somebody in without an identity token (openid)");
            return Err(Page::Failed);
        };
        let (token, client) = (token.expose_secret(), endpoint.client_id());
        let subject = identity
            .verify_id_token(&attributes.issuer, token, client, nonce)
            .await
            .map_err(|why| {
                tracing::warn!(%server, link = self.link, issuer = attributes.issuer, reason = why.as_str(), "an identity token is not accepted");
                page_of(why)
            })?;
        if subject == attributes.subject {
            return Ok(());
        }
        tracing::warn!(%server, link = self.link, issuer = attributes.issuer, "somebody has followed the link of somebody else to connect a server, or the issuer calls the same one by another name towards the gateway (pairwise subjects); nothing was connected");
        let server = self.server(endpoint, Step::Login).await;
        Err(match server {
            Ok(server) if server.is_pairwise => Page::OtherName,
            _ => Page::OtherPerson,
        })
    }

    /// Keeps what was granted and tells who waits for it.
    pub(super) async fn finish(
        &self,
        flow: Flow,
        credentials: &Credentials,
        answer: TokenAnswer,
        asked: Duration,
    ) -> Answer {
        let server = self.upstream.name();
        let grants = self.connect.grants(server);
        let Flow { link, wanted, .. } = flow;
        let keeping = grants.keep(&self.principal, credentials, &wanted, answer, asked);
        if let Err(error) = keeping.await {
            tracing::error!(%server, link = self.link, %error, "what somebody has granted could not be kept");
            return Page::Failed.into();
        }
        credentials.forget(self.principal.id());
        self.connect.tell(&self.principal, server);
        self.gateway.tell_connected(&link);
        self.gateway
            .grant_changed(&self.upstream, self.principal.id());
        tracing::info!(%server, link = self.link, "somebody has connected the server to their account");
        Answer::Page(Told::Done(link.server), Vec::new())
    }

    pub(super) fn failed(&self, error: &TokenError) -> Answer {
        tracing::warn!(server = %self.upstream.name(), link = self.link, %error, "connecting a server has failed at an authorization server");
        Page::Failed.into()
    }
}

/// What a person is told whose identity token is not accepted.
fn page_of(why: Refused) -> Page<'static> {
    match why {
        // The issuer's keys can't be had at the moment, which says nothing of the token.
        Refused::Unavailable => Page::Failed,
        _ => Page::Unexpected,
    }
}

/// What is asked for, and who has logged in.
fn with_openid(scopes: &str) -> String {
    if scopes.split(' ').any(|scope| scope == "openid") {
        scopes.to_owned()
    } else {
        format!("openid {scopes}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_there_are_nobodys_fault() {
        assert_eq!(page_of(Refused::Unavailable), Page::Failed);
        assert_eq!(page_of(Refused::Signature), Page::Unexpected);
    }

    #[test]
    fn a_login_is_asked_for_once() {
        assert_eq!(with_openid(""), "openid");
        assert_eq!(with_openid("read"), "openid read");
        assert_eq!(with_openid("read openid"), "read openid");
    }
}
