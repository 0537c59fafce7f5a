//! The admin API on its listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::service::TowerToHyperService;
use mcp_ultra_backends::sql::Sqlite;
use mcp_ultra_config::{AdminSection, LimitsSection};
use mcp_ultra_control::{
    api::{self, Api, rule::Roles},
    keys::Keys,
    pins::Pins,
};
use mcp_ultra_domain::{Clock, ports::IdempotencyStore};
use mcp_ultra_edge::{identity::Identity, listener::Listener, shutdown::Shutdown, tls::ServerTls};
use mcp_ultra_gateway::Gateway;

use super::{ServeError, listener_config};

/// How long it is known what was asked under an idempotency key.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How often what is older is forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// The admin API, bound.
pub(super) struct Admin {
    listener: Listener,
    scheme: &'static str,
    api: Api,
}

impl Admin {
    /// Binds its address; `None` where no port is configured, or there is nothing to know callers
    /// by or to keep things in (which the configuration's checks refuse).
    pub(super) fn bind(
        admin: &AdminSection,
        limits: &LimitsSection,
        gateway: &Arc<Gateway>,
        identity: Option<&Arc<Identity>>,
        storage: Option<&Sqlite>,
        tls: Option<&Arc<ServerTls>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, ServeError> {
        let (Some(port), Some(identity), Some(storage)) = (admin.port, identity, storage) else {
            return Ok(None);
        };
        let address = SocketAddr::new(admin.host, port);
        let mut listener = Listener::bind(listener_config(address, limits))
            .map_err(|source| ServeError::Bind { address, source })?;
        // Certificates are not for loopback addresses, and nobody listens in on those.
        let tls = tls.filter(|_| !admin.host.is_loopback());
        if let Some(tls) = tls {
            listener = listener.with_tls(tls.clone());
        }
        let known = identity.clone();
        let changed = move |id: &str| known.forget_api_key(id);
        let keys = Keys::new(Arc::new(storage.clone()), clock.clone(), Arc::new(changed));
        let (locked, approved) = (gateway.clone(), gateway.clone());
        let pins = Pins::new(
            Arc::new(storage.clone()),
            clock.clone(),
            Arc::new(move || locked.lock_file().is_some()),
            Arc::new(move || approved.pins_changed()),
        );
        let rule = Roles {
            operator: admin.operator_role.clone(),
            tenant_admin: admin.tenant_admin_role.clone(),
        };
        let api = Api {
            identity: identity.clone(),
            rule: Arc::new(rule),
            keys,
            pins,
            idempotency: Arc::new(storage.clone()),
            clock,
        };
        Ok(Some(Self {
            listener,
            scheme: if tls.is_some() { "https" } else { "http" },
            api,
        }))
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.listener.local_addr())
    }

    /// Serves until `shutdown`.
    pub(super) async fn serve(self, shutdown: Shutdown) {
        let forgetting = forget(self.api.idempotency.clone(), self.api.clock.clone());
        let service = TowerToHyperService::new(api::router(self.api));
        tokio::select! {
            () = self.listener.serve(service, shutdown, None) => {}
            () = forgetting => {}
        }
    }
}

async fn forget(store: Arc<dyn IdempotencyStore>, clock: Arc<dyn Clock>) {
    loop {
        let before = clock.now().saturating_sub(REMEMBERED);
        if let Err(error) = store.expire(before).await {
            tracing::warn!(%error, "old idempotency keys can't be forgotten");
        }
        tokio::time::sleep(FORGET).await;
    }
}
