//! Puts the gateway together and runs it: the only place that knows every crate.
//!
//! The way in is [`Server::start`]. Logging is in [`log`], the admin API in [`admin`], identity in [`identity`], policies in
//! [`policy`], feature flags in [`flags`], pins of tools in [`pinning`], the database in [`storage`], passwords that change in [`stores`], what replicas share in [`shared`], what they tell each other in [`messaging`], TLS in [`tls`], what a snapshot is made of in [`candidate`], the registry in [`registry`], the configuration in flight in [`reload`], a database that is away at start in [`waiting`], the signals that end it in [`stop`], what is done then in [`drain`], files in [`watch`]; why it can't run is a [`ServeError`].

mod admin;
mod candidate;
mod connect;
mod drain;
mod error;
pub(crate) mod flags;
mod identity;
pub(crate) mod log;
pub(crate) mod messaging;
pub(crate) mod pinning;
pub(crate) mod policy;
pub(crate) mod registry;
mod reload;
pub(crate) mod secrets;
mod shared;
mod stop;
pub(crate) mod storage;
mod stores;
mod tls;
mod waiting;
mod watch;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_ultra_backends::{
    redis::{Redis, limits::Limits},
    sql::Database,
};
use mcp_ultra_config::{Config, LimitsSection, Loaded, Sources};
use mcp_ultra_domain::{
    SystemClock,
    ports::{Dependency, NoSecrets, SecretStates},
    registry::Registry,
};
use mcp_ultra_edge::{
    identity::Identity,
    listener::{Listener, ListenerConfig},
    outbound::{Outbound, OutboundConfig},
    shutdown::Shutdown,
    tls::ServerTls,
    workers::Workers,
};
use mcp_ultra_gateway::{Gateway, Parts, http::Service};

use self::{
    candidate::{Candidate, CandidateError, with_servers},
    messaging::Messaging,
    reload::Origins,
    secrets::Secrets,
    shared::Shared,
    stores::Stores,
};
pub(crate) use self::{error::ServeError, identity::paths as claim_paths, stop::Stop};

/// A gateway that listens.
pub(crate) struct Server {
    gateway: Arc<Gateway>,
    listener: Listener,
    tls: Option<Arc<ServerTls>>,
    workers: Arc<Workers>,
    config: Config,
    ready: Arc<AtomicBool>,
    log: log::Level,
    admin: Option<admin::Admin>,
    identity: Option<Arc<Identity>>,
    storage: Option<Database>,
    messaging: Messaging,
    redis: Option<Redis>,
    leases: Option<Limits>,
    origins: Option<Origins>,
}

