//! The data plane as a whole: what it holds, its start and its end, and what it tells others.
//!
//! - `settings`: what a running call reads from the configuration
//! - `reload`: a new configuration in flight
//! - `sealing`: the keys that seal what clients carry

mod reload;
mod sealing;
mod settings;

use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytestring::ByteString;
use mcp_ultra_config::Config;
use mcp_ultra_domain::{
    Clock, Grant, Principal,
    catalog::{Kind, Offer, State},
    pinning::{LockFile, Mode},
    policy::{Decision, Failure, Policies, PolicyName},
    ports::{LimitStore, PinStore, SecretStates, SessionStore},
};
use mcp_ultra_edge::{identity::Identity, listener::ListenerMetrics, outbound::Outbound};
use mcp_ultra_protocol::{
    Era, Notification,
    json::Object,
    seal::{KeyError, Sealer},
};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Metrics,
    catalog::{Board, Keepers},
    connect::{Connect, ConnectParts, Link, Revocation},
    era::{self, park::Parking},
    http::StreamSlots,
    limits::{CallPlaces, Exceeded},
    listen::{self, Change},
    pinning::Pinning,
    pipeline::Refusal,
    session::{Live, Registry, VALID_FOR},
    snapshot::Snapshot,
    upstream::{SettingsError, Upstream},
};

use self::sealing::sealer;
pub(crate) use self::settings::Settings;

/// How many changes a slow stream may be behind before it is told that everything may have
/// changed.
const CHANGES: usize = 256;
/// How long readiness waits for upstreams that have not answered yet.
const WARM_TIME: Duration = Duration::from_secs(5);
/// How often idle sessions and processes are looked for, and lost ones.
const SWEEP: Duration = Duration::from_secs(10);

/// How often it is looked whether tools were approved by another process.
const APPROVALS: Duration = Duration::from_secs(2);

/// The data plane.
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    settings: ArcSwap<Settings>,
    /// What runs, as it was configured.
    config: Mutex<Config>,
    outbound: Outbound,
    board: Board,
    warm: watch::Sender<bool>,
    draining: CancellationToken,
    pub(crate) keepers: Keepers,
    pub(crate) pinning: Pinning,
    /// Without it nobody is asked who they are.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Who everyone is then.
    pub(crate) anonymous: Principal,
    pub(crate) sealer: Sealer,
    /// Where people can connect servers to their accounts.
    pub(crate) connect: Option<Arc<Connect>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) limits: Arc<dyn LimitStore>,
    secrets: Arc<dyn SecretStates>,
    pub(crate) sessions: Registry,
    pub(crate) parking: Parking,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) streams: StreamSlots,
    pub(crate) calls: CallPlaces,
    pub(crate) metrics: Arc<Metrics>,
    /// Policies that could not be evaluated, so that each is told of once.
    failed_policies: Mutex<HashSet<PolicyName>>,
}

/// What a gateway is made of.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// The HTTP client towards upstreams.
    pub outbound: Outbound,
    /// Who callers are, where they are asked.
    pub identity: Option<Arc<Identity>>,
    /// How people connect servers to their accounts, where they can.
    pub connect: Option<ConnectParts>,
    /// What callers may do; without it, everything.
    pub policies: Option<Arc<Policies>>,
    /// The lock file of tools, where there is one.
    pub lock: Option<Arc<LockFile>>,
    /// Where is kept which definitions of tools were agreed to.
    pub pins: Arc<dyn PinStore>,
    /// Where session state is kept.
    pub store: Arc<dyn SessionStore>,
    /// Where is kept what counts against limits.
    pub limits: Arc<dyn LimitStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How the secrets of the configuration are doing, for the metrics.
    pub secrets: Arc<dyn SecretStates>,
    /// What the listener counts, for the metrics.
    pub listener: Arc<ListenerMetrics>,
}

