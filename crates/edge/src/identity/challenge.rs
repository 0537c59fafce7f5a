use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use url::Url;

use super::{IdentitySettings, Refused};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What refused clients are told (RFC 6750, 3; RFC 9728, 5.1), and the metadata of the protected
/// resource (RFC 9728, 2). All of it is made once.
#[derive(Debug)]
pub struct Challenges {
    missing: HeaderValue,
    invalid: HeaderValue,
    several: HeaderValue,
    scope: HeaderValue,
    metadata: Bytes,
    /// Where the metadata of a resource with this path is to be found.
    path: String,
}

impl Challenges {
    pub(super) fn new(settings: &IdentitySettings) -> Self {
        let (url, path) = well_known(&settings.resource);
        let scopes = settings.required_scopes.join(" ");
        let scope = if scopes.is_empty() {
            String::new()
        } else {
            format!(", scope=\"{scopes}\"")
        };
        let value = |error: &str| {
            let text = format!("Bearer {error}resource_metadata=\"{url}\"{scope}");
            // What is configured was checked; a challenge without parameters is one too.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer"))
        };
        let servers: Vec<_> = settings.issuers.iter().map(|i| &i.issuer).collect();
        let mut metadata = json!({
            "resource": settings.resource,
            "bearer_methods_supported": ["header"],
            "resource_name": "MCP Ultra",
        });
        if !servers.is_empty() {
            metadata["authorization_servers"] = json!(servers);
        }
        if !settings.supported_scopes.is_empty() {
            metadata["scopes_supported"] = json!(settings.supported_scopes);
        }
        Self {
            missing: value(""),
            invalid: value("error=\"invalid_token\", "),
            several: value("error=\"invalid_request\", "),
            scope: value("error=\"insufficient_scope\", "),
            metadata: metadata.to_string().into(),
            path,
        }
    }

    /// Status and `WWW-Authenticate` of a refusal. Every token that is not accepted gets the same:
    /// what is wrong with it is nobody's business who does not know already. Without keys to judge
    /// by it is not the token's fault, and there is no challenge.
    pub fn of(&self, why: Refused) -> (StatusCode, Option<&HeaderValue>) {
        match why {
            Refused::Missing => (StatusCode::UNAUTHORIZED, Some(&self.missing)),
            Refused::Several => (StatusCode::BAD_REQUEST, Some(&self.several)),
            Refused::Scope => (StatusCode::FORBIDDEN, Some(&self.scope)),
            Refused::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
            _ => (StatusCode::UNAUTHORIZED, Some(&self.invalid)),
        }
    }

    /// The metadata document, where it is served at `path`: below the well-known path for the
    /// path of the resource and for `/mcp`, and at the well-known path itself, where clients look
    /// that know the host alone (MCP, Authorization Server Discovery).
    pub fn metadata(&self, path: &str) -> Option<Bytes> {
        let rest = path.strip_prefix(WELL_KNOWN)?;
        (rest.is_empty() || rest == "/mcp" || path == self.path).then(|| self.metadata.clone())
    }
}

/// URL and path of the metadata of a resource: the well-known part stands between host and path
/// (RFC 9728, 3.1).
fn well_known(resource: &str) -> (String, String) {
    let Ok(url) = Url::parse(resource) else {
        return (WELL_KNOWN.to_owned(), WELL_KNOWN.to_owned());
    };
    let path = format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/'));
    (
        format!("{}{path}", url.origin().ascii_serialization()),
        path,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::KeyTimes;

    fn challenges(resource: &str, scopes: &[&str]) -> Challenges {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Challenges::new(&IdentitySettings {
            resource: resource.to_owned(),
            issuers: Vec::new(),
            secret: None,
            api_keys: None,
            required_scopes: scopes.clone(),
            certificates: Vec::new(),
            supported_scopes: scopes,
            clock_skew: Duration::ZERO,
            times: KeyTimes {
                refresh: Duration::ZERO,
                max_age: Duration::ZERO,
                retry: Duration::ZERO,
                timeout: Duration::ZERO,
            },
            cached_tokens: 1,
        })
    }

    #[test]
    fn challenges_name_metadata_and_scopes_and_no_reason() {
        let all = challenges("https://mcp.example.com/mcp", &["tools:read", "x"]);
        let shown = |why| {
            let (status, header) = all.of(why);
            (
                status.as_u16(),
                header.map(|header| header.to_str().unwrap().to_owned()),
            )
        };
        let rest = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\", scope=\"tools:read x\"";
        assert_eq!(
            shown(Refused::Missing),
            (401, Some(format!("Bearer {rest}")))
        );
        let invalid = (401, Some(format!("Bearer error=\"invalid_token\", {rest}")));
        for why in Refused::ALL {
            match why {
                Refused::Missing | Refused::Several | Refused::Scope | Refused::Unavailable => {}
                why => assert_eq!(shown(why), invalid, "{why}"),
            }
        }
        let scope = format!("Bearer error=\"insufficient_scope\", {rest}");
        assert_eq!(shown(Refused::Scope), (403, Some(scope)));
    }

    #[test]
    fn metadata_is_where_clients_look() {
        let all = challenges("https://example.com/tools/mcp", &[]);
        for path in ["", "/mcp", "/tools/mcp"] {
            assert!(all.metadata(&format!("{WELL_KNOWN}{path}")).is_some());
        }
        for path in ["/x", "/mcp/", "x"] {
            assert!(all.metadata(&format!("{WELL_KNOWN}{path}")).is_none());
        }
        assert!(all.metadata("/mcp").is_none());
        let root = challenges("https://example.com", &[]);
        let (_, header) = root.of(Refused::Missing);
        assert_eq!(
            header.unwrap(),
            "Bearer resource_metadata=\"https://example.com/.well-known/oauth-protected-resource\""
        );
    }
}
