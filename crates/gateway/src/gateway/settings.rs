use std::{sync::Arc, time::Duration};

use mcp_ultra_config::{Config, CredentialsKind, Names, Network};
use mcp_ultra_domain::pinning::LockFile;

use crate::{cache, limits::Rules, pinning::PinRules};

/// What a running call reads from the configuration.
pub(crate) struct Settings {
    pub hosts: Names,
    pub origins: Names,
    /// The pages that may call, by what browsers send of them.
    pub cors_origins: Vec<http::HeaderValue>,
    pub trusted_proxies: Vec<Network>,
    pub limits: Rules,
    pub max_body: usize,
    pub body_timeout: Duration,
    pub max_sessions: usize,
    pub max_sessions_per_principal: usize,
    pub max_streams_per_client: usize,
    /// How many calls may wait for input of their callers: half of all.
    pub max_parked: usize,
    pub session_idle: Duration,
    /// `ttlMs` of lists where no upstream gives one.
    pub list_ttl_ms: u64,
    pub list_timeout: Duration,
    pub refresh: Duration,
    pub page_size: usize,
    pub serve_metrics: bool,
    pub pinning: Arc<PinRules>,
    /// What is kept of answers.
    pub cache: cache::Rules,
    /// For how long tools are remembered that are gone; `None` where a lock file decides.
    pub forget_after: Option<Duration>,
    /// The servers that are read, by their names.
    pub servers: Vec<String>,
    /// Whether an upstream's access tokens are had in exchange for those of callers.
    pub exchanges_tokens: bool,
}

impl Settings {
    pub(super) fn new(config: &Config, lock: Option<Arc<LockFile>>) -> Self {
        let forget_after = config.pinning.forget_after.get();
        let forget_after = lock.is_none().then_some(forget_after);
        let count =
            |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        Self {
            hosts: config.server.hosts(),
            origins: config.server.origins(),
            cors_origins: config
                .server
                .cors
                .origins
                .iter()
                .filter_map(|origin| http::HeaderValue::from_str(origin).ok())
                .collect(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            limits: Rules::new(&config.limits),
            max_body: config.limits.body.as_usize(),
            body_timeout: config.limits.body_timeout.get(),
            max_sessions: count(config.limits.sessions),
            max_sessions_per_principal: count(config.limits.sessions_per_principal),
            max_streams_per_client: count(config.limits.streams_per_client),
            max_parked: (count(config.limits.calls) / 2).max(1),
            session_idle: config.session.idle_timeout.get(),
            list_ttl_ms: 0,
            list_timeout: config.catalog.list_timeout.get(),
            refresh: config.catalog.refresh.get(),
            page_size: count(config.catalog.page_size),
            serve_metrics: config.server.metrics,
            pinning: Arc::new(PinRules::new(config, lock)),
            cache: cache::Rules::new(config),
            forget_after,
            servers: config
                .enabled_servers()
                .map(|server| server.name.clone())
                .collect(),
            exchanges_tokens: config.enabled_servers().any(|server| {
                let credentials = server.credentials.as_ref();
                credentials.is_some_and(|section| section.kind == CredentialsKind::TokenExchange)
            }),
        }
    }
}