/// Why a gateway can't be made or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A server section that can't be used.
    #[error(transparent)]
    Server(#[from] SettingsError),
    /// The sealing keys of `session.keys` can't be used.
    #[error("session.keys: each secret needs at least 16 characters")]
    Keys(#[from] KeyError),
    /// The keys of `storage.keys` can't be used.
    #[error("storage.keys: each secret needs at least 16 characters")]
    GrantKeys(#[source] KeyError),
    /// Two servers with the same prefix.
    #[error("servers \"{0}\" and \"{1}\" have the same prefix, so their names would collide")]
    SamePrefix(String, String),
}

impl Gateway {
    /// A gateway that does nothing until [`Gateway::start`].
    ///
    /// # Errors
    /// [`GatewayError`]
    pub fn new(parts: Parts) -> Result<Arc<Self>, GatewayError> {
        let Parts {
            config,
            outbound,
            identity,
            connect,
            policies,
            lock,
            pins,
            store,
            limits,
            clock,
            secrets,
            listener,
        } = parts;
        let settings = Settings::new(&config, lock);
        let calls = usize::try_from(config.limits.calls.get()).unwrap_or(usize::MAX);
        let gateway = Arc::new(Self {
            snapshot: ArcSwap::default(),
            board: Board::new(settings.page_size),
            settings: ArcSwap::from_pointee(settings),
            config: Mutex::new(config.clone()),
            sealer: sealer(&config)?,
            connect: connect
                .map(|parts| Connect::new(parts, clock.clone()))
                .transpose()
                .map_err(GatewayError::GrantKeys)?
                .map(Arc::new),
            outbound,
            warm: watch::Sender::new(false),
            draining: CancellationToken::new(),
            keepers: Keepers::default(),
            pinning: Pinning::new(pins, clock.clone()),
            identity,
            anonymous: Principal::anonymous(),
            clock,
            store,
            limits,
            secrets,
            sessions: Registry::default(),
            parking: Parking::default(),
            changes: broadcast::Sender::new(CHANGES),
            streams: StreamSlots::default(),
            calls: CallPlaces::new(calls),
            metrics: Arc::new(Metrics::new(listener)),
            failed_policies: Mutex::default(),
        });
        let upstreams = gateway.upstreams(&config)?;
        gateway.set(upstreams, policies);
        Ok(gateway)
    }

    /// Starts reading the catalog and sweeping up what is idle. Must be called within a Tokio
    /// runtime.
    pub fn start(self: &Arc<Self>) {
        if let Some(identity) = &self.identity {
            identity.warm();
        }
        let snapshot = self.snapshot();
        for upstream in &snapshot.upstreams {
            self.keepers.keep(self, upstream.clone());
        }
        if snapshot.upstreams.is_empty() {
            self.warm.send_replace(true);
        }
        let gateway = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WARM_TIME).await;
            gateway.warm.send_replace(true);
        });
        tokio::spawn(sweep(Arc::downgrade(self), self.draining.clone()));
        tokio::spawn(watch_approvals(Arc::downgrade(self), self.draining.clone()));
    }

    /// Upstreams and policies change together: nobody sees those of one configuration with those of
    /// another.
    fn set(&self, upstreams: Vec<Arc<Upstream>>, policies: Option<Arc<Policies>>) {
        let before = self.snapshot();
        let page_size = self.settings().page_size;
        let revision = |policies: &Option<Arc<Policies>>| {
            policies
                .as_ref()
                .map(|policies| policies.revision().clone())
        };
        let other = revision(&policies) != revision(&before.policies);
        let published = self.board.set(upstreams, page_size, policies, &before);
        self.snapshot.store(published.snapshot);
        if other {
            self.failed_policies.lock().clear();
        }
        // Each stream finds out whether its own list is another one now.
        let told: &[Kind] = if other { &Kind::ALL } else { &[] };
        self.announce(&published.changed, told);
    }

    /// Counts policies that could not be evaluated, and logs each of them once.
    pub(crate) fn tell_of_failures(&self, decision: &Decision) {
        if decision.failures.is_empty() {
            return;
        }
        self.metrics.policy_failures(decision.failures.len());
        for Failure { policy, reason } in &decision.failures {
            if self.failed_policies.lock().insert(policy.clone()) {
                tracing::error!(%policy, %reason, "a policy can't be evaluated, so the call is refused");
            }
        }
    }

    /// Takes over what a keeper has found out; lists in `told` are announced in any case.
    pub(crate) fn publish(
        &self,
        upstream: &Arc<Upstream>,
        found: Result<Offer, String>,
        told: &[Kind],
    ) {
        self.metrics.upstream_up(upstream.name(), found.is_ok());
        let before = self.snapshot();
        if let Some(published) = self.board.report(upstream, found, &before) {
            self.snapshot.store(published.snapshot);
            self.announce(&published.changed, told);
        }
        if self.board.is_settled() {
            self.warm.send_replace(true);
        }
    }

    /// Takes over that another part of what an upstream has is offered.
    pub(crate) fn publish_again(&self, upstream: &Arc<Upstream>, offer: Offer) {
        let before = self.snapshot();
        if let Some(published) = self.board.offer(upstream, offer, &before) {
            self.snapshot.store(published.snapshot);
            self.announce(&published.changed, &[]);
        }
    }

    /// Whether anything is done about the definitions of an upstream's tools.
    pub(crate) fn is_pinned(&self, upstream: &str) -> bool {
        self.settings().pinning.mode(upstream) != Mode::Off
    }

    /// Whether tools of an upstream that are not listed are held back.
    pub(crate) fn holds_back(&self, upstream: &str) -> bool {
        self.settings().pinning.mode(upstream) == Mode::Enforce
    }

    /// Tools were approved: what is offered is found anew.
    pub fn pins_changed(&self) {
        self.keepers.judge_again();
    }

    fn announce(&self, changed: &std::collections::BTreeSet<usize>, told: &[Kind]) {
        for kind in Kind::ALL {
            if changed.contains(&(kind as usize)) || told.contains(&kind) {
                // Nobody may be listening.
                drop(self.changes.send(Change::List(kind)));
            }
        }
    }

    /// Tells the streams of one principal, or of everyone, that a resource was updated.
    pub(crate) fn announce_update(&self, principal: Option<Arc<str>>, update: &Notification) {
        let uri = update
            .params
            .as_deref()
            .and_then(|params| Object::parse(params).ok())
            .and_then(|params| {
                params
                    .get_str("uri")
                    .map(|uri| ByteString::from(uri.into_owned()))
            });
        if let Some(uri) = uri {
            drop(self.changes.send(Change::Resource { principal, uri }));
        }
    }

    /// The view that a call runs under.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Passes a notification of a client on to the upstream sessions of its session.
    pub(crate) fn tell_upstreams(&self, session: &Live, notification: &Notification) {
        let holder = session.holder();
        for upstream in &self.snapshot().upstreams {
            let Some(open) = upstream.open_session(&holder) else {
                continue;
            };
            // A session that all callers share is nobody's to speak for.
            if upstream.settings().shared || open.era() == Era::Modern {
                continue;
            }
            // It counts as a call: a client must not have any number of them under way.
            let now = || self.clock.now();
            let Ok(place) = self.calls.enter(session.principal.tenant(), now) else {
                return;
            };
            let notification = notification.clone();
            tokio::spawn(async move {
                if let Err(error) = open.notify(notification).await {
                    tracing::debug!(%error, "an upstream was not told of changed roots");
                }
                drop(place);
            });
        }
    }

    /// Tells the client of a session that its person has connected a server.
    pub(crate) fn tell_connected(&self, link: &Link) {
        let session = link.session.as_ref().and_then(|id| self.sessions.get(id));
        if let Some(session) = session.filter(|session| link.is_of(&session.principal)) {
            // A client without a stream asks again by itself.
            session.push(era::connect::complete(&link.id).text);
        }
    }

    /// Ends what is left of a grant that was removed: what is in memory of it, and its tokens at the
    /// authorization server.
    pub async fn end_grant(&self, grant: &Grant) -> Revocation {
        let upstream = self.snapshot().upstream(&grant.server).cloned();
        let granted = upstream.as_ref().and_then(|one| one.settings().granted());
        let (Some(connect), Some(credentials)) = (&self.connect, granted) else {
            return Revocation::Failed;
        };
        credentials.forget(&grant.principal);
        let grants = connect.grants(&grant.server);
        grants.revoke(grant, credentials.endpoint()).await
    }

    /// Opens a subscription again that a session had with another process.
    pub(crate) fn subscribe_again(self: &Arc<Self>, session: &Arc<Live>, uri: &str) {
        listen::subscribe_again(self, session, uri);
    }

    /// Whether the warm set has been loaded, or has had its time.
    pub fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    /// Completes when [`Gateway::is_warm`].
    pub async fn warmed(&self) {
        let mut warm = self.warm.subscribe();
        // The sender lives as long as the gateway.
        drop(warm.wait_for(|warm| *warm).await);
    }

    /// How every upstream is doing: name, whether it answers, and why not.
    pub fn upstream_states(&self) -> Vec<(Arc<str>, State)> {
        let snapshot = self.snapshot();
        snapshot
            .catalog
            .sources()
            .iter()
            .map(|s| (s.name.clone(), s.state.clone()))
            .collect()
    }

    /// How many tools, prompts and resources are listed.
    pub fn listed(&self) -> [usize; 3] {
        let snapshot = self.snapshot();
        [Kind::Tool, Kind::Prompt, Kind::Resource].map(|kind| snapshot.catalog.items(kind).len())
    }

    /// The lock file of tools that is in force.
    pub fn lock_file(&self) -> Option<Arc<LockFile>> {
        self.settings().pinning.lock().cloned()
    }

    /// The policies that are in force; `None` where everything is permitted.
    pub fn policies(&self) -> Option<Arc<Policies>> {
        self.snapshot().policies.clone()
    }

    /// The revision of the policies that are in force; `None` where everything is permitted.
    pub fn policy_revision(&self) -> Option<Arc<str>> {
        let snapshot = self.snapshot();
        snapshot
            .policies
            .as_ref()
            .map(|policies| policies.revision().clone())
    }

    /// From here on streams that would never end are ended, with what the client needs to know
    /// that it was on purpose.
    pub fn drain(&self) {
        self.draining.cancel();
        self.sessions.end_streams();
    }

    /// Whether the gateway drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Completes when the gateway drains.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Stops keepers, ends all upstream sessions and processes, and waits until what is being
    /// refreshed of what people have granted is kept.
    pub async fn stop(&self) {
        self.draining.cancel();
        self.keepers.stop();
        let snapshot = self.snapshot();
        let closing = snapshot
            .upstreams
            .iter()
            .map(|upstream| upstream.close_all());
        futures_util::future::join_all(closing).await;
        // Last: sessions are ended with tokens, which may have to be refreshed for that.
        if let Some(connect) = &self.connect {
            connect.finish().await;
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn gauge(&self) {
        let snapshot = self.snapshot();
        self.metrics.gauges(&crate::metrics::Gauges {
            sessions: self.sessions.len(),
            streams: self.streams.open(),
            parked: self.parking.len(),
            tracked: self.limits.tracked(),
            listed: Kind::ALL.map(|kind| (kind.list_key(), snapshot.catalog.items(kind).len())),
            secrets: self.secrets.states(),
            pins: self.pinning.tallies(),
            upstreams: snapshot
                .upstreams
                .iter()
                .map(|upstream| (upstream.name().to_string(), upstream.sessions()))
                .collect(),
        });
    }

    /// Counts a refusal.
    pub(crate) fn count_limited(&self, exceeded: &Exceeded) {
        self.metrics.limited(exceeded.bound, exceeded.scope);
        tracing::debug!(
            limit = exceeded.bound.as_str(),
            of = exceeded.scope.as_str(),
            "a request is refused"
        );
    }

    /// The refusal of a request by a limit, counted.
    pub(crate) fn refused_by_limit(&self, exceeded: Exceeded) -> Refusal {
        self.count_limited(&exceeded);
        exceeded.into()
    }

    /// Whether `address` is a reverse proxy of `server.trusted_proxies`, whose connections carry the
    /// requests of many clients.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let settings = self.settings();
        let mut proxies = settings.trusted_proxies.iter();
        proxies.any(|network| network.contains(address))
    }

    /// Whether `address` may open another stream.
    pub(crate) fn may_stream(&self, address: IpAddr) -> Option<crate::http::StreamSlot> {
        self.streams
            .enter(Some(address), self.settings().max_streams_per_client)
    }
}

