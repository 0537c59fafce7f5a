//! The admin API on its listener.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper_util::service::TowerToHyperService;
use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{AdminSection, Config};
use mcp_ultra_control::{
    answers::{Forget, KeptAnswers},
    api::{
        self, Api,
        rule::{InForce, Rule},
    },
    blocks::Blocks,
    breakers::{BreakerView, Breakers, DEPENDENCY, Force},
    grants::{Grants, LinkError, Links, MadeLink, Revoked, Withdraw},
    keys::Keys,
    pins::Pins,
    registry::{Registry, Running},
    sessions::{ClientSessions, SessionView},
    time::timestamp,
};
use mcp_ultra_domain::{
    Announcement, Clock, Grant, Principal,
    breaker::{Forced, Status},
    holder,
    policy::Policies,
    ports::{Announcements, IdempotencyStore},
};
use mcp_ultra_edge::{identity::Identity, listener::Listener, shutdown::Shutdown, tls::ServerTls};
use mcp_ultra_gateway::{Gateway, Revocation};

use super::{ServeError, listener_config, registry::Link};

/// How long it is known what was asked under an idempotency key.
const REMEMBERED: Duration = Duration::from_hours(24);
/// How often what is older is forgotten.
const FORGET: Duration = Duration::from_hours(1);

/// What is around the gateway that is administered.
pub(super) struct Around {
    /// The other gateways.
    pub(super) announcements: Arc<dyn Announcements>,
    /// The registry, where there is one.
    pub(super) registry: Option<Arc<Link>>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
}

/// The admin API, bound.
pub(super) struct Admin {
    listener: Listener,
    url: String,
    api: Api,
}

