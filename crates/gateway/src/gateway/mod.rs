//! The data plane as a whole: what it holds, its start and its end.
//!
//! - `announced`: what is done about what other replicas have changed
//! - `breakers`: circuit breakers that replicas share
//! - `publish`: what is taken over from keepers and configurations, and who is told
//! - `observe`: how it is doing, for operators, probes and metrics
//! - `sweep`: what is done again and again
//! - `flags`: what operators are told of feature flags
//! - `link`: links that are made before anybody calls
//! - `parked`: calls that wait for their callers while the gateway ends
//! - `withdraw`: what ends with a grant
//! - `outdated`: what marks answers that are kept as outdated; `forget`: what is to be forgotten of them
//! - `settings`: what a running call reads from the configuration
//! - `reload`: a new configuration in flight
//! - `sealing`: the keys that seal what clients carry

mod announced;
mod breakers;
mod dependencies;
mod flags;
mod forget;
mod link;
mod observe;
mod outdated;
mod parked;
mod publish;
mod reload;
mod sealing;
mod settings;
mod sweep;
mod withdraw;

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use mcp_ultra_config::Config;
use mcp_ultra_domain::{
    Clock, Principal,
    flags::Flags,
    pinning::{LockFile, Mode},
    policy::{Policies, PolicyName},
    ports::{
        Announcements, BreakerBoard, CacheStore, Dependency, LimitStore, PinStore, Rendezvous,
        SecretStates, SessionStore, UpstreamSessionStore,
    },
};
use mcp_ultra_edge::{identity::Identity, listener::ListenerMetrics, outbound::Outbound};
use mcp_ultra_protocol::seal::{KeyError, Sealer};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Metrics,
    access::{self, Rules, Watchers},
    cache::{Cache, Shared},
    catalog::{Board, Keepers},
    connect::{Connect, ConnectParts},
    era::park::Parking,
    http::StreamSlots,
    limits::CallPlaces,
    listen::{self, Change},
    pinning::Pinning,
    replicas::{self, Replicas},
    session::{self, Live, OpenStreams, Registry},
    snapshot::Snapshot,
    upstream::{Ending, SettingsError, Sharing},
    vault::{Kind, Vault},
};

pub(crate) use self::flags::FlagTally;
pub use self::forget::{Forget, Whose};
use self::sealing::{sealer, sealing_secrets};
pub(crate) use self::settings::Settings;

