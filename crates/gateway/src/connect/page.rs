//! The pages that a person sees, in English and Brazilian Portuguese. They load nothing, run
//! nothing and can't be framed.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::http::Body;

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Portuguese,
}

impl Language {
    /// What the reader likes better, by `Accept-Language` (RFC 9110, 12.5.4). Everyone who asks for
    /// neither reads English.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut best = (Self::English, 0.0);
        let values = headers.get_all(header::ACCEPT_LANGUAGE).iter();
        for range in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            let language = match tag.split('-').next().unwrap_or_default() {
                tag if tag.eq_ignore_ascii_case("pt") => Self::Portuguese,
                tag if tag.eq_ignore_ascii_case("en") => Self::English,
                _ => continue,
            };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }

    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Portuguese => "pt-BR",
        }
    }

    fn choose<T>(self, english: T, portuguese: T) -> T {
        match self {
            Self::English => english,
            Self::Portuguese => portuguese,
        }
    }
}

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
    /// The link is none, has been used, or has ended.
    NoLink,
    /// It is not the browser that has begun, or it keeps no cookies.
    OtherBrowser,
    /// Somebody else has logged in.
    OtherPerson,
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
            Self::NoLink | Self::OtherBrowser | Self::Unexpected => StatusCode::BAD_REQUEST,
            Self::OtherPerson => StatusCode::FORBIDDEN,
            Self::Failed => StatusCode::BAD_GATEWAY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Title and text.
    fn words(&self, language: Language) -> (&'static str, String) {
        let (english, portuguese): ((&str, String), (&str, String)) = match self {
            Self::Start { server, at, .. } => (
                (
                    "Connect your account",
                    format!("You are about to let this gateway use the server “{server}” in your name. You log in first, so that nobody but you can do this, and then allow the access at {at}. Go on only if you have asked for it yourself just now."),
                ),
                (
                    "Conectar sua conta",
                    format!("Você está prestes a permitir que este gateway use o servidor “{server}” em seu nome. Primeiro você entra com a sua conta, para que ninguém além de você possa fazer isso, e depois autoriza o acesso em {at}. Continue somente se foi você quem pediu isso agora."),
                ),
            ),
            Self::Leave { .. } => (
                ("One moment", "You are being sent on.".to_owned()),
                ("Um momento", "Você está sendo encaminhado.".to_owned()),
            ),
            Self::Done { server } => (
                (
                    "Connected",
                    format!("“{server}” is connected. You can close this window and go back to where you came from."),
                ),
                (
                    "Conectado",
                    format!("“{server}” está conectado. Você pode fechar esta janela e voltar para onde estava."),
                ),
            ),
            Self::NoLink => (
                (
                    "This link is not valid",
                    "It has expired, has been used already, or is incomplete. Nothing was connected. Call the tool again to get a new one.".to_owned(),
                ),
                (
                    "Este link não é válido",
                    "Ele expirou, já foi usado ou está incompleto. Nada foi conectado. Chame a ferramenta de novo para receber outro.".to_owned(),
                ),
            ),
            Self::OtherBrowser => (
                (
                    "Not the browser that began",
                    "This step has to be done in the browser in which the link was opened, and that has to accept cookies. Nothing was connected. Call the tool again to get a new link.".to_owned(),
                ),
                (
                    "Não é o navegador que começou",
                    "Este passo precisa ser feito no navegador em que o link foi aberto, e ele precisa aceitar cookies. Nada foi conectado. Chame a ferramenta de novo para receber outro link.".to_owned(),
                ),
            ),
            Self::OtherPerson => (
                (
                    "This link is somebody else's",
                    "You have logged in as another person than the one who has asked for this link. Nothing was connected. If you got it from somebody else, they may have tried to gain access to your account: tell whoever runs this gateway.".to_owned(),
                ),
                (
                    "Este link é de outra pessoa",
                    "Você entrou como outra pessoa, e não como quem pediu este link. Nada foi conectado. Se você o recebeu de alguém, essa pessoa pode ter tentado obter acesso à sua conta: avise quem opera este gateway.".to_owned(),
                ),
            ),
            Self::Denied { server } => (
                (
                    "Not connected",
                    format!("You have not allowed the access, so “{server}” is not connected. Call the tool again if you want to try once more."),
                ),
                (
                    "Não conectado",
                    format!("Você não autorizou o acesso, por isso “{server}” não está conectado. Chame a ferramenta de novo se quiser tentar outra vez."),
                ),
            ),
            Self::Unexpected => (
                (
                    "That answer was not expected",
                    "What came back is not the answer to what was asked, so it was thrown away. Nothing was connected. Call the tool again to get a new link.".to_owned(),
                ),
                (
                    "Essa resposta não era esperada",
                    "O que voltou não é a resposta ao que foi pedido, por isso foi descartado. Nada foi conectado. Chame a ferramenta de novo para receber outro link.".to_owned(),
                ),
            ),
            Self::Failed => (
                (
                    "That did not work",
                    "The service that should have let you in did not answer as it should. Nothing was connected. Try again later; whoever runs this gateway finds the reason in its log.".to_owned(),
                ),
                (
                    "Não funcionou",
                    "O serviço que deveria autorizar o acesso não respondeu como deveria. Nada foi conectado. Tente mais tarde; quem opera este gateway encontra o motivo no log.".to_owned(),
                ),
            ),
            Self::Busy => (
                (
                    "Too many at once",
                    "Too many people are connecting at the moment. Nothing was connected. Try again in a few minutes.".to_owned(),
                ),
                (
                    "Gente demais ao mesmo tempo",
                    "Há pessoas demais conectando neste momento. Nada foi conectado. Tente de novo em alguns minutos.".to_owned(),
                ),
            ),
        };
        language.choose(english, portuguese)
    }

    /// The response with this page.
    pub(crate) fn response(&self, language: Language) -> Response<Body> {
        let mut response = Response::new(Body::full(self.html(language)));
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

    fn html(&self, language: Language) -> String {
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
    fn the_reader_chooses_the_language() {
        let of = |value: Option<&'static str>| {
            let mut map = HeaderMap::new();
            if let Some(value) = value {
                map.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(value));
            }
            Language::of(&map)
        };
        for text in [
            None,
            Some("en"),
            Some("de, fr;q=0.5"),
            Some("en-GB, pt;q=0.9"),
            Some("pt;q=0"),
        ] {
            assert_eq!(of(text), Language::English, "{text:?}");
        }
        for text in [
            "pt-BR",
            "pt",
            "de, pt-BR;q=0.3",
            "en;q=0.8, pt-PT;q=0.9",
            "PT-br,en;q=0.5",
        ] {
            assert_eq!(of(Some(text)), Language::Portuguese, "{text}");
        }
    }

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
                let html = page.html(language);
                assert!(
                    !html.contains("<script") && !html.contains("\">&lt;/"),
                    "{html}"
                );
                assert!(html.contains("&lt;script&gt;"), "{html}");
            }
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
            let response = page.response(Language::Portuguese);
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
