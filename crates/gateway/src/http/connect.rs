//! `/connect/…`: where people connect servers to their accounts ([`crate::connect`]), in a browser.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mcp_ultra_edge::body;

use super::{Body, guard, names, respond};
use crate::{
    Gateway,
    connect::{Answer, Browser, Connect, Cookie, Language, Page, Query, Shown, protect},
};

/// The path that authorization servers send browsers back to.
const CALLBACK: &str = "callback";
/// The largest form.
const MAX_FORM: usize = 16 * 1024;
/// How long a form may take to come.
const FORM_TIME: Duration = Duration::from_secs(10);
/// The longest name of a browser that is looked at.
const MAX_BROWSER: usize = 64;
/// How many flows one browser can be in.
const MAX_FLOWS: usize = 16;

/// Whether `path` is one of these pages, which are there where a server needs them.
pub(super) fn is_page(gateway: &Gateway, path: &str) -> bool {
    let rest = path.strip_prefix("/connect/").unwrap_or_default();
    let snapshot = gateway.snapshot();
    let mut upstreams = snapshot.upstreams.iter();
    !rest.is_empty()
        && !rest.contains('/')
        && upstreams.any(|upstream| upstream.settings().granted().is_some())
}

/// Answers a request for one of [these pages](is_page).
pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    connect: &Connect,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Err(exceeded) = guard::request(gateway, &request) {
        return respond::limited(&exceeded);
    }
    let language = Language::of(request.headers());
    if !names::host_is_allowed(&gateway.settings().hosts, request.uri(), request.headers()) {
        return respond::text(
            StatusCode::FORBIDDEN,
            "the Host of the request is not allowed here; see server.allowed_hosts\n",
        );
    }
    let (head, body) = request.into_parts();
    let browser = browser(&head.headers);
    let rest = head
        .uri
        .path()
        .strip_prefix("/connect/")
        .unwrap_or_default();
    let shown = match (&head.method, rest) {
        (&Method::GET, CALLBACK) => match Query::read(head.uri.query().unwrap_or_default()) {
            Some(query) => connect.back(gateway, &query, &browser).await,
            None => Shown::unexpected(),
        },
        (&Method::GET, token) => connect.start(gateway, token, &browser).await,
        (&Method::POST, token) if token != CALLBACK => match consent(&head.headers, body).await {
            Some(consent) => connect.leave(gateway, token, &browser, &consent).await,
            None => Shown::unexpected(),
        },
        (_, rest) => return method_not_allowed(rest),
    };
    respond(shown, language)
}

/// The field of the form, if that comes from the page itself.
async fn consent(headers: &HeaderMap, body: Incoming) -> Option<String> {
    // Old browsers do not say it; what is sealed in the form is what counts.
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return None;
    }
    let reading = tokio::time::timeout(FORM_TIME, body::read(body, MAX_FORM));
    let form = reading.await.ok()?.ok()?;
    let mut fields = url::form_urlencoded::parse(&form);
    let (_, value) = fields.find(|(name, _)| name == "consent")?;
    Some(value.into_owned())
}

fn browser(headers: &HeaderMap) -> Browser {
    let mut browser = Browser::default();
    let values = headers.get_all(header::COOKIE).iter();
    let pairs = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    for (name, value) in pairs {
        if name == Cookie::BROWSER && (1..=MAX_BROWSER).contains(&value.len()) {
            browser.id = Some(value.to_owned());
        } else if name.starts_with(Cookie::FLOW) && browser.flows.len() < MAX_FLOWS {
            browser.flows.push((name.to_owned(), value.to_owned()));
        }
    }
    browser
}

fn respond(shown: Shown, language: Language) -> Response<Body> {
    let Shown { answer, link } = shown;
    let (mut response, cookies) = match answer {
        Answer::Page(told, cookies) => (told.page().response(language, &link), cookies),
        Answer::Redirect(to, cookies) => {
            let mut response = respond::status(StatusCode::SEE_OTHER);
            let map = response.headers_mut();
            protect(map);
            match HeaderValue::try_from(to) {
                Ok(to) => map.insert(header::LOCATION, to),
                Err(_) => return Page::Failed.response(language, &link),
            };
            (response, cookies)
        }
    };
    for cookie in cookies {
        // `__Host-`: of this host alone, over TLS, and for no part of it only.
        let text = format!(
            "{}={}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax",
            cookie.name,
            cookie.value,
            cookie.lifetime.as_secs()
        );
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

fn method_not_allowed(rest: &str) -> Response<Body> {
    let allow = if rest == CALLBACK { "GET" } else { "GET, POST" };
    let mut response = respond::status(StatusCode::METHOD_NOT_ALLOWED);
    let map = response.headers_mut();
    map.insert(header::ALLOW, HeaderValue::from_static(allow));
    map.insert(
        HeaderName::from_static("cache-control"),
        HeaderValue::from_static("no-store"),
    );
    response
}
