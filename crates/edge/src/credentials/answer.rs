use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::TokenError;

/// The longest token that is taken.
const LONGEST_TOKEN: usize = 16 * 1024;
/// How much is logged of what an authorization server says.
const LONGEST_WORDS: usize = 200;
/// The longest word of these: what is longer may be a token or a key.
const LONGEST_WORD: usize = 32;

/// A token that was issued (RFC 6749, 5.1; RFC 8693, 2.2.1).
#[derive(Debug)]
pub struct TokenAnswer {
    /// `access_token`, of the type `Bearer`.
    pub access_token: SecretString,
    /// `expires_in`, where it is said.
    pub expires_in: Option<Duration>,
    /// `refresh_token`, where there is one.
    pub refresh_token: Option<SecretString>,
    /// `issued_token_type` of an exchange.
    pub issued_token_type: Option<String>,
    /// `scope`, where it is said.
    pub scope: Option<String>,
    /// `id_token` (`OpenID` Connect Core, 3.1.3.3), where there is one. It is not believed yet.
    pub id_token: Option<SecretString>,
}

/// Why an authorization server refuses (RFC 6749, 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// `error`, bounded and printable.
    pub code: String,
    /// `error_description`, bounded, printable, and without what may be secret.
    pub description: Option<String>,
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        match &self.description {
            Some(description) => write!(f, ": {description}"),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Success {
    access_token: SecretString,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    refresh_token: Option<SecretString>,
    #[serde(default)]
    issued_token_type: Option<String>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    id_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

/// Reads the answer of a token endpoint. Of `secrets`, which were in the request, nothing is shown in
/// a refusal.
pub(super) fn read(
    status: StatusCode,
    body: &Bytes,
    secrets: &[&str],
) -> Result<TokenAnswer, TokenError> {
    if status == StatusCode::OK {
        return success(body);
    }
    if status.is_client_error()
        && let Ok(failure) = serde_json::from_slice::<Failure>(body)
    {
        return Err(TokenError::Refused(TokenRefusal {
            code: shown(&failure.error, secrets),
            description: failure
                .error_description
                .map(|words| shown(&words, secrets))
                .filter(|words| !words.is_empty()),
        }));
    }
    Err(TokenError::Status(status))
}

fn success(body: &Bytes) -> Result<TokenAnswer, TokenError> {
    let Success {
        access_token,
        token_type,
        expires_in,
        refresh_token,
        issued_token_type,
        scope,
        id_token,
    } = serde_json::from_slice(body).map_err(|_| {
        TokenError::Form("something else than JSON with access_token and token_type")
    })?;
    // Another type is sent in another way, which is not known here (RFC 6749, 7.1).
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Form("a token of another type than Bearer"));
    }
    let fine = |token: &SecretString| {
        let text = secrecy::ExposeSecret::expose_secret(token);
        // RFC 6749, A.12 and A.17.
        (1..=LONGEST_TOKEN).contains(&text.len())
            && text.bytes().all(|b| (0x21..=0x7e).contains(&b))
    };
    if !fine(&access_token) || !refresh_token.as_ref().is_none_or(fine) {
        return Err(TokenError::Form("a token that can't be sent"));
    }
    Ok(TokenAnswer {
        access_token,
        expires_in: expires_in.as_ref().map(seconds).transpose()?,
        refresh_token,
        issued_token_type,
        scope,
        id_token,
    })
}

/// A number of seconds, which some servers write as a text.
fn seconds(value: &Value) -> Result<Duration, TokenError> {
    let wrong = TokenError::Form("an expires_in that is no number of seconds above zero");
    let seconds = match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong),
    }
}

/// The whole seconds of a number with a fraction, or of one that is larger than any time.
fn whole(seconds: f64) -> Option<u64> {
    let bounded = Duration::try_from_secs_f64(seconds.min(1e9)).ok()?;
    Some(bounded.as_secs())
}

/// What may be logged of foreign words: printable, bounded, and without secrets and long words, which
/// may be a token or a key.
fn shown(words: &str, secrets: &[&str]) -> String {
    let mut words = Cow::Borrowed(words);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        if words.contains(secret) {
            words = words.replace(secret, "***").into();
        }
    }
    let mut out = String::new();
    for word in words.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if out.len() + word.len().min(LONGEST_WORD) >= LONGEST_WORDS {
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let printable = |c: char| c.is_alphanumeric() || c.is_ascii_punctuation();
        if word.len() > LONGEST_WORD || !word.chars().all(printable) {
            out.push_str("***");
        } else {
            out.push_str(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Result<TokenAnswer, TokenError> {
        let status = StatusCode::from_u16(status).unwrap();
        read(
            status,
            &Bytes::copy_from_slice(body.as_bytes()),
            &["short one", "", "r-1"],
        )
    }

    #[test]
    fn tokens_are_read_as_the_specification_has_them() {
        let answer = of(
            200,
            r#"{"access_token":"a.b","token_type":"bearer","expires_in":60,"more":[1]}"#,
        );
        assert_eq!(answer.unwrap().expires_in, Some(Duration::from_mins(1)));
        let answer = of(200, r#"{"access_token":"a","token_type":"Bearer"}"#).unwrap();
        assert_eq!(answer.expires_in, None);
        for (written, seconds) in [("\"90\"", 90), ("1.5", 1), ("1e300", 1_000_000_000)] {
            let text =
                format!(r#"{{"access_token":"a","token_type":"Bearer","expires_in":{written}}}"#);
            let answer = of(200, &text).unwrap();
            assert_eq!(answer.expires_in, Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for body in [
            "",
            "<html>Welcome</html>",
            "[]",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            r#"{"access_token":"a","token_type":"N_A"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":-5}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":[60]}"#,
        ] {
            let answer = of(200, body);
            assert!(matches!(answer, Err(TokenError::Form(_))), "{body}");
        }
        let long = "a".repeat(LONGEST_TOKEN + 1);
        let body = format!(r#"{{"access_token":"{long}","token_type":"Bearer"}}"#);
        assert!(matches!(of(200, &body), Err(TokenError::Form(_))));
    }

    #[test]
    fn refusals_are_shown_without_what_may_be_secret() {
        let refused = |body: &str| match of(400, body) {
            Err(TokenError::Refused(refusal)) => refusal.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(r#"{"error":"invalid_client"}"#), "invalid_client");
        let said = refused(
            r#"{"error":"invalid_request","error_description":"no\nsuch token: eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAifQ.x"}"#,
        );
        assert_eq!(said, "invalid_request: no such token: ***");
        for (body, shown) in [
            (
                r#"{"error":"e","error_description":"not r-1: short one."}"#,
                "e: not ***: ***.",
            ),
            (r#"{"error":"no_r-1"}"#, "no_***"),
            (r#"{"error":"e","error_description":"r-1"}"#, "e: ***"),
        ] {
            assert_eq!(refused(body), shown, "what was sent is not shown");
        }
        let long = format!(
            r#"{{"error":"e","error_description":"{}"}}"#,
            "word ".repeat(10_000)
        );
        assert!(refused(&long).len() < 2 * LONGEST_WORDS);
        for (status, body) in [
            (400, "<html>"),
            (500, r#"{"error":"x"}"#),
            (302, ""),
            (201, "{}"),
        ] {
            assert!(matches!(of(status, body), Err(TokenError::Status(_))));
        }
    }
}
