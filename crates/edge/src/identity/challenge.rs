use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use url::Url;

use super::{IdentitySettings, LoginRule, Refused, dpop};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What refused clients are told (RFC 6750, 3; RFC 9470, 3; RFC 9728, 5.1), and the metadata of the protected
/// resource (RFC 9728, 2). All of it is made once.
#[derive(Debug)]
pub struct Challenges {
    bearer: Kinds,
    /// Where tokens may be bound to a key (RFC 9449, 7.1).
    dpop: Option<Kinds>,
    /// Whether they must be.
    dpop_only: bool,
    metadata: Bytes,
    /// Where the metadata of a resource with this path is to be found.
    path: String,
}

/// The challenges of one scheme.
#[derive(Debug)]
struct Kinds {
    missing: HeaderValue,
    invalid: HeaderValue,
    several: HeaderValue,
    scope: HeaderValue,
    login: HeaderValue,
    proof: HeaderValue,
}

impl Kinds {
    fn new(scheme: &'static str, login: &LoginRule, rest: &str) -> Self {
        let mut stronger = String::from("error=\"insufficient_user_authentication\", ");
        if !login.acr_values.is_empty() {
            let values = login.acr_values.join(" ");
            let _ = write!(stronger, "acr_values=\"{values}\", ");
        }
        if let Some(max_age) = login.max_age {
            let _ = write!(stronger, "max_age=\"{}\", ", max_age.as_secs());
        }
        let value = |error: &str| {
            let text = format!("{scheme} {error}{rest}");
            // What is configured was checked; a challenge without parameters is one too.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(scheme))
        };
        Self {
            missing: value(""),
            invalid: value("error=\"invalid_token\", "),
            several: value("error=\"invalid_request\", "),
            scope: value("error=\"insufficient_scope\", "),
            login: value(&stronger),
            proof: value("error=\"invalid_dpop_proof\", "),
        }
    }

