//! What a server says of an access token that is good, and not good enough (RFC 6750, 3.1; MCP
//! 2026-07-28, Authorization, Scope Challenge Handling).

use http::{HeaderMap, Response, StatusCode, header};

/// The longest list of scopes that is looked at, in bytes.
const LONGEST: usize = 1024;

/// The scopes that a server asks for besides, separated by spaces; empty where it does not say which.
/// `None` where that is not what it says.
pub(super) fn lacking<B>(response: &Response<B>) -> Option<String> {
    if response.status() != StatusCode::FORBIDDEN {
        return None;
    }
    of(response.headers())
}

fn of(headers: &HeaderMap) -> Option<String> {
    let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let mut texts = challenges.filter_map(|value| value.to_str().ok());
    let text = texts.find(|text| {
        let error = parameter(text, "error");
        error.is_some_and(|error| error == "insufficient_scope")
    })?;
    let scopes = parameter(text, "scope").unwrap_or_default();
    // RFC 6749, 3.3. It is shown, logged, and asked for: half of it would be something else.
    let fine = |char| matches!(char, ' ' | '!' | '#'..='[' | ']'..='~');
    let is_fine = scopes.len() <= LONGEST && scopes.chars().all(fine);
    Some(if is_fine {
        scopes.to_owned()
    } else {
        String::new()
    })
}

/// The value of a parameter of a challenge, as a token or between quotes.
fn parameter<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = text;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        let value = after.trim_start().strip_prefix('=');
        if let Some(value) = value
            && before.is_none_or(|char| char == ' ' || char == ',')
        {
            let value = value.trim_start();
            return Some(match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                None => value.split([',', ' ']).next().unwrap_or_default(),
            });
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_read_from_the_challenge() {
        let long = "x".repeat(LONGEST + 1);
        let long = &format!("Bearer error=\"insufficient_scope\", scope=\"{long}\"");
        for (status, challenge, lacking) in [
            (
                403,
                "Bearer error=\"insufficient_scope\", scope=\"a:read b\"",
                Some("a:read b"),
            ),
            (
                403,
                "Bearer scope=\"b\", realm=\"x\", error=insufficient_scope",
                Some("b"),
            ),
            (403, "Bearer error=\"insufficient_scope\"", Some("")),
            (
                403,
                "Bearer error=\"insufficient_scope\", scope=\"a\u{7f}\"",
                None,
            ),
            (
                403,
                "Bearer error=\"insufficient_scope\", scope=\"a\\b c\"",
                Some(""),
            ),
            (403, long, Some("")),
            (403, "Bearer error=\"invalid_token\", scope=\"a\"", None),
            (403, "Basic realm=\"error\"", None),
            (
                401,
                "Bearer error=\"insufficient_scope\", scope=\"a\"",
                None,
            ),
        ] {
            let mut response = Response::builder().status(status);
            if let Ok(value) = http::HeaderValue::try_from(challenge) {
                response = response.header(header::WWW_AUTHENTICATE, value);
            }
            let response = response.body(()).unwrap();
            assert_eq!(super::lacking(&response).as_deref(), lacking, "{challenge}");
        }
    }
}
