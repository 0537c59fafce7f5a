//! The steps of connecting a server, as the browser of a person goes through them.
//!
//! 1. The link: what is about to happen, and a button. Nothing is begun yet, so that what merely
//!    looks at links does not use them up.
//! 2. The button: the browser goes to the issuer, to log in.
//! 3. Back from there: the identity token must be of the one who has called. The browser goes on to
//!    the server's authorization server. Where that is the same issuer, this is done with step 4.
//! 4. Back from there: the code is redeemed, and the tokens are kept.
//!
//! What is kept between steps is in a cookie, sealed for this browser; `state` is sealed for it too.
//! Both legs have PKCE, and an answer must be of the authorization server that was asked (RFC 9207).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::{Principal, ports::ProofId};
use mcp_ultra_edge::credentials::{
    AuthorizationRequest, AuthorizationServer, Credentials, TokenAnswer, TokenEndpoint, TokenError,
    Verifier,
};
use mcp_ultra_edge::identity::Refused;
use secrecy::ExposeSecret;

use super::{
    Answer, Browser, Connect, Cookie, Page, Query,
    browser::{Shown, Told, flow_name},
    link::{self, Flow, Link, State, Step},
    step_up::together,
};
use crate::{Gateway, random, upstream::Upstream};

/// A person on the way, and what they are about to connect.
struct Traveller<'g> {
    gateway: &'g Gateway,
    connect: &'g Connect,
    upstream: std::sync::Arc<Upstream>,
    principal: Principal,
    /// What the link is called in the log.
    link: String,
    browser: &'g str,
    now: Duration,
}

impl Connect {
    /// The page behind a link.
    pub(crate) async fn start(&self, gateway: &Gateway, token: &str, browser: &Browser) -> Shown {
        let answer = self.first_page(gateway, token, browser).await;
        Shown::new(answer, Link::reference_of(&gateway.sealer, token))
    }

    /// The person goes on from there.
    pub(crate) async fn leave(
        &self,
        gateway: &Gateway,
        token: &str,
        browser: &Browser,
        consent: &str,
    ) -> Shown {
        let answer = self.set_out(gateway, token, browser, consent).await;
        Shown::new(answer, Link::reference_of(&gateway.sealer, token))
    }

    /// The person comes back from an authorization server.
    pub(crate) async fn back(&self, gateway: &Gateway, query: &Query, browser: &Browser) -> Shown {
        let state = query.state.as_ref().zip(browser.id.as_deref());
        let state =
            state.and_then(|(state, id)| State::open(&gateway.sealer, id, state, self.clock.now()));
        let link = state.as_ref().map(|state| link::reference(&state.flow));
        let answer = self.come_back(gateway, query, state, browser).await;
        Shown::new(answer, link)
    }

    async fn first_page(&self, gateway: &Gateway, token: &str, browser: &Browser) -> Answer {
        let Some((link, upstream)) = self.open(gateway, token) else {
            return Page::NoLink.into();
        };
        let Some(credentials) = upstream.settings().granted() else {
            return Page::NoLink.into();
        };
        // Looking uses nothing up: the one who goes on next may be the first.
        if let Err(answer) = self.not_used_before("link", &link.id).await {
            return answer;
        }
        let id = browser.id.clone().unwrap_or_else(random::identifier);
        let Some(consent) = link::consent(&gateway.sealer, &id, &link) else {
            return Page::Failed.into();
        };
        let told = Told::Start {
            at: credentials
                .endpoint()
                .issuer()
                .unwrap_or_default()
                .to_owned(),
            scopes: together(credentials, &link.besides)
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            server: link.server,
            consent,
        };
        Answer::Page(told, vec![Cookie::browser(&id)])
    }

    async fn set_out(
        &self,
        gateway: &Gateway,
        token: &str,
        browser: &Browser,
        consent: &str,
    ) -> Answer {
        let Some((link, upstream)) = self.open(gateway, token) else {
            return Page::NoLink.into();
        };
        let browser = browser.id.as_deref();
        let Some(browser) =
            browser.filter(|id| link::is_consent(&gateway.sealer, id, &link, consent))
        else {
            return Page::OtherBrowser.into();
        };
        let Some(principal) = link.principal() else {
            return Page::NoLink.into();
        };
        // Nobody is asked anything for a link that is of no more use.
        if let Err(answer) = self.not_used_before("link", &link.id).await {
            return answer;
        }
        let traveller = Traveller {
            gateway,
            connect: self,
            upstream,
            principal,
            link: link.reference(),
            browser,
            now: self.clock.now(),
        };
        let Some(credentials) = traveller.upstream.settings().granted() else {
            return Page::NoLink.into();
        };
        // One login is enough where both are the same issuer.
        let step = if credentials.endpoint().issuer() == Some(&link.issuer) {
            Step::Grant
        } else {
            Step::Login
        };
        let (ends, id) = (link.ends, link.id.clone());
        let (to, cookie) = match traveller.depart(link, step, credentials).await {
            Ok(departure) => departure,
            Err(answer) => return answer,
        };
        // Not before it is clear that the way is open.
        if let Err(answer) = self.first_use("link", &id, ends).await {
            return answer;
        }
        Answer::Page(Told::Leave(to), vec![cookie, Cookie::browser(browser)])
    }