    fn of(&self, why: Refused) -> Option<&HeaderValue> {
        match why {
            Refused::Missing => Some(&self.missing),
            Refused::Several => Some(&self.several),
            Refused::Scope => Some(&self.scope),
            Refused::Login => Some(&self.login),
            Refused::Unavailable | Refused::ReplayStore => None,
            Refused::Proof | Refused::Replayed => Some(&self.proof),
            _ => Some(&self.invalid),
        }
    }
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
        let bindable = !settings.issuers.is_empty() || settings.secret.is_some();
        if bindable {
            metadata["dpop_signing_alg_values_supported"] = json!(dpop::ALGORITHMS);
            metadata["dpop_bound_access_tokens_required"] = json!(settings.dpop.required);
        }
        let rest = format!("resource_metadata=\"{url}\"{scope}");
        let algorithms = dpop::ALGORITHMS.join(" ");
        Self {
            bearer: Kinds::new("Bearer", &settings.login, &rest),
            dpop: bindable.then(|| {
                let rest = format!("algs=\"{algorithms}\", {rest}");
                Kinds::new("DPoP", &settings.login, &rest)
            }),
            dpop_only: bindable && settings.dpop.required,
            metadata: metadata.to_string().into(),
            path,
        }
    }

    /// Status of a refusal, and `WWW-Authenticate` for the scheme `Bearer`. Every token that is not accepted gets the same: what is wrong with it is nobody's business who does not know
    /// already. Without keys to judge by it is not the token's fault, and there is no challenge.
    fn by_bearer(&self, why: Refused) -> (StatusCode, Option<&HeaderValue>) {
        let status = match why {
            Refused::Several => StatusCode::BAD_REQUEST,
            Refused::Scope => StatusCode::FORBIDDEN,
            Refused::Unavailable | Refused::ReplayStore => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        };
        (status, self.bearer.of(why))
    }

    /// Status and `WWW-Authenticate` of a refusal: one header a scheme, `Bearer` first, which clients look for that know of no other. A proof
    /// that is not accepted is answered for `DPoP` alone, so that the client makes another one.
    pub fn of(&self, why: Refused) -> (StatusCode, impl Iterator<Item = &HeaderValue>) {
        let proof = matches!(why, Refused::Proof | Refused::Replayed);
        let (status, bearer) = self.by_bearer(why);
        let bearer = bearer.filter(|_| !proof && !self.dpop_only);
        let dpop = self.dpop.as_ref().and_then(|kinds| kinds.of(why));
        (status, bearer.into_iter().chain(dpop))
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
    use std::{sync::Arc, time::Duration};

    use mcp_ultra_domain::ports::MemoryReplayStore;

    use super::*;
    use crate::identity::{ClaimPaths, DpopSettings, KeyTimes, SharedSecret};

    fn challenges(resource: &str, scopes: &[&str]) -> Challenges {
        made(resource, scopes, None, false)
    }

    fn made(
        resource: &str,
        scopes: &[&str],
        secret: Option<SharedSecret>,
        required: bool,
    ) -> Challenges {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Challenges::new(&IdentitySettings {
            resource: resource.to_owned(),
            issuers: Vec::new(),
            secret,
            api_keys: None,
            required_scopes: scopes.clone(),
            login: LoginRule {
                acr_values: vec!["gold".to_owned(), "urn:x:2".to_owned()],
                max_age: Some(Duration::from_mins(5)),
            },
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
            dpop: DpopSettings {
                required,
                max_age: Duration::ZERO,
                used: Arc::new(MemoryReplayStore::new(1)),
            },
        })
    }

    #[test]
    fn challenges_name_metadata_and_scopes_and_no_reason() {
        let all = challenges("https://mcp.example.com/mcp", &["tools:read", "x"]);
        let shown = |why| {
            let (status, header) = all.by_bearer(why);
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
                Refused::Missing
                | Refused::Several
                | Refused::Scope
                | Refused::Login
                | Refused::Unavailable
                | Refused::ReplayStore
                | Refused::Proof
                | Refused::Replayed => {}
                why => assert_eq!(shown(why), invalid, "{why}"),
            }
        }
        let scope = format!("Bearer error=\"insufficient_scope\", {rest}");
        assert_eq!(shown(Refused::Scope), (403, Some(scope)));
        let login = format!(
            "Bearer error=\"insufficient_user_authentication\", acr_values=\"gold urn:x:2\", max_age=\"300\", {rest}"
        );
        assert_eq!(shown(Refused::Login), (401, Some(login)));
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
        let (_, header) = root.by_bearer(Refused::Missing);
        assert_eq!(
            header.unwrap(),
            "Bearer resource_metadata=\"https://example.com/.well-known/oauth-protected-resource\""
        );
    }
    #[test]
    fn tokens_that_can_be_bound_are_asked_for_by_their_scheme_too() {
        let resource = "https://example.com/mcp";
        let secret = || {
            Some(SharedSecret {
                secret: Vec::new(),
                issuer: String::new(),
                claims: ClaimPaths::default(),
            })
        };
        let shown = |all: &Challenges, why| {
            let (status, headers) = all.of(why);
            let begin = |header: &HeaderValue| {
                let text = header.to_str().unwrap();
                text.split(", resource_metadata").next().unwrap().to_owned()
            };
            (status.as_u16(), headers.map(begin).collect::<Vec<_>>())
        };
        let algs = "algs=\"ES256 ES384 EdDSA RS256 PS256\"";
        let all = made(resource, &[], secret(), false);
        let invalid = "error=\"invalid_token\"";
        assert_eq!(
            shown(&all, Refused::Bound),
            (
                401,
                vec![
                    format!("Bearer {invalid}"),
                    format!("DPoP {invalid}, {algs}")
                ]
            )
        );
        let proof = vec![format!("DPoP error=\"invalid_dpop_proof\", {algs}")];
        assert_eq!(shown(&all, Refused::Proof), (401, proof.clone()));
        assert_eq!(shown(&all, Refused::Replayed), (401, proof));
        assert_eq!(shown(&all, Refused::ReplayStore), (503, vec![]));
        let document = |all: &Challenges| {
            let bytes = all.metadata(WELL_KNOWN).unwrap();
            serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
        };
        let required = "dpop_bound_access_tokens_required";
        assert_eq!(document(&all)[required], false);
        assert_eq!(
            document(&all)["dpop_signing_alg_values_supported"],
            json!(dpop::ALGORITHMS)
        );
        let only = made(resource, &[], secret(), true);
        assert_eq!(document(&only)[required], true);
        assert_eq!(
            shown(&only, Refused::Missing),
            (401, vec![format!("DPoP {algs}")])
        );
        // Nothing that could be bound.
        let none = made(resource, &[], None, false);
        assert_eq!(shown(&none, Refused::Missing).1.len(), 1);
        assert!(document(&none).get(required).is_none());
    }
}
