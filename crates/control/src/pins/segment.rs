use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// What stands before a name that is written in another way. A name that begins so is one.
const ESCAPE: char = '~';

/// The name of a tool as a segment of a path that no client and no proxy reads in another way: as it
/// is where it consists of letters and digits of ASCII, dash, underscore and dot, else `~` and its
/// base64url (RFC 4648, 5).
///
/// Percent-encoding is not enough: URLs lose `..` on their way, as `%2e%2e` too (WHATWG URL, 4.4), an
/// empty segment, and, in many proxies, `%2F`.
pub fn segment(tool: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_dots = matches!(tool, "" | "." | "..");
    if !is_dots && tool.chars().all(is_plain) {
        return tool.to_owned();
    }
    format!("{ESCAPE}{}", URL_SAFE_NO_PAD.encode(tool))
}

/// The name that a segment stands for, once it is percent-decoded: what does not begin with `~` is
/// the name itself. `None` where it is none that [`segment`] makes.
pub fn tool_of(segment: &str) -> Option<String> {
    let Some(encoded) = segment.strip_prefix(ESCAPE) else {
        return Some(segment.to_owned());
    };
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, extract::Path, http::Request, routing::get};
    use proptest::{prelude::*, test_runner::Config};
    use tower::ServiceExt;
    use url::Url;

    use super::*;

    /// The name that reaches an endpoint by a URL that a browser's parser has read.
    fn arrives(tool: &str) -> Option<String> {
        let text = format!(
            "http://127.0.0.1:9090/api/v1/tools/crm/{}/approve",
            segment(tool)
        );
        let url = Url::parse(&text).unwrap();
        assert_eq!(url.as_str(), text, "the parser leaves it as it is");
        let read = async |Path((server, tool)): Path<(String, String)>| {
            assert_eq!(server, "crm");
            tool_of(&tool).unwrap()
        };
        let router = Router::new().nest(
            "/api/v1",
            Router::new().route("/tools/{server}/{tool}/approve", get(read)),
        );
        let request = Request::get(url.path()).body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap();
            let found = response.status().is_success();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            found.then(|| String::from_utf8(body.unwrap().to_vec()).unwrap())
        })
    }

    #[test]
    fn names_that_urls_would_lose_arrive() {
        for tool in [
            "",
            ".",
            "..",
            "...",
            "/",
            "a/b",
            "%2F",
            "%2e%2e",
            "~",
            "~Li4",
            "a b",
            "a?b#c",
            "ação",
            "\u{0}",
            "\\",
            "a\nb",
            "😀",
            "approve",
            "find_customer",
        ] {
            assert_eq!(arrives(tool).as_deref(), Some(tool));
        }
        assert_eq!(segment("find_customer.v2"), "find_customer.v2");
        assert_eq!(segment(".."), "~Li4");
        assert_eq!(tool_of("ação").as_deref(), Some("ação"));
        for none in ["~.", "~Li4=", "~_w"] {
            assert_eq!(tool_of(none), None, "{none}");
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 512, failure_persistence: None, ..Config::default() })]

        #[test]
        fn every_name_makes_a_url_that_reaches_it_alone(
            tool in prop_oneof![any::<String>(), "[~./%a2eE\\\\ -]{0,6}"],
            other in "[~./%a2eE\\\\ -]{0,6}",
        ) {
            prop_assert_eq!(arrives(&tool), Some(tool.clone()));
            prop_assert_eq!(segment(&tool) == segment(&other), tool == other);
        }
    }
}
