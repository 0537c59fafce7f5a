//! From `servers[].credentials` to the access tokens of one upstream.

use std::sync::Arc;

use mcp_ultra_config::{
    CatalogCredentials, CatalogLender, ClientAuthMethod, CredentialsKind, CredentialsSection,
    Upstream as Section, UpstreamUrl,
};
use mcp_ultra_domain::Clock;
use mcp_ultra_edge::{
    credentials::{
        ClientAuth, ClientSettings, CredentialSettings, Credentials, EndpointPlace, Grant, Lenders,
    },
    outbound::Outbound,
};

use crate::{Metrics, connect::Connect};

/// What upstreams are made with.
pub(crate) struct Means<'g> {
    /// The HTTP client.
    pub outbound: &'g Outbound,
    /// The time.
    pub clock: &'g Arc<dyn Clock>,
    /// What is counted.
    pub metrics: &'g Arc<Metrics>,
    /// What people grant, where they can.
    pub connect: Option<&'g Connect>,
}

/// What a running gateway can't be given by a reload.
const NO_CONNECT: &str = "credentials: what people grant needs connect, storage.sqlite and storage.keys, which are read at start; restart the gateway";

/// The tokens that `section` describes, for the server at `url`.
pub(super) fn credentials(
    means: &Means<'_>,
    server: &Section,
    section: &CredentialsSection,
    url: &UpstreamUrl,
) -> Result<Credentials, String> {
    let place = match (&section.token_endpoint, &section.issuer) {
        (Some(endpoint), _) => {
            let uri = endpoint.parse();
            EndpointPlace::Given(
                uri.map_err(|error| format!("credentials.token_endpoint: {error}"))?,
            )
        }
        (None, Some(issuer)) => EndpointPlace::Issuer(issuer.clone()),
        (None, None) => return Err("credentials: neither issuer nor token_endpoint".into()),
    };
    let settings = CredentialSettings {
        client: ClientSettings {
            place,
            id: section.client_id.clone(),
            secret: section
                .client_secret
                .as_ref()
                .map(|secret| secret.expose().into()),
            auth: match section.client_auth {
                ClientAuthMethod::Basic => ClientAuth::Basic,
                ClientAuthMethod::Post => ClientAuth::Post,
            },
            timeout: section.timeout.get(),
        },
        grant: match section.kind {
            CredentialsKind::ClientCredentials => Grant::ClientCredentials,
            CredentialsKind::TokenExchange => Grant::TokenExchange {
                audience: section.audience.clone(),
                requested: section.requested_token_type.clone(),
                issuers: section.subject_issuers.clone(),
                own: section.catalog == CatalogCredentials::ClientCredentials,
            },
            CredentialsKind::AuthorizationCode => Grant::AuthorizationCode {
                granted: Arc::new(means.connect.ok_or(NO_CONNECT)?.grants(&server.name)),
                step_up: section.step_up_scopes.clone(),
                own: section.catalog == CatalogCredentials::ClientCredentials,
                lenders: (section.catalog == CatalogCredentials::FirstGrant)
                    .then(|| lenders(section)),
            },
        },
        scopes: section.scopes.clone(),
        resource: section.resource_of(url),
        url: CredentialsSection::server_uri(url),
    };
    let name: Arc<str> = server.name.as_str().into();
    let told = means.metrics.token_requests(&name);
    Ok(Credentials::new(
        name,
        settings,
        means.outbound.clone(),
        means.clock.clone(),
        told,
    ))
}

fn lenders(section: &CredentialsSection) -> Lenders {
    if section.catalog_of.is_empty() {
        return Lenders::Everybody;
    }
    let person = |person: &CatalogLender| (person.issuer.clone(), person.subject.clone());
    Lenders::These(section.catalog_of.iter().map(person).collect())
}