impl Admin {
    /// Binds its address; `None` where no port is configured, or there is nothing to know callers
    /// by or to keep things in (which the configuration's checks refuse).
    pub(super) fn bind(
        config: &Config,
        gateway: &Arc<Gateway>,
        identity: Option<&Arc<Identity>>,
        storage: Option<&Database>,
        tls: Option<&Arc<ServerTls>>,
        around: Around,
    ) -> Result<Option<Self>, ServeError> {
        let Around {
            announcements,
            registry,
            clock,
        } = around;
        let admin = &config.admin;
        let (Some(port), Some(identity), Some(storage)) = (admin.port, identity, storage) else {
            return Ok(None);
        };
        let address = SocketAddr::new(admin.host, port);
        let mut listener = Listener::bind(listener_config(address, &config.limits))
            .map_err(|source| ServeError::Bind { address, source })?;
        // Certificates are not for loopback addresses, and nobody listens in on those.
        let tls = tls.filter(|_| !admin.host.is_loopback());
        if let Some(tls) = tls {
            listener = listener.with_tls(tls.clone());
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let bound = format!("{scheme}://{}", listener.local_addr());
        let known = identity.clone();
        let others = announcements.clone();
        let changed = move |id: &str| {
            known.forget_api_key(id);
            others.announce(Announcement::KeyChanged { id: id.to_owned() });
        };
        let keys = Keys::new(Arc::new(storage.clone()), clock.clone(), Arc::new(changed));
        let (locked, approved) = (gateway.clone(), gateway.clone());
        let others = announcements.clone();
        let pins = Pins::new(
            Arc::new(storage.clone()),
            clock.clone(),
            Arc::new(move || locked.lock_file().is_some()),
            Arc::new(move || {
                approved.pins_changed();
                others.announce(Announcement::PinsChanged);
            }),
        );
        let api = Api {
            identity: identity.clone(),
            rule: Rule::new(in_force(gateway, admin)?, clock.clone()),
            url: admin.url.as_deref().unwrap_or(&bound).into(),
            keys,
            grants: Grants::new(
                Arc::new(storage.clone()),
                Arc::new(Ended(gateway.clone(), announcements.clone())),
            ),
            links: Arc::new(Connecting(gateway.clone())),
            pins,
            registry: Registry::new(
                registry.map(|link| (link.store(), link as Arc<dyn Running>)),
                clock.clone(),
            ),
            sessions: Arc::new(Callers(gateway.clone(), announcements.clone())),
            answers: Arc::new(Kept(gateway.clone())),
            breakers: Arc::new(OfServers(gateway.clone())),
            blocks: Blocks::new(Arc::new(storage.clone()), clock.clone()),
            idempotency: Arc::new(storage.clone()),
            clock,
        };
        Ok(Some(Self {
            listener,
            url: bound,
            api,
        }))
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        self.url.clone()
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

/// Ends what the gateway, and others, have of a grant that was withdrawn.
struct Ended(Arc<Gateway>, Arc<dyn Announcements>);

#[async_trait]
impl Withdraw for Ended {
    async fn withdraw(&self, grant: &Grant) -> Revoked {
        // First: the authorization server may take a while.
        self.1.announce(Announcement::GrantWithdrawn {
            server: grant.server.clone(),
            holder: holder(&grant.principal),
        });
        match self.0.end_grant(grant).await {
            Revocation::Done => Revoked::Yes,
            Revocation::NotOffered => Revoked::NotOffered,
            Revocation::Failed => Revoked::Failed,
        }
    }
}

/// Makes links of the gateway.
struct Connecting(Arc<Gateway>);

impl Links for Connecting {
    fn lifetime(&self) -> Duration {
        Gateway::LINK_LIFETIME
    }

    fn new_id(&self) -> String {
        Gateway::new_link_id()
    }

    fn check(&self, principal: &Principal, server: &str) -> Result<(), LinkError> {
        let checked = self.0.check_connect_link(principal, server);
        let checked = checked.ok_or_else(|| LinkError::Server(server.to_owned()))?;
        checked.map_err(|why| LinkError::Person(why.to_string()))
    }

    fn link(
        &self,
        principal: &Principal,
        server: &str,
        id: &str,
        ends: Duration,
    ) -> Result<MadeLink, LinkError> {
        let made = self.0.connect_link(principal, server, (id, ends));
        let made = made.ok_or_else(|| LinkError::Server(server.to_owned()))?;
        made.map(|link| MadeLink {
            url: link.url,
            reference: link.reference,
        })
        .map_err(|why| LinkError::Person(why.to_string()))
    }
}

/// What callers have open at the gateway, and who tells others of blocks.
struct Callers(Arc<Gateway>, Arc<dyn Announcements>);

#[async_trait]
impl ClientSessions for Callers {
    fn list(&self, tenant: &str) -> Vec<SessionView> {
        let all = self.0.client_sessions(tenant).into_iter();
        all.map(|one| {
            let caller = one.principal.attributes();
            let kind = one.version.map_or("stream", |_| "session");
            SessionView {
                id: one.id,
                kind: kind.to_owned(),
                tenant: caller.tenant.to_string(),
                issuer: caller.issuer.clone(),
                subject: caller.subject.clone(),
                version: one.version.map(str::to_owned),
                since: timestamp(one.since),
                last_used: one.used.map(timestamp),
            }
        })
        .collect()
    }

    async fn blocks_changed(&self) {
        self.1.announce(Announcement::BlocksChanged);
        self.0.enforce_blocks().await;
    }

    async fn end(&self, tenant: &str, id: &str) -> bool {
        self.0.end_client_session(tenant, id).await
    }
}

/// The answers that the gateway keeps.
struct Kept(Arc<Gateway>);

impl KeptAnswers for Kept {
    fn forget(&self, what: &Forget) -> Option<usize> {
        self.0.forget(&of_gateway(what))
    }

    fn count(&self, what: &Forget) -> Option<usize> {
        self.0.count_kept(&of_gateway(what))
    }
}

fn of_gateway(what: &Forget) -> mcp_ultra_gateway::Forget<'_> {
    mcp_ultra_gateway::Forget {
        tenant: &what.tenant,
        server: what.server.as_deref(),
        whose: what.whose.as_ref().map(|whose| mcp_ultra_gateway::Whose {
            issuer: &whose.issuer,
            subject: &whose.subject,
        }),
    }
}

/// The circuit breakers of the gateway.
struct OfServers(Arc<Gateway>);

impl Breakers for OfServers {
    fn list(&self) -> Vec<BreakerView> {
        let servers = self.0.breakers().into_iter();
        let servers =
            servers.map(|(server, status, wait)| shown(server.to_string(), &status, wait));
        let others = self.0.dependencies().into_iter();
        let others =
            others.map(|(name, status, wait)| shown(format!("{DEPENDENCY}{name}"), &status, wait));
        let mut all: Vec<BreakerView> = servers.chain(others).collect();
        all.sort_by(|one, other| one.server.cmp(&other.server));
        all
    }

    fn force(&self, server: &str, force: Option<Force>) -> bool {
        let forced = force.map(|force| match force {
            Force::Open => Forced::Open,
            Force::Closed => Forced::Closed,
        });
        match server.strip_prefix(DEPENDENCY) {
            Some(dependency) => self.0.force_dependency(dependency, forced),
            None => self.0.force_breaker(server, forced),
        }
    }
}

fn shown(server: String, status: &Status, retry_after: Option<u64>) -> BreakerView {
    BreakerView {
        server,
        state: status.state.as_str().to_owned(),
        forced: status.forced.map(|forced| match forced {
            Forced::Open => Force::Open,
            Forced::Closed => Force::Closed,
        }),
        retry_after,
        calls: status.tally.calls,
        failed: status.tally.failed,
        slow: status.tally.slow,
        opened: status.opened,
    }
}

/// The policies of the gateway, as they are at that moment; the built-in ones where it has none.
fn in_force(gateway: &Arc<Gateway>, admin: &AdminSection) -> Result<InForce, ServeError> {
    let built_in = Policies::built_in(&admin.operator_role, &admin.tenant_admin_role)?;
    let (built_in, gateway) = (Arc::new(built_in), gateway.clone());
    Ok(Arc::new(move || {
        gateway.policies().unwrap_or_else(|| built_in.clone())
    }))
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
