use http::Uri;
use serde::Deserialize;
use url::Url;

use super::fetch::{FetchError, Fetcher};

/// Why the keys of an issuer were not found.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiscoveryError {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("its metadata can't be read")]
    Form,
    #[error("its metadata is of another issuer")]
    Issuer,
    #[error("its metadata names no usable jwks_uri")]
    JwksUri,
    #[error("the issuer is no URL")]
    Url,
}

/// Authorization server metadata (RFC 8414, 2; `OpenID` Connect Discovery, 3), as far as it is
/// looked at.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

/// Asks an issuer where its keys are; of several failures the first that is about the issuer.
pub(super) async fn jwks_uri(fetcher: &Fetcher, issuer: &str) -> Result<Uri, DiscoveryError> {
    let mut why = None;
    for place in places(issuer).ok_or(DiscoveryError::Url)? {
        match ask(fetcher, issuer, &place).await {
            Ok(uri) => return Ok(uri),
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

async fn ask(fetcher: &Fetcher, issuer: &str, place: &Uri) -> Result<Uri, DiscoveryError> {
    let bytes = fetcher.get(place).await?;
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|_| DiscoveryError::Form)?;
    // RFC 8414, 3.3: identical, or the data must not be used.
    if metadata.issuer != issuer {
        return Err(DiscoveryError::Issuer);
    }
    let uri: Uri = metadata
        .jwks_uri
        .and_then(|uri| uri.parse().ok())
        .ok_or(DiscoveryError::JwksUri)?;
    // Keys must not come over a worse connection than the metadata.
    let worse = place.scheme_str() == Some("https") && uri.scheme_str() != Some("https");
    if worse || uri.host().is_none() {
        return Err(DiscoveryError::JwksUri);
    }
    Ok(uri)
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