/// Looks for what is idle, and for sessions that upstreams have lost and somebody still needs,
/// until the gateway is gone.
async fn sweep(gateway: std::sync::Weak<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        let idle = gateway.settings().session_idle;
        let sessions = gateway.sessions.sweep(&gateway, idle).await;
        let mut closed = 0;
        for upstream in &gateway.snapshot().upstreams {
            closed += upstream.close_idle().await;
            upstream.forget_ended_tokens();
            let missed = upstream.missed();
            if !missed.is_empty() {
                let (upstream, stop) = (upstream.clone(), stop.clone());
                tokio::spawn(
                    async move { stop.run_until_cancelled(upstream.restore(&missed)).await },
                );
            }
        }
        if sessions + closed > 0 {
            tracing::debug!(
                sessions,
                upstream_sessions = closed,
                "idle sessions have been ended"
            );
        }
        let before = gateway.clock.now().saturating_sub(VALID_FOR);
        if let Err(error) = gateway.store.expire(before).await {
            tracing::warn!(%error, "old tombstones of sessions could not be removed");
        }
    }
}

/// Looks whether tools were approved by another process, until the gateway is gone.
async fn watch_approvals(gateway: std::sync::Weak<Gateway>, stop: CancellationToken) {
    let mut known = None;
    loop {
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        if let Some(now) = gateway.pinning.approvals().await {
            if known.is_some_and(|known| known != now) {
                gateway.pins_changed();
            }
            known = Some(now);
        }
        drop(gateway);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(APPROVALS) => {}
        }
    }
}
