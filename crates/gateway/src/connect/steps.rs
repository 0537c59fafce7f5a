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

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_domain::ports::ProofId;
use mcp_ultra_edge::credentials::Verifier;

use super::{
    Answer, Browser, Connect, Cookie, Page, Query,
    browser::{Shown, Told, flow_name},
    link::{self, Flow, Link, State, Step},
    step_up::together,
    traveller::Traveller,
};
use crate::{Gateway, random, upstream::Upstream};

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
    fn open(&self, gateway: &Gateway, token: &str) -> Option<(Link, Arc<Upstream>)> {
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