    async fn come_back(
        &self,
        gateway: &Gateway,
        query: &Query,
        state: Option<State>,
        browser: &Browser,
    ) -> Answer {
        if query.state.is_none() {
            return Page::Unexpected.into();
        }
        let (Some(id), Some(state)) = (browser.id.as_deref(), state) else {
            return Page::OtherBrowser.into();
        };
        let now = self.clock.now();
        let name = flow_name(&state.flow);
        let kept = browser.flows.iter().find(|(cookie, _)| *cookie == name);
        let flow = kept.and_then(|(_, value)| Flow::open(&gateway.sealer, id, value, now));
        let Some(flow) = flow.filter(|flow| flow.link.id == state.flow && flow.state == state.step)
        else {
            return Page::Unexpected.into();
        };
        if let Err(answer) = self.first_use("state", &flow.state, flow.ends).await {
            return answer;
        }
        let over = Cookie {
            name,
            value: String::new(),
            lifetime: Duration::ZERO,
        };
        let mut answer = self.arrive(gateway, query, flow, id).await;
        let (Answer::Page(_, cookies) | Answer::Redirect(_, cookies)) = &mut answer;
        // It must outlive the step that comes next, and the other flows of the browser.
        cookies.push(Cookie::browser(id));
        if !cookies.iter().any(|cookie| cookie.name == over.name) {
            cookies.push(over);
        }
        answer
    }

    async fn arrive(&self, gateway: &Gateway, query: &Query, flow: Flow, browser: &str) -> Answer {
        let upstream = gateway.snapshot().upstream(&flow.link.server).cloned();
        let (Some(upstream), Some(principal)) = (upstream, flow.link.principal()) else {
            return Page::NoLink.into();
        };
        let traveller = Traveller {
            gateway,
            connect: self,
            upstream: upstream.clone(),
            principal,
            link: flow.link.reference(),
            browser,
            now: self.clock.now(),
        };
        let Some(credentials) = upstream.settings().granted() else {
            return Page::NoLink.into();
        };
        let endpoint = match flow.step {
            Step::Grant => Some(credentials.endpoint()),
            Step::Login => self.login(&flow.link.issuer),
        };
        let Some(endpoint) = endpoint else {
            return Page::NoLink.into();
        };
        if !flow.was_asked(endpoint) {
            tracing::warn!(server = %upstream.name(), link = flow.link.reference(), "a browser came back from an authorization server or as a client that is no longer the configured one; what it brought was thrown away");
            return Page::Unexpected.into();
        }
        let code = match traveller.code(query, endpoint, flow.step).await {
            Ok(code) => code,
            Err(answer) => return answer,
        };
        let resource = match flow.step {
            Step::Grant => credentials.resource(),
            Step::Login => "",
        };
        let asked = self.clock.now();
        let verifier = Verifier::kept(&flow.verifier);
        let callback = self.callback();
        let redeemed = endpoint.redeem(code, &verifier, &callback, resource);
        let answer = match redeemed.await {
            Ok(answer) => answer,
            Err(error) => return traveller.failed(&error),
        };
        if let Some(nonce) = &flow.nonce
            && let Err(page) = traveller.is_who_has_called(endpoint, &answer, nonce).await
        {
            return page.into();
        }
        match flow.step {
            Step::Login => match traveller.depart(flow.link, Step::Grant, credentials).await {
                Ok((to, cookie)) => Answer::Redirect(to, vec![cookie]),
                Err(answer) => answer,
            },
            Step::Grant => traveller.finish(flow, credentials, answer, asked).await,
        }
    }

    /// The link and its server.
    fn open(&self, gateway: &Gateway, token: &str) -> Option<(Link, std::sync::Arc<Upstream>)> {
        let link = Link::open(&gateway.sealer, token, self.clock.now())?;
        let upstream = gateway.snapshot().upstream(&link.server).cloned()?;
        Some((link, upstream))
    }

    /// Looks whether something was used that may be used once.
    async fn not_used_before(&self, what: &str, id: &str) -> Result<(), Answer> {
        let name = name_of_use(what, id);
        match self.used.was_used(&name, self.clock.now()).await {
            Ok(true) => Err(Page::Used.into()),
            // What can't be known now is found out when it is used.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    /// Notes that something is used that may be used once.
    async fn first_use(&self, what: &str, id: &str, ends: u64) -> Result<(), Answer> {
        let name = name_of_use(what, id);
        let ends = Duration::from_secs(ends);
        match self.used.first_use(&name, ends, self.clock.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Page::Used.into()),
            Err(_) => {
                tracing::warn!(
                    "more links and steps of connecting are in use than are remembered, so a new one was refused"
                );
                Err(Page::Busy.into())
            }
        }
    }
}

/// What names one use of a link or a state.
fn name_of_use(what: &str, id: &str) -> ProofId {
    let digest = digest(&SHA256, format!("connect {what} {id}").as_bytes());
    let mut name = [0; 32];
    name.copy_from_slice(digest.as_ref());
    name
}

impl Traveller<'_> {
    /// Where the browser goes for `step`, and the cookie that it takes along.
    async fn depart(
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
    async fn code<'q>(
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
    async fn is_who_has_called(
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
    async fn finish(
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

    fn failed(&self, error: &TokenError) -> Answer {
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
