//! What comes with a browser, and what goes back to it.

use std::time::Duration;

use super::{
    Page,
    link::{LIFETIME, reference},
};
use crate::random;

/// The longest parameter that is looked at.
const LONGEST: usize = 8 * 1024;

/// What came back with the browser (OAuth 2.1, 4.1.2; RFC 9207).
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
    pub(super) issuer: Option<String>,
}

impl Query {
    /// Reads it; `None` where a parameter comes twice (RFC 6749, 3.1) or is too long.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let place = match &*name {
                "state" => &mut query.state,
                "code" => &mut query.code,
                "error" => &mut query.error,
                "iss" => &mut query.issuer,
                _ => continue,
            };
            if place.is_some() || value.len() > LONGEST {
                return None;
            }
            *place = Some(value.into_owned());
        }
        Some(query)
    }
}

/// The cookies of a browser, as far as they matter here.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    /// What names the browser, for ten minutes.
    pub id: Option<String>,
    /// The flows that it is in, by the name of their cookie.
    pub flows: Vec<(String, String)>,
}

/// A cookie to be set, or to be ended where its value is empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub name: String,
    pub value: String,
    pub lifetime: Duration,
}

impl Cookie {
    /// The name of the cookie that names the browser.
    pub(crate) const BROWSER: &str = "__Host-mcp-ultra-browser";
    /// What the names of the cookies of flows begin with.
    pub(crate) const FLOW: &str = "__Host-mcp-ultra-flow-";

    pub(super) fn browser(id: &str) -> Self {
        Self {
            name: Self::BROWSER.to_owned(),
            value: id.to_owned(),
            lifetime: LIFETIME,
        }
    }

    pub(super) fn flow(link: &str, value: String) -> Self {
        Self {
            name: flow_name(link),
            value,
            lifetime: LIFETIME,
        }
    }
}

pub(super) fn flow_name(link: &str) -> String {
    let short: String = link.chars().take(16).collect();
    format!("{}{short}", Cookie::FLOW)
}

/// What the browser gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A page, and cookies.
    Page(Told, Vec<Cookie>),
    /// It is sent on.
    Redirect(String, Vec<Cookie>),
}

/// What the browser gets, and what the link is called that it came with: what could be opened of it,
/// else a name of its own for this one answer.
#[derive(Debug)]
pub(crate) struct Shown {
    pub answer: Answer,
    pub link: String,
}

impl Shown {
    /// Tells the log where a person could not go on, by the name that they are shown.
    pub(super) fn new(answer: Answer, link: Option<String>) -> Self {
        let link = link.unwrap_or_else(|| reference(&random::identifier()));
        if let Answer::Page(told, _) = &answer
            && let Some(page) = told.page().failure()
        {
            tracing::info!(
                link,
                page,
                "the page of a link has told a person that nothing was connected"
            );
        }
        Self { answer, link }
    }

    /// What came is none of what the pages send.
    pub(crate) fn unexpected() -> Self {
        Self::new(Page::Unexpected.into(), None)
    }
}

/// A page with what is on it.
#[derive(Debug)]
pub(crate) enum Told {
    Start {
        server: String,
        at: String,
        scopes: Vec<String>,
        consent: String,
    },
    Leave(String),
    Done(String),
    Denied(String),
    Plain(Page<'static>),
}

impl Told {
    pub(crate) fn page(&self) -> Page<'_> {
        match self {
            Self::Start {
                server,
                at,
                scopes,
                consent,
            } => Page::Start {
                server,
                at,
                scopes,
                consent,
            },
            Self::Leave(to) => Page::Leave { to },
            Self::Done(server) => Page::Done { server },
            Self::Denied(server) => Page::Denied { server },
            Self::Plain(page) => page.clone(),
        }
    }
}

impl From<Page<'static>> for Answer {
    fn from(page: Page<'static>) -> Self {
        Self::Page(Told::Plain(page), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_may_come_twice() {
        let query = Query::read("code=c&state=s&iss=https%3A%2F%2Fas.example.com&x=1&x=2").unwrap();
        assert_eq!(query.issuer.as_deref(), Some("https://as.example.com"));
        for twice in ["state=a&state=b", "code=a&state=s&code=b", "iss=a&iss=a"] {
            assert!(Query::read(twice).is_none(), "{twice}");
        }
        assert!(Query::read(&format!("code={}", "x".repeat(LONGEST + 1))).is_none());
    }
}