/// How many changes a slow stream may be behind before it is told that everything may have
/// changed.
const CHANGES: usize = 256;
/// How long readiness waits for upstreams that have not answered yet.
const WARM_TIME: Duration = Duration::from_secs(5);
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
    /// Cancelled when there is no time left for people.
    giving_up: CancellationToken,
    /// Cancelled when calls have ended.
    stopping: CancellationToken,
    /// Upstreams that are no longer configured and finish their calls.
    leaving: TaskTracker,
    pub(crate) keepers: Keepers,
    pub(crate) pinning: Pinning,
    /// Answers that may be given again.
    pub(crate) cache: Cache,
    /// Without it nobody is asked who they are.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Who everyone is then.
    pub(crate) anonymous: Principal,
    pub(crate) sealer: Arc<Sealer>,
    /// Where people can connect servers to their accounts.
    pub(crate) connect: Option<Arc<Connect>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) limits: Arc<dyn LimitStore>,
    secrets: Arc<dyn SecretStates>,
    announcements: Arc<dyn Announcements>,
    /// What it needs besides its upstreams.
    dependencies: dependencies::Dependencies,
    /// Where others say how their circuit breakers are.
    shared_breakers: Option<breakers::Shared>,
    /// How sessions with servers are shared with other replicas, where they are.
    sharing: Option<Arc<Sharing>>,
    /// The other replicas, where there may be any.
    pub(crate) replicas: Option<Arc<Replicas>>,
    pub(crate) sessions: Registry,
    pub(crate) open_streams: OpenStreams,
    pub(crate) parking: Parking,
    pub(crate) changes: broadcast::Sender<Change>,
    /// The streams that are told of lists which change with the time alone.
    pub(crate) watchers: Watchers,
    pub(crate) streams: StreamSlots,
    pub(crate) calls: CallPlaces,
    pub(crate) metrics: Arc<Metrics>,
    /// Told when a new configuration was taken over.
    reloaded: Arc<Notify>,
    /// Policies that could not be evaluated, so that each is told of once.
    failed_policies: Mutex<HashSet<PolicyName>>,
    /// The same of kill switches.
    failed_flags: Mutex<HashSet<Arc<str>>>,
    /// Flags whose day is over, so that each is told of once.
    expired_flags: Mutex<BTreeSet<Arc<str>>>,
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
    /// Feature flags, where there are any. The policies read the same.
    pub flags: Option<Arc<Flags>>,
    /// The lock file of tools, where there is one.
    pub lock: Option<Arc<LockFile>>,
    /// Where is kept which definitions of tools were agreed to.
    pub pins: Arc<dyn PinStore>,
    /// Where session state is kept.
    pub store: Arc<dyn SessionStore>,
    /// Where is kept what counts against limits.
    pub limits: Arc<dyn LimitStore>,
    /// Where gateways keep answers for each other, where there are several.
    pub cache: Option<Arc<dyn CacheStore>>,
    /// Where gateways keep their sessions with servers for each other, where there are several.
    pub upstream_sessions: Option<Arc<dyn UpstreamSessionStore>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How the secrets of the configuration are doing, for the metrics.
    pub secrets: Arc<dyn SecretStates>,
    /// What other replicas say has changed in the stores.
    pub announcements: Arc<dyn Announcements>,
    /// Where replicas say how their circuit breakers are, where they share that.
    pub breakers: Option<Arc<dyn BreakerBoard>>,
    /// How other replicas are reached, where there may be any.
    pub rendezvous: Option<Arc<dyn Rendezvous>>,
    /// What the gateway needs besides its upstreams, for the metrics and the admin API.
    pub dependencies: Vec<Arc<dyn Dependency>>,
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

/// What is kept for other gateways is sealed by keys that they have too.
fn shared_cache(config: &Config, store: Option<Arc<dyn CacheStore>>) -> Option<Shared> {
    let vault = Vault::new(Kind::Answers, sealing_secrets(config))?;
    Some(Shared::new(store?, vault, config.cache.memory.as_usize()))
}

