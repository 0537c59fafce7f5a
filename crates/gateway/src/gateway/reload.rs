use std::{sync::Arc, time::Duration};

use mcp_ultra_config::{
    AuthSection, Config, ConnectSection, LimitsSection, Login, ServerSection, SessionSection,
};
use mcp_ultra_domain::{cache::Outdated, flags::Flags, pinning::LockFile, policy::Policies};
use tokio_util::sync::CancellationToken;

use super::{Gateway, GatewayError, Settings, sealing::sealing_secrets};
use crate::access::Rules;
use crate::upstream::{Ending, Means, Settings as UpstreamSettings, Upstream};

/// How often an upstream that is no longer configured is looked at, and how much longer than a call
/// may take it is waited for.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(10);

/// The upstreams of a configuration, and of those that stay what they are configured with now.
type Planned = (Vec<Arc<Upstream>>, Vec<(Arc<Upstream>, UpstreamSettings)>);

impl Gateway {
    /// Takes over the parts of a new configuration that can change in flight, which are those that
    /// [`mcp_ultra_config::Changes`] calls live: servers, catalog, extensions, policies, flags, pins, trusted proxies, rates,
    /// quotas and concurrency, and what is kept of answers. What was counted against limits stays. Calls under way
    /// finish with the upstreams that they have.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing has changed then.
    pub fn reload(
        self: &Arc<Self>,
        config: &Config,
        policies: Option<Arc<Policies>>,
        flags: Option<Arc<Flags>>,
        lock: Option<Arc<LockFile>>,
    ) -> Result<(), GatewayError> {
        let mut running = self.config.lock();
        let config = &live_parts(&running, config);
        let wanted = self.upstreams(config)?;
        self.rotate(&running, config)?;
        let others = other_servers(&running, config);
        *running = config.clone();
        let settings = Settings::new(config, lock);
        let pins_differ = *settings.pinning != *self.settings().pinning;
        let kept_otherwise = settings.cache.changed_since(&self.settings().cache);
        self.settings.store(Arc::new(settings));
        let before = self.snapshot();
        let mut is_gone = false;
        for old in &before.upstreams {
            if !wanted.iter().any(|new| Arc::ptr_eq(new, old)) {
                is_gone |= !wanted.iter().any(|new| new.name() == old.name());
                self.keepers.drop(old.name());
                let task = drain(old.clone(), self.stopping.clone());
                self.leaving.spawn(task);
            }
        }
        let new: Vec<_> = wanted
            .iter()
            .filter(|new| !before.upstreams.iter().any(|old| Arc::ptr_eq(new, old)))
            .cloned()
            .collect();
        self.set(wanted, Rules::new(policies, flags));
        if is_gone {
            self.servers_changed();
        }
        self.cache.resize(&config.cache);
        for name in others {
            self.outdate(&name.into(), Outdated::All);
        }
        // It may be good for longer than it may be now; and where nothing is kept, nothing is noted of
        // what changes.
        for name in kept_otherwise {
            self.outdate_in_any_case(&name, Outdated::All);
        }
        self.tell_of_expired_flags();
        let names = config.enabled_servers().map(|server| &*server.name);
        self.pinning.keep(&names.collect::<Vec<_>>());
        for upstream in new {
            upstream.note_new();
            self.keepers.keep(self, upstream);
        }
        self.reloaded.notify_one();
        if pins_differ {
            self.keepers.judge_again();
        }
        Ok(())
    }

    /// Whether a reload with this configuration would be taken. It changes nothing.
    ///
    /// # Errors
    /// [`GatewayError`], as the reload would have it.
    pub fn check(&self, config: &Config) -> Result<(), GatewayError> {
        let config = &live_parts(&self.config.lock(), config);
        self.planned(config).map(drop)
    }

