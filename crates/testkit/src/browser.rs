//! A browser as far as a login needs one: cookies, redirects, one form, and pages that lead on by
//! `<meta http-equiv="refresh">`. Everything that it has seen is kept.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use crate::raw::{Client, RawError};

/// How many redirects are followed.
const MOST: usize = 10;

/// What can go wrong between a browser and a server.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// There was no answer.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// It has been sent to what is no URL.
    #[error("no URL: {0}")]
    NoUrl(String),
    /// A page has no form that could be sent.
    #[error("no form on the page: {0}")]
    NoForm(String),
}

/// A browser; clones share the cookies.
#[derive(Clone, Default)]
pub struct Browser {
    cookies: Arc<Mutex<Vec<Cookie>>>,
    hosts: Arc<Mutex<Vec<(String, String)>>>,
    language: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    authority: String,
    name: String,
    value: String,
}

/// A page, or a redirect where those are not followed.
#[derive(Debug, Clone)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its text.
    pub text: String,
}

impl Browser {
    /// A browser whose reader wants this language.
    pub fn of(language: &'static str) -> Self {
        Self {
            language: Some(language),
            ..Self::default()
        }
    }

    /// Finds `origin` at `base`, as if a proxy there ended TLS for it.
    pub fn finds(&self, origin: &str, base: &str) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|(known, _)| known != origin);
        hosts.push((origin.to_owned(), base.to_owned()));
    }

    /// Has this cookie for the host of `url`.
    pub fn has(&self, url: &str, name: &str, value: &str) -> Result<(), BrowserError> {
        self.keep(&authority(&parse(url)?), name, value);
        Ok(())
    }

    /// The cookies of the host of `url`, by name.
    pub fn cookies(&self, url: &str) -> Result<Vec<(String, String)>, BrowserError> {
        let authority = authority(&parse(url)?);
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let of = cookies
            .iter()
            .filter(|cookie| cookie.authority == authority);
        Ok(of
            .map(|cookie| (cookie.name.clone(), cookie.value.clone()))
            .collect())
    }

    /// Opens a page, and goes on to wherever that leads.
    pub async fn open(&self, url: &str) -> Result<Page, BrowserError> {
        let mut page = self.step(Method::GET, parse(url)?, String::new()).await?;
        for _ in 0..MOST {
            match page.leads_to() {
                Some(next) => page = self.step(Method::GET, next, String::new()).await?,
                None => break,
            }
        }
        Ok(page)
    }

    /// Opens a page and stays there.
    pub async fn look(&self, url: &str) -> Result<Page, BrowserError> {
        self.step(Method::GET, parse(url)?, String::new()).await
    }

    /// Sends these fields to where a form wants them, and goes on to wherever that leads.
    pub async fn fill(&self, url: &str, fields: &[(&str, &str)]) -> Result<Page, BrowserError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let sent = self.step(Method::POST, parse(url)?, form.finish()).await?;
        match sent.leads_to() {
            Some(next) => self.open(next.as_str()).await,
            None => Ok(sent),
        }
    }

    /// Sends the form of a page, and stays where that leads.
    pub async fn send(&self, page: &Page) -> Result<Page, BrowserError> {
        let (target, fields) = page
            .form()
            .ok_or_else(|| BrowserError::NoForm(page.text.clone()))?;
        self.step(Method::POST, target, fields).await
    }

    /// Sends the form of a page, and goes on to wherever that leads.
    pub async fn agree(&self, page: &Page) -> Result<Page, BrowserError> {
        let sent = self.send(page).await?;
        match sent.leads_to() {
            Some(next) => self.open(next.as_str()).await,
            None => Ok(sent),
        }
    }

    async fn step(&self, method: Method, url: Url, body: String) -> Result<Page, BrowserError> {
        let mut headers = HeaderMap::new();
        let cookies: Vec<String> = self
            .cookies(url.as_str())?
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookie(&cookies)?);
        }
        if let Some(language) = self.language {
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        }
        if method == Method::POST {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, kind);
            // What browsers send where the page has the referrer policy `no-referrer`.
            headers.insert(header::ORIGIN, HeaderValue::from_static("null"));
        }
        let client = Client::new(self.place(&url, &mut headers));
        let answer = client.request(method, headers, Bytes::from(body)).await?;
        let (status, headers) = (answer.status, answer.headers.clone());
        for set in headers.get_all(header::SET_COOKIE) {
            self.take(&url, set);
        }
        let text = String::from_utf8_lossy(&answer.bytes().await?).into_owned();
        Ok(Page {
            url,
            status,
            headers,
            text,
        })
    }

    /// Where a URL really is. The host stays the one that was asked for.
    fn place(&self, url: &Url, headers: &mut HeaderMap) -> String {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = url.origin().ascii_serialization();
        let Some((_, base)) = hosts.iter().find(|(known, _)| *known == origin) else {
            return url.to_string();
        };
        if let Ok(host) = HeaderValue::try_from(authority(url)) {
            headers.insert(header::HOST, host);
        }
        format!("{base}{}", &url[url::Position::BeforePath..])
    }

    fn take(&self, url: &Url, set: &HeaderValue) {
        let text = set.to_str().unwrap_or_default();
        let mut parts = text.split("; ");
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let value = if parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
            ""
        } else {
            value
        };
        self.keep(&authority(url), name, value);
    }

    fn keep(&self, authority: &str, name: &str, value: &str) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.retain(|cookie| cookie.authority != authority || cookie.name != name);
        if !value.is_empty() {
            cookies.push(Cookie {
                authority: authority.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
    }
}

impl Page {
    /// A header as text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Where the page sends the browser on to.
    pub fn leads_to(&self) -> Option<Url> {
        if self.status.is_redirection() {
            return self.url.join(self.header("location")).ok();
        }
        let refresh = self.between("http-equiv=\"refresh\" content=\"0;url=", "\"")?;
        self.url.join(&refresh).ok()
    }

    /// Where its form goes, and the fields of that.
    fn form(&self) -> Option<(Url, String)> {
        let target = self.between("<form method=\"post\" action=\"", "\"")?;
        let name = self.between("<input type=\"hidden\" name=\"", "\"")?;
        let value = self.between(&format!("name=\"{name}\" value=\""), "\"")?;
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        fields.append_pair(&name, &value);
        Some((self.url.join(&target).ok()?, fields.finish()))
    }

    fn between(&self, before: &str, after: &str) -> Option<String> {
        let rest = self.text.split_once(before)?.1;
        let text = rest.split_once(after)?.0;
        let text = text.replace("&quot;", "\"").replace("&#39;", "'");
        Some(
            text.replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
    }
}

fn cookie(pairs: &[String]) -> Result<HeaderValue, RawError> {
    HeaderValue::try_from(pairs.join("; ")).map_err(|error| RawError::Request(error.into()))
}

fn parse(url: &str) -> Result<Url, BrowserError> {
    Url::parse(url).map_err(|_| BrowserError::NoUrl(url.to_owned()))
}

fn authority(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}
