//! The pages that a person sees, in English and Brazilian Portuguese. They load nothing, run
//! nothing and can't be framed.

mod language;
mod words;

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

pub(crate) use self::language::Language;
use crate::http::Body;

/// What a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page<'a> {
    /// What is about to be done, and the way on.
    Start {
        server: &'a str,
        /// Where access is granted.
        at: &'a str,
        scopes: &'a [String],
        consent: &'a str,
    },
    /// The way on, for a browser that does not go by itself.
    Leave { to: &'a str },
    /// The server is connected.
    Done { server: &'a str },
    /// The link is none, or has ended.
    NoLink,
    /// The link, or the step, was used before.
    Used,
    /// It is not the browser that has begun, or it keeps no cookies.
    OtherBrowser,
    /// Somebody else has logged in, or the same one by another name.
    OtherPerson,
    /// The issuer has another name of everyone for each client, so it is not known who has logged in.
    OtherName,
    /// The person has said no.
    Denied { server: &'a str },
    /// The answer is not of the authorization server that was asked, or not to what was asked.
    Unexpected,
    /// An authorization server can't be reached, or does not do what it should.
    Failed,
    /// As many links were used lately as may be.
    Busy,
}

impl Page<'_> {
    fn status(&self) -> StatusCode {
        match self {
            Self::Start { .. } | Self::Leave { .. } | Self::Done { .. } | Self::Denied { .. } => {
                StatusCode::OK
            }
            Self::NoLink | Self::Used | Self::OtherBrowser | Self::Unexpected => {
                StatusCode::BAD_REQUEST
            }
            Self::OtherPerson | Self::OtherName => StatusCode::FORBIDDEN,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is called in the log, where nothing was connected.
    pub(super) fn failure(&self) -> Option<&'static str> {
        Some(match self {
            Self::Start { .. } | Self::Leave { .. } | Self::Done { .. } => return None,
            Self::NoLink => "no_link",
            Self::Used => "used",
            Self::OtherBrowser => "other_browser",
            Self::OtherPerson => "other_person",
            Self::OtherName => "other_name",
            Self::Denied { .. } => "denied",
            Self::Unexpected => "unexpected",
            Self::Failed => "failed",
            Self::Busy => "busy",
        })
    }

    /// The response with this page, of the link that is called `link`.
    pub(crate) fn response(&self, language: Language, link: &str) -> Response<Body> {
        let mut response = Response::new(Body::full(self.html(language, link)));
        *response.status_mut() = self.status();
        let map = response.headers_mut();
        map.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        map.insert(
            header::CONTENT_LANGUAGE,
            HeaderValue::from_static(language.tag()),
        );
        map.insert(
            header::CONTENT_SECURITY_POLICY,
            match self {
                Self::Start { .. } => HeaderValue::from_static(
                    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                ),
                _ => HeaderValue::from_static(
                    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
                ),
            },
        );
        protect(map);
        response
    }

    fn html(&self, language: Language, link: &str) -> String {
        let (title, text) = self.words(language);
        let mut html = String::from("<!doctype html>\n<html lang=\"");
        let tag = language.tag();
        // Writing into a text does not fail.
        let _ = write!(
            html,
            "{tag}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><meta name=\"color-scheme\" content=\"light dark\">"
        );
        if let Self::Leave { to } = self {
            let _ = write!(
                html,
                "<meta http-equiv=\"refresh\" content=\"0;url={}\">",
                escaped(to)
            );
        }
        let _ = write!(
            html,
            "<title>{title}</title></head><body><main><h1>{title}</h1><p>{}</p>",
            escaped(&text)
        );
        match self {
            Self::Start {
                scopes, consent, ..
            } => {
                if !scopes.is_empty() {
                    let asked = language.choose("What it asks for:", "O que ele pede:");
                    let _ = write!(html, "<p>{asked}</p><ul>");
                    for scope in *scopes {
                        let _ = write!(html, "<li><code>{}</code></li>", escaped(scope));
                    }
                    html.push_str("</ul>");
                }
                let go = language.choose("Continue", "Continuar");
                let _ = write!(
                    html,
                    "<form method=\"post\" action=\"\"><input type=\"hidden\" name=\"consent\" value=\"{}\"><button>{go}</button></form>",
                    escaped(consent)
                );
            }
            Self::Leave { to } => {
                let go = language.choose("Continue", "Continuar");
                let _ = write!(
                    html,
                    "<p><a rel=\"noreferrer\" href=\"{}\">{go}</a></p>",
                    escaped(to)
                );
            }
            _ if self.failure().is_some() => {
                let help = language.choose(
                    "If you ask for help, name this link:",
                    "Se pedir ajuda, informe este link:",
                );
                let _ = write!(html, "<p>{help} <code>{}</code></p>", escaped(link));
            }
            _ => {}
        }
        html.push_str("</main></body></html>\n");
        html
    }
}

/// What every answer of these pages has: it is kept nowhere and tells nobody where it was.
pub(crate) fn protect(map: &mut HeaderMap) {
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    map.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    map.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    map.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    map.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

/// As it may stand in text and between quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_place() {
        let nasty = "\"><script>alert('x')</script>&";
        let scopes = [nasty.to_owned()];
        let start = Page::Start {
            server: nasty,
            at: nasty,
            scopes: &scopes,
            consent: nasty,
        };
        for page in [
            start,
            Page::Leave { to: nasty },
            Page::Done { server: nasty },
        ] {
            for language in [Language::English, Language::Portuguese] {
                let html = page.html(language, nasty);
                assert!(
                    !html.contains("<script") && !html.contains("\">&lt;/"),
                    "{html}"
                );
                assert!(html.contains("&lt;script&gt;"), "{html}");
            }
        }
    }

    #[test]
    fn pages_that_fail_name_the_link_and_others_do_not() {
        let link = "7F3K-9QXM";
        for language in [Language::English, Language::Portuguese] {
            for page in [Page::NoLink, Page::Used, Page::OtherName, Page::Failed] {
                assert!(page.html(language, link).contains(link), "{page:?}");
            }
            let done = Page::Done { server: "tickets" };
            assert!(!done.html(language, link).contains(link));
        }
    }

    #[test]
    fn pages_are_kept_nowhere_and_run_nothing() {
        for page in [
            Page::NoLink,
            Page::OtherPerson,
            Page::Leave {
                to: "https://as.example.com",
            },
        ] {
            let response = page.response(Language::Portuguese, "7F3K-9QXM");
            let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap();
            assert_eq!(header("cache-control"), "no-store");
            assert_eq!(header("referrer-policy"), "no-referrer");
            assert_eq!(header("content-language"), "pt-BR");
            let policy = header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'")
                    && policy.contains("frame-ancestors 'none'")
            );
        }
    }
}