    /// Takes over the values of secrets that verify or seal; what those before have made is accepted
    /// for a while longer.
    fn rotate(self: &Arc<Self>, running: &Config, new: &Config) -> Result<(), GatewayError> {
        let grace = running.secrets.grace.get();
        let keys = &new.session.keys;
        if running.session.keys != *keys && !keys.is_empty() {
            let retired = self.sealer.rotate(sealing_secrets(new))?;
            if let Some(shared) = &self.cache.shared {
                shared.vault.rotate(sealing_secrets(new));
            }
            if let Some(sharing) = &self.sharing {
                sharing.rotate(sealing_secrets(new));
            }
            let gateway = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                if let Some(gateway) = gateway.upgrade() {
                    gateway.sealer.drop_keys(&retired);
                }
            });
        }
        if let Some(connect) = &self.connect {
            connect.take_secrets_of(&new.connect.logins);
        }
        let (before, now) = (&running.auth.jwt_secret, &new.auth.jwt_secret);
        if before != now
            && let (Some(identity), Some(secret)) = (&self.identity, now)
        {
            identity.rotate_secret(secret.expose().as_bytes(), grace);
        }
        Ok(())
    }

    /// The upstreams of a configuration; those that did not change stay the ones they are.
    pub(super) fn upstreams(&self, config: &Config) -> Result<Vec<Arc<Upstream>>, GatewayError> {
        let (upstreams, stay) = self.planned(config)?;
        for (upstream, settings) in stay {
            upstream.settings().take_secrets_of(&settings);
        }
        Ok(upstreams)
    }

    /// The same, and those that stay with what they are configured with now. Nothing is changed.
    fn planned(&self, config: &Config) -> Result<Planned, GatewayError> {
        let before = self.snapshot();
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        let mut stay = Vec::new();
        let means = Means {
            outbound: &self.outbound,
            clock: &self.clock,
            metrics: &self.metrics,
            connect: self.connect.as_deref(),
        };
        for section in config.enabled_servers() {
            let settings = UpstreamSettings::new(config, section, &means)?;
            let same_prefix = upstreams
                .iter()
                .find(|other| !settings.naming.is_identity() && *other.naming() == settings.naming);
            if let Some(other) = same_prefix {
                return Err(GatewayError::SamePrefix(
                    other.name().to_string(),
                    section.name.clone(),
                ));
            }
            let kept = before
                .upstream(&section.name)
                .filter(|old| *old.settings() == settings);
            upstreams.push(match kept {
                Some(kept) => {
                    stay.push((kept.clone(), settings));
                    kept.clone()
                }
                None => Arc::new(Upstream::new(settings).with_sharing(self.sharing.clone())),
            });
        }
        Ok((upstreams, stay))
    }
}

/// The servers that are configured otherwise: what they answer may be another thing.
fn other_servers(running: &Config, new: &Config) -> Vec<String> {
    let before = |name: &str| running.enabled_servers().find(|server| server.name == name);
    let servers = new.enabled_servers();
    let others = servers.filter(|server| before(&server.name) != Some(server));
    others.map(|server| server.name.clone()).collect()
}

/// The running configuration with the parts of `new` that can change in flight.
fn live_parts(running: &Config, new: &Config) -> Config {
    Config {
        servers: new.servers.clone(),
        catalog: new.catalog.clone(),
        extensions: new.extensions.clone(),
        session: SessionSection {
            // Without any, those of before stay until a restart.
            keys: if new.session.keys.is_empty() {
                running.session.keys.clone()
            } else {
                new.session.keys.clone()
            },
            ..running.session.clone()
        },
        auth: AuthSection {
            jwt_secret: match (&running.auth.jwt_secret, &new.auth.jwt_secret) {
                (Some(_), Some(new)) => Some(new.clone()),
                (running, _) => running.clone(),
            },
            ..running.auth.clone()
        },
        policy: new.policy.clone(),
        flags: new.flags.clone(),
        pinning: new.pinning.clone(),
        cache: new.cache.clone(),
        connect: with_secrets_of(&running.connect, &new.connect),
        server: ServerSection {
            trusted_proxies: new.server.trusted_proxies.clone(),
            ..running.server.clone()
        },
        limits: LimitsSection {
            rates: new.limits.rates.clone(),
            quotas: new.limits.quotas.clone(),
            concurrency: new.limits.concurrency.clone(),
            overrides: new.limits.overrides.clone(),
            ..running.limits.clone()
        },
        ..running.clone()
    }
}

/// The same logins with the client secrets that they have in `new`.
fn with_secrets_of(running: &ConnectSection, new: &ConnectSection) -> ConnectSection {
    let mut connect = running.clone();
    for login in &mut connect.logins {
        let same =
            |other: &&Login| other.issuer == login.issuer && other.client_id == login.client_id;
        if let Some(new) = new.logins.iter().find(same) {
            login.client_secret = new.client_secret.clone();
        }
    }
    connect
}

/// Ends an upstream that is no longer configured, once its calls have finished, also those that finish while
/// the gateway drains.
async fn drain(upstream: Arc<Upstream>, stop: CancellationToken) {
    let patience = tokio::time::sleep(upstream.settings().call_timeout + GRACE);
    tokio::pin!(patience);
    // Calls that have been routed but not sent yet are few, and are sent by then.
    loop {
        tokio::select! {
            () = &mut patience => break,
            () = stop.cancelled() => break,
            () = tokio::time::sleep(DRAIN_PAUSE) => {}
        }
        if upstream.close_unused().await == 0 && upstream.is_unused() {
            break;
        }
    }
    upstream.close_all(Ending::Unneeded).await;
}
