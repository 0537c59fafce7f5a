//! What an operator can do about lists that a server does not show.

use mcp_ultra_config::{CatalogCredentials, Upstream as Section};
use mcp_ultra_edge::credentials::CredentialError;

use super::UpstreamError;

const NO_CREDENTIALS: &str =
    "the server asks who reads its lists: configure servers[].headers or servers[].credentials";
const WITHOUT: &str = "the server shows its lists to nobody without an access token, and catalog: none reads them without one, so nothing of it is listed and nobody can be asked to connect it: set servers[].credentials.catalog to client_credentials and let the client have such tokens, or to first_grant where callers grant access in a browser, or have the server show its lists";
const OWN: &str = "the server's lists are read with a token of the gateway's own, which the authorization server does not give or the server does not accept, so nothing of it is listed: allow the client of servers[].credentials the grant client_credentials and let its tokens read lists, or set servers[].credentials.catalog to none where the server shows its lists to everyone";

const NOBODY: &str = "the server's lists are read with what one person has granted, and nobody has connected it: make a link for somebody (`mcp-ultra grant link`)";
const LENT: &str = "the server does not show its lists to the one whose grant they are read with: name in servers[].credentials.catalog_of who may read them, and have that person connect it (`mcp-ultra grant link`), or set catalog to another value";

/// What helps where the lists of a server can't be read because of who asks. Names nothing.
pub(super) fn remedy(section: &Section, error: &UpstreamError) -> Option<&'static str> {
    if *error == UpstreamError::Credentials(CredentialError::NobodyGranted) {
        return Some(NOBODY);
    }
    let refused = matches!(
        error,
        UpstreamError::Status(401 | 403) | UpstreamError::Credentials(CredentialError::Refused)
    );
    let credentials = section.credentials.as_ref();
    refused.then_some(match credentials {
        None => NO_CREDENTIALS,
        Some(own) if own.is_per_caller() && own.catalog == CatalogCredentials::None => WITHOUT,
        Some(own) if own.catalog == CatalogCredentials::FirstGrant => LENT,
        Some(_) => OWN,
    })
}
