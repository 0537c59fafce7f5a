use http::Uri;
use serde::Deserialize;
use url::Url;

use super::fetch::{FetchError, Fetcher};

/// Why an issuer's endpoint was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("its metadata can't be read")]
    Form,
    #[error("its metadata is of another issuer")]
    Issuer,
    #[error("its metadata names no usable {0}")]
    Endpoint(&'static str),
    #[error("the issuer is no URL")]
    Url,
}

/// Authorization server metadata (RFC 8414, 2; `OpenID` Connect Discovery, 3), as far as it is
/// looked at.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: Option<String>,
    token_endpoint: Option<String>,
    authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    subject_types_supported: Vec<String>,
}

/// What an issuer says of itself, as far as it may be used.
pub(crate) struct Metadata {
    /// Where its keys are.
    pub(crate) jwks_uri: Option<Uri>,
    /// Where it issues tokens.
    pub(crate) token_endpoint: Option<Uri>,
    /// Where people are asked.
    pub(crate) authorization_endpoint: Option<Uri>,
    /// Where it ends tokens (RFC 7009).
    pub(crate) revocation_endpoint: Option<Uri>,
    /// Whether it knows PKCE with S256 (RFC 7636).
    pub(crate) proves_codes: bool,
    /// Whether its answers always say whose they are (RFC 9207).
    pub(crate) says_issuer: bool,
    /// Whether it calls everyone by another name towards each client, and offers nothing else
    /// (`OpenID` Connect Core, 8.1).
    pub(crate) is_pairwise: bool,
}

/// Asks an issuer where its keys are.
pub(crate) async fn jwks_uri(fetcher: &Fetcher, issuer: &str) -> Result<Uri, DiscoveryError> {
    find(fetcher, issuer, "jwks_uri", |metadata| metadata.jwks_uri).await
}

/// Asks an issuer where it issues tokens.
pub(crate) async fn token_endpoint(fetcher: &Fetcher, issuer: &str) -> Result<Uri, DiscoveryError> {
    find(fetcher, issuer, "token_endpoint", |metadata| {
        metadata.token_endpoint
    })
    .await
}

/// What `wanted` takes of the issuer's metadata, of which `name` says what it is. Of several
/// failures the first that is about the issuer.
pub(crate) async fn find<T>(
    fetcher: &Fetcher,
    issuer: &str,
    name: &'static str,
    wanted: impl Fn(Metadata) -> Option<T>,
) -> Result<T, DiscoveryError> {
    let mut why = None;
    for place in places(issuer).ok_or(DiscoveryError::Url)? {
        let found = ask(fetcher, issuer, &place).await;
        let found =
            found.and_then(|metadata| wanted(metadata).ok_or(DiscoveryError::Endpoint(name)));
        match found {
            Ok(found) => return Ok(found),
            Err(error) => {
                let missing = matches!(error, DiscoveryError::Fetch(FetchError::Status(_)));
                if why.is_none() || !missing {
                    why = Some(error);
                }
            }
        }
    }
    Err(why.unwrap_or(DiscoveryError::Url))
}

async fn ask(fetcher: &Fetcher, issuer: &str, place: &Uri) -> Result<Metadata, DiscoveryError> {
    let bytes = fetcher.get(place).await?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|_| DiscoveryError::Form)?;
    // RFC 8414, 3.3: identical, or the data must not be used.
    if document.issuer != issuer {
        return Err(DiscoveryError::Issuer);
    }
    // Nothing may go over a worse connection than the metadata came over.
    let usable = |uri: Option<String>| {
        let uri: Uri = uri?.parse().ok()?;
        let worse = place.scheme_str() == Some("https") && uri.scheme_str() != Some("https");
        (!worse && uri.host().is_some()).then_some(uri)
    };
    Ok(Metadata {
        jwks_uri: usable(document.jwks_uri),
        token_endpoint: usable(document.token_endpoint),
        authorization_endpoint: usable(document.authorization_endpoint),
        revocation_endpoint: usable(document.revocation_endpoint),
        proves_codes: {
            let methods = &document.code_challenge_methods_supported;
            methods.iter().any(|method| method == "S256")
        },
        says_issuer: document.authorization_response_iss_parameter_supported,
        is_pairwise: {
            let types = &document.subject_types_supported;
            !types.is_empty() && types.iter().all(|one| one == "pairwise")
        },
    })
}

/// Where the metadata of an issuer may be: the well-known part between host and path (RFC 8414,
/// 3.1), and after the path (`OpenID` Connect Discovery, 4), in the order that MCP asks for.
fn places(issuer: &str) -> Option<Vec<Uri>> {
    const OAUTH: &str = "/.well-known/oauth-authorization-server";
    const OPENID: &str = "/.well-known/openid-configuration";
    let url = Url::parse(issuer).ok()?;
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    let texts = if path.is_empty() {
        vec![format!("{origin}{OAUTH}"), format!("{origin}{OPENID}")]
    } else {
        vec![
            format!("{origin}{OAUTH}{path}"),
            format!("{origin}{OPENID}{path}"),
            format!("{origin}{path}{OPENID}"),
            format!("{origin}{path}{OAUTH}"),
        ]
    };
    texts.into_iter().map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_tried_in_the_order_of_the_specification() {
        let shown = |issuer| {
            let places = places(issuer).unwrap();
            places.iter().map(Uri::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("https://auth.example.com/tenant1"),
            [
                "https://auth.example.com/.well-known/oauth-authorization-server/tenant1",
                "https://auth.example.com/.well-known/openid-configuration/tenant1",
                "https://auth.example.com/tenant1/.well-known/openid-configuration",
                "https://auth.example.com/tenant1/.well-known/oauth-authorization-server",
            ]
        );
        assert_eq!(
            shown("https://auth.example.com/"),
            [
                "https://auth.example.com/.well-known/oauth-authorization-server",
                "https://auth.example.com/.well-known/openid-configuration",
            ]
        );
        assert!(places("nonsense").is_none());
    }
}