impl Server {
    /// Binds the address and makes the gateway of what was loaded from `sources`; without these it
    /// is never read again. Nothing is served yet.
    pub(crate) async fn start(
        loaded: Loaded,
        sources: Option<(Sources, Secrets)>,
        log: log::Level,
    ) -> Result<Self, ServeError> {
        let config = &loaded.config;
        let address = SocketAddr::new(config.server.host, config.server.port);
        let clock = Arc::new(SystemClock);
        let tls = tls::of(config, clock.clone())?;
        let storage = Box::pin(waiting::for_storage(config, tls.as_ref())).await?;
        let mut listener = Listener::bind(listener_config(address, &config.limits))
            .map_err(|source| ServeError::Bind { address, source })?;
        if let Some(tls) = &tls {
            listener = listener.with_tls(tls.clone());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = Workers::start(threads).map_err(ServeError::System)?;
        let to_outside = outbound_config(config, workers.count());
        let outbound = Outbound::new(&to_outside)?;
        let certificates = identity::certificates(&config.auth)?;
        let shared = Shared::start(config).await?;
        let messaging = Messaging::start(&config.messaging)?;
        let mut origins = sources.map(|(sources, secrets)| Origins {
            sources,
            secrets,
            registry: None,
        });
        let (
            Candidate {
                config,
                policies,
                flags,
                lock,
                ..
            },
            registry,
        ) = Box::pin(whole(
            loaded,
            origins.as_mut(),
            storage.as_ref(),
            &messaging,
        ))
        .await?;
        let connect = connect::parts(
            &config,
            to_outside.clone(),
            storage.as_ref(),
            &shared,
            &clock,
        )?;
        let identity = identity::identity(
            &config,
            to_outside,
            certificates,
            clock.clone(),
            storage.as_ref(),
            &shared,
        )
        .map_err(ServeError::Issuers)?
        .map(Arc::new);
        // Before anybody is let in.
        if let Some(identity) = &identity {
            identity.read_blocks().await?;
        }
        let (limits, leases) = shared.limits(&config, clock.clone()).await;
        let gateway = Gateway::new(Parts {
            config: config.clone(),
            outbound,
            identity: identity.clone(),
            connect,
            policies,
            flags,
            lock,
            pins: pinning::store(storage.as_ref()),
            store: shared.sessions(),
            limits,
            cache: shared.answers(),
            upstream_sessions: shared.upstream_sessions(),
            clock: clock.clone(),
            secrets: origins.as_ref().map_or_else(
                || Arc::new(NoSecrets) as Arc<dyn SecretStates>,
                |origins| origins.secrets.store(),
            ),
            announcements: messaging.announcements(),
            breakers: shared.breakers(),
            rendezvous: messaging.rendezvous(),
            dependencies: dependencies(storage.as_ref(), &shared),
            listener: listener.metrics(),
        })?;
        let admin = admin::Admin::bind(
            &config,
            &gateway,
            identity.as_ref(),
            storage.as_ref(),
            tls.as_ref(),
            admin::Around {
                announcements: messaging.announcements(),
                registry,
                clock,
            },
        )?;
        policy::tell_of_admin(&config, gateway.policies().as_deref());
        flags::tell_of_switches(gateway.flags().as_deref(), &config);
        gateway.start();
        let proxies = gateway.clone();
        let listener =
            listener.with_shared(Arc::new(move |address| proxies.is_trusted_proxy(address)));
        Ok(Self {
            gateway,
            listener,
            tls,
            workers: Arc::new(workers),
            config,
            ready: Arc::new(AtomicBool::new(true)),
            log,
            admin,
            identity,
            storage,
            messaging,
            redis: shared.redis(),
            leases,
            origins,
        })
    }

    /// The address of the endpoint.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/mcp", self.listener.local_addr())
    }

    /// Where the admin API is, if there is one.
    pub(crate) fn admin(&self) -> Option<String> {
        self.admin.as_ref().map(admin::Admin::url)
    }

