//! What every response says to browsers, unless its service says otherwise. The gateway serves data
//! and no pages, so nothing of it is to be shown, framed, guessed at, kept or sent on.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const USUAL: [(HeaderName, HeaderValue); 4] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        // The last three do not follow from the first (CSP 3, section 6.1.3).
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

/// Adds what is missing. `hsts` is `Strict-Transport-Security` of a connection with TLS.
pub(super) fn complete(headers: &mut HeaderMap, hsts: Option<&HeaderValue>) {
    for (name, value) in &USUAL {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if let Some(hsts) = hsts {
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert_with(|| hsts.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_and_nothing_else_changed() {
        let mut headers = HeaderMap::new();
        let cached = HeaderValue::from_static("public, max-age=300");
        headers.insert(header::CACHE_CONTROL, cached.clone());
        complete(&mut headers, None);
        assert_eq!(headers[header::CACHE_CONTROL], cached);
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers.len(), USUAL.len());
        complete(&mut headers, Some(&HeaderValue::from_static("max-age=1")));
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=1");
        assert_eq!(headers.len(), USUAL.len() + 1);
    }
}