/// The same of sessions with servers.
fn sharing(
    config: &Config,
    store: Option<Arc<dyn UpstreamSessionStore>>,
    replicas: Option<Arc<Replicas>>,
) -> Option<Arc<Sharing>> {
    let vault = Vault::new(Kind::Sessions, sealing_secrets(config))?;
    Some(Arc::new(Sharing::new(store?, vault, replicas)))
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
            flags,
            lock,
            pins,
            store,
            limits,
            cache,
            upstream_sessions,
            clock,
            secrets,
            announcements,
            breakers,
            rendezvous,
            dependencies,
            listener,
        } = parts;
        let settings = Settings::new(&config, lock);
        let calls = usize::try_from(config.limits.calls.get()).unwrap_or(usize::MAX);
        let sealer = Arc::new(sealer(&config)?);
        let metrics = Arc::new(Metrics::new(listener));
        let replicas = rendezvous.map(|bus| {
            let (sealer, clock) = (sealer.clone(), clock.clone());
            Arc::new(Replicas::new(bus, sealer, clock, metrics.clone()))
        });
        let gateway = Arc::new(Self {
            snapshot: ArcSwap::default(),
            board: Board::new(settings.page_size),
            settings: ArcSwap::from_pointee(settings),
            config: Mutex::new(config.clone()),
            sealer,
            connect: connect
                .map(|parts| Connect::new(parts, clock.clone()))
                .transpose()
                .map_err(GatewayError::GrantKeys)?
                .map(Arc::new),
            outbound,
            warm: watch::Sender::new(false),
            draining: CancellationToken::new(),
            giving_up: CancellationToken::new(),
            stopping: CancellationToken::new(),
            leaving: TaskTracker::new(),
            keepers: Keepers::default(),
            pinning: Pinning::new(pins, clock.clone()),
            cache: Cache::new(
                &config.cache,
                shared_cache(&config, cache),
                announcements.state().is_some(),
            ),
            identity,
            anonymous: Principal::anonymous(),
            clock,
            store,
            limits,
            secrets,
            announcements,
            dependencies: dependencies::Dependencies::new(dependencies),
            shared_breakers: breakers.map(breakers::Shared::new),
            sharing: sharing(&config, upstream_sessions, replicas.clone()),
            replicas,
            sessions: Registry::default(),
            open_streams: OpenStreams::default(),
            parking: Parking::default(),
            changes: broadcast::Sender::new(CHANGES),
            watchers: Watchers::default(),
            streams: StreamSlots::default(),
            calls: CallPlaces::new(calls),
            metrics,
            reloaded: Arc::default(),
            failed_policies: Mutex::default(),
            failed_flags: Mutex::default(),
            expired_flags: Mutex::default(),
        });
        let names = config.enabled_servers().map(|server| &*server.name);
        gateway.pinning.keep(&names.collect::<Vec<_>>());
        let upstreams = gateway.upstreams(&config)?;
        gateway.set(upstreams, Rules::new(policies, flags));
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
        tokio::spawn(access::follow(Arc::downgrade(self), self.draining.clone()));
        tokio::spawn(sweep::idle(Arc::downgrade(self), self.draining.clone()));
        if self.store.is_reachable().is_some() {
            tokio::spawn(session::follow(Arc::downgrade(self), self.draining.clone()));
        }
        tokio::spawn(sweep::approvals(
            Arc::downgrade(self),
            self.draining.clone(),
        ));
        tokio::spawn(sweep::expired_flags(
            Arc::downgrade(self),
            self.draining.clone(),
        ));
        if self.shared_breakers.is_some() {
            tokio::spawn(breakers::follow(
                Arc::downgrade(self),
                self.draining.clone(),
            ));
        }
        announced::follow(self, &self.draining);
        replicas::receive(self);
        outdated::tell(self, &self.draining);
        tokio::spawn(sweep::blocks(Arc::downgrade(self), self.draining.clone()));
        tokio::spawn(sweep::gone_tools(
            Arc::downgrade(self),
            self.draining.clone(),
        ));
    }

    /// Whether anything is done about the definitions of an upstream's tools.
    pub(crate) fn is_pinned(&self, upstream: &str) -> bool {
        self.settings().pinning.mode(upstream) != Mode::Off
    }

    /// Whether tools of an upstream that are not listed are held back.
    pub(crate) fn holds_back(&self, upstream: &str) -> bool {
        self.settings().pinning.mode(upstream) == Mode::Enforce
    }

    /// The view that a call runs under.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Opens a subscription again that a session had with another process.
    pub(crate) fn subscribe_again(self: &Arc<Self>, session: &Arc<Live>, uri: &str) {
        listen::subscribe_again(self, session, uri);
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

    /// Stops keepers, ends all upstream sessions and processes, but for sessions that other replicas can
    /// go on in, and waits until what is being refreshed of what people have granted is kept.
    pub async fn stop(&self) {
        self.draining.cancel();
        self.stopping.cancel();
        self.keepers.stop();
        let snapshot = self.snapshot();
        let closing = snapshot
            .upstreams
            .iter()
            .map(|upstream| upstream.close_all(Ending::Handed));
        self.leaving.close();
        let closing = futures_util::future::join_all(closing);
        futures_util::future::join(closing, self.leaving.wait()).await;
        // Last: sessions are ended with tokens, which may have to be refreshed for that.
        if let Some(connect) = &self.connect {
            connect.finish().await;
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
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