    /// The gateway itself.
    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Serves until `stop` (SIGTERM or SIGINT), then drains: not ready at once, new work still taken for
    /// the drain delay, by what is changed until then too, what is in flight finished within the
    /// deadline. A second signal ends the process at once. What it was loaded from is read again on
    /// SIGHUP and when the file, a secret or the registry changes.
    pub(crate) async fn run(self, mut stop: Stop) -> Result<(), ServeError> {
        let shutdown = Shutdown::new();
        let ready = self.ready.clone();
        let is_ready: Arc<dyn Fn() -> bool + Send + Sync> =
            Arc::new(move || ready.load(Ordering::Relaxed));
        let service = Service::new(self.gateway.clone(), is_ready);
        let serving = self
            .listener
            .serve(service, shutdown.clone(), Some(self.workers.clone()));
        let serving = tokio::spawn(serving);
        let administering = self
            .admin
            .map(|admin| tokio::spawn(admin.serve(shutdown.clone())));
        let reloading = self.origins.map(|origins| {
            let (config, gateway) = (self.config.clone(), self.gateway.clone());
            let stores = Stores {
                database: self.storage.clone(),
                redis: self.redis,
                nats: self.messaging.nats(),
            };
            let task = reload::run(origins, config, gateway, stores, self.log);
            tokio::spawn(task)
        });

        let fresh = self
            .tls
            .clone()
            .map(|tls| tokio::spawn(tls::keep_fresh(tls)));

        let signal = stop.wait().await;
        let delay = self.config.drain_delay().get();
        let deadline = self.config.server.shutdown.drain_deadline.get();
        tracing::info!(
            signal,
            delay_s = delay.as_secs(),
            deadline_s = deadline.as_secs(),
            "stopping: calls in flight are finished"
        );
        self.ready.store(false, Ordering::Relaxed);
        shutdown.leave();
        let drained = drain::run(
            &self.gateway,
            &shutdown,
            [delay, deadline],
            reloading.as_ref(),
        );
        tokio::select! {
            () = drained => {}
            signal = stop.wait() => tracing::warn!(signal, "stopping at once"),
        }
        serving.abort();
        if let Some(reloading) = reloading {
            reloading.abort();
        }
        if let Some(administering) = administering {
            administering.abort();
        }
        if let Some(fresh) = fresh {
            fresh.abort();
        }
        // Not before: they serve what is in flight while the listener has long ended.
        drop(tokio::task::spawn_blocking(|| drop(self.workers)).await);
        if let Some(identity) = self.identity {
            identity.finish().await;
        }
        if let Some(leases) = self.leases {
            leases.end().await;
        }
        self.messaging.close().await;
        if let Some(storage) = self.storage {
            storage.close().await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The configuration with what its files and the registry define, where there is one.
async fn whole(
    loaded: Loaded,
    origins: Option<&mut Origins>,
    storage: Option<&Database>,
    messaging: &Messaging,
) -> Result<(Candidate, Option<Arc<registry::Link>>), ServeError> {
    let Some(origins) = origins else {
        return Ok((Candidate::of(loaded, &Registry::default())?, None));
    };
    let section = &loaded.config.registry;
    let opened = registry::open(section, storage, messaging.announcements()).await?;
    let Some((link, mut follow)) = opened else {
        return Ok((Candidate::of(loaded, &Registry::default())?, None));
    };
    let latest = follow.latest().clone();
    let sources = with_servers(&origins.sources, &latest);
    let loaded = origins.secrets.load_again(&sources).await;
    let candidate = Candidate::of(loaded.map_err(CandidateError::from)?, &latest)?;
    follow.in_force(&candidate.of_file, &candidate.shadowed);
    origins.registry = Some(follow);
    Ok((candidate, Some(link)))
}

fn dependencies(storage: Option<&Database>, shared: &Shared) -> Vec<Arc<dyn Dependency>> {
    let database = storage.and_then(Database::dependency);
    database.into_iter().chain(shared.dependency()).collect()
}

fn listener_config(address: SocketAddr, limits: &LimitsSection) -> ListenerConfig {
    let count = |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    ListenerConfig {
        max_connections: count(limits.connections),
        max_connections_per_client: count(limits.connections_per_client),
        max_headers: count(limits.headers),
        max_header_bytes: u32::try_from(limits.header_bytes.as_usize()).unwrap_or(u32::MAX),
        header_timeout: limits.header_timeout.get(),
        idle_timeout: limits.idle_timeout.get(),
        ..ListenerConfig::new(address)
    }
}

fn outbound_config(config: &Config, workers: usize) -> OutboundConfig {
    OutboundConfig {
        workers,
        connect_timeout: config.limits.connect_timeout.get(),
        extra_ca_file: config.outbound.ca_file.as_ref().map(PathBuf::from),
        allowed_addresses: config.outbound.allow_addresses.clone(),
        allowed_hosts: config.outbound.allow_hosts.clone(),
        ..OutboundConfig::default()
    }
}

/// Runs `serve` on as many threads as there are cores.
pub(crate) fn block_on<T>(
    run: impl Future<Output = Result<T, ServeError>>,
) -> Result<T, ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("mcp-ultra")
        .build()
        .map_err(ServeError::System)?;
    let result = runtime.block_on(run);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}
