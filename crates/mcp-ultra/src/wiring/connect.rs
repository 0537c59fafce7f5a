//! From the sections `connect` and `storage` to what people connect servers with.

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{ClientAuthMethod, Config};
use mcp_ultra_domain::Clock;
use mcp_ultra_edge::{
    credentials::{ClientAuth, ClientSettings, EndpointPlace, TokenEndpoint},
    outbound::{Outbound, OutboundConfig},
};
use mcp_ultra_gateway::ConnectParts;

use super::{ServeError, shared::Shared};

/// How many links and steps are remembered until they end, ten minutes later.
const MOST_USED: usize = 100_000;

/// What people connect servers with, where that is configured.
pub(super) fn parts(
    config: &Config,
    outbound: OutboundConfig,
    storage: Option<&Database>,
    shared: &Shared,
    clock: &Arc<impl Clock + 'static>,
) -> Result<Option<ConnectParts>, ServeError> {
    let section = &config.connect;
    let (Some(base), Some(storage)) = (section.base(config.auth.resource.as_deref()), storage)
    else {
        return Ok(None);
    };
    if section.logins.is_empty() || config.storage.keys.is_empty() {
        return Ok(None);
    }
    let outbound = Outbound::new(&OutboundConfig {
        extra_ca_file: config.auth.ca_file.as_ref().map(PathBuf::from),
        pool_max_idle_per_host: 1,
        ..outbound
    })
    .map_err(ServeError::Issuers)?;
    let login = |login: &mcp_ultra_config::Login| {
        let settings = ClientSettings {
            place: EndpointPlace::Issuer(login.issuer.clone()),
            id: login.client_id.clone(),
            secret: Some(login.client_secret.expose().into()),
            auth: match login.client_auth {
                ClientAuthMethod::Basic => ClientAuth::Basic,
                ClientAuthMethod::Post => ClientAuth::Post,
            },
            timeout: login.timeout.get(),
        };
        TokenEndpoint::new(settings, outbound.clone(), clock.clone())
    };
    let keys = config.storage.keys.iter();
    Ok(Some(ConnectParts {
        base,
        logins: section.logins.iter().map(login).collect(),
        grants: Arc::new(storage.clone()),
        used: shared.used("link", MOST_USED),
        keys: keys
            .map(|key| (key.number(), key.secret.expose().as_bytes().to_vec()))
            .collect(),
    }))
}
