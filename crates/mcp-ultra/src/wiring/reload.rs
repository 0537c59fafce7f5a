//! The configuration in flight: read again on SIGHUP, when one of its files or a secret changes, and when
//! the registry does.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ultra_config::{Changes, Config, SourceFile, Sources};
use mcp_ultra_control::registry::Fault;
use mcp_ultra_domain::{flags::Flags, registry::Registry};
use mcp_ultra_gateway::{Gateway, GatewayError};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    candidate::{Candidate, CandidateError, with_servers},
    flags, log, policy,
    registry::{Checked, Event, Follow},
    secrets::Secrets,
    stores::Stores,
    watch::{Place, Watch},
};

/// What the configuration is read from.
pub(super) struct Origins {
    /// Its file, the environment and flags.
    pub(super) sources: Sources,
    /// Its secrets.
    pub(super) secrets: Secrets,
    /// The registry, where there is one.
    pub(super) registry: Option<Follow>,
}

/// Why it is read again.
enum Why {
    Said(&'static str),
    Secrets,
    Registry(Event),
}

/// Applies new configurations until the task is dropped. A bad one is refused: the old one stays.
pub(super) async fn run(
    mut origins: Origins,
    running: Config,
    gateway: Arc<Gateway>,
    stores: Stores,
    log: log::Level,
) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let file = origins.file();
    let mut watch = self::watch(file.as_deref(), &running);
    let mut secret_files = origins.secrets.watch();
    let mut ticks = tokio::time::interval(origins.secrets.section().refresh.get());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.reset();
    let started = running.clone();
    let mut running = running;
    // It may have been long until now: a database was waited for.
    let mut due = origins
        .has_other_file()
        .then_some(Why::Said("a file changed"));
    loop {
        if let Some(registry) = &origins.registry {
            gateway.note_registry(registry.state());
        }
        let why = if let Some(why) = due.take() {
            why
        } else {
            tokio::select! {
                _ = hangups.recv() => Why::Said("SIGHUP"),
                () = watch.changed() => Why::Said("a file changed"),
                () = secret_files.changed() => Why::Secrets,
                _ = ticks.tick(), if !origins.secrets.is_empty() => Why::Secrets,
                event = next(&mut origins.registry) => Why::Registry(event),
            }
        };
        let Some(why) = origins.is_to_do(why, &gateway).await else {
            continue;
        };
        match origins.load().await {
            Ok(new) => {
                let other = new.config.policy != running.policy
                    || new.config.flags != running.flags
                    || new.config.pinning != running.pinning;
                let (of_file, shadowed) = (new.of_file.clone(), new.shadowed.clone());
                let is_in_force = apply(why, &started, &mut running, new, &gateway, &log);
                stores.renew(&started, &running);
                match &mut origins.registry {
                    Some(registry) if is_in_force => registry.in_force(&of_file, &shadowed),
                    Some(registry) => registry.refused(),
                    None => {}
                }
                if other {
                    watch = self::watch(file.as_deref(), &running);
                }
            }
            Err(error) => {
                tracing::error!(why, %error, "{}", refusal(&error));
                if let Some(registry) = &mut origins.registry {
                    registry.refused();
                }
            }
        }
    }
}

/// In words that say what stays as it was.
fn refusal(error: &CandidateError) -> &'static str {
    match error {
        CandidateError::Config(_) => "the new configuration is refused, the old one stays",
        CandidateError::Flags(_) => "the new flags are refused, the old configuration stays",
        CandidateError::Policies(_) => "the new policies are refused, the old configuration stays",
        CandidateError::LockFile(_) => "the new lock file is refused, the old configuration stays",
    }
}

/// What the registry has to do; never, where there is none.
async fn next(registry: &mut Option<Follow>) -> Event {
    match registry {
        Some(registry) => registry.next().await,
        None => std::future::pending().await,
    }
}

impl Origins {
    fn file(&self) -> Option<PathBuf> {
        let file = self.sources.file.as_ref();
        file.map(|file| PathBuf::from(&file.name))
    }

    /// Whether the file is another one than the gateway was started with.
    fn has_other_file(&self) -> bool {
        let now = self.file().and_then(|file| SourceFile::read(&file).ok());
        let known = self.sources.file.as_ref();
        now.is_some_and(|now| known.is_some_and(|known| known.text != now.text))
    }

    /// Whether the configuration is to be read again, and why; what is asked meanwhile is answered.
    async fn is_to_do(&mut self, why: Why, gateway: &Gateway) -> Option<&'static str> {
        match why {
            Why::Said(why) => Some(why),
            Why::Secrets => have_changed(&self.secrets)
                .await
                .then_some("secrets changed"),
            Why::Registry(Event::Look) => {
                let registry = self.registry.as_mut()?;
                registry.look().await.then_some("the registry changed")
            }
            Why::Registry(Event::Asked(ask)) => {
                let (checked, changed) = self.check(&ask.candidate, gateway).await;
                // Who has asked may have gone.
                drop(ask.answer.send(checked));
                changed.then_some("secrets changed")
            }
        }
    }

    /// Everything as it is now.
    async fn load(&mut self) -> Result<Candidate, CandidateError> {
        let registry = self.registry.as_ref().map(|one| one.latest().clone());
        let registry = registry.unwrap_or_default();
        let sources = with_servers(&self.sources_now()?, &registry);
        let loaded = self.secrets.load_again(&sources).await?;
        Candidate::of(loaded, &registry)
    }

    /// Whether the gateway could run with this registry; and whether a secret that is in use was seen to
    /// have another value.
    async fn check(&self, registry: &Registry, gateway: &Gateway) -> (Checked, bool) {
        let mut changed = false;
        let candidate = async {
            let sources = with_servers(&self.sources_now()?, registry);
            changed = self.secrets.read_besides(&sources).await?;
            Candidate::of(self.secrets.load(&sources)?, registry)
        };
        let candidate: Result<_, CandidateError> = candidate.await;
        let checked = candidate.map_err(|error| error.faults()).and_then(|new| {
            let fault = |error: GatewayError| Fault {
                place: String::new(),
                line: 0,
                column: 0,
                message: error.to_string(),
            };
            let checked = gateway.check(&new.config);
            checked.map_err(|error| vec![fault(error)])?;
            Ok(new.policies)
        });
        (checked, changed)
    }

    fn sources_now(&self) -> Result<Sources, CandidateError> {
        let file = self.file();
        Ok(Sources {
            file: file.as_deref().map(SourceFile::read).transpose()?,
            ..self.sources.clone()
        })
    }
}

async fn have_changed(secrets: &Secrets) -> bool {
    let changed = secrets.refresh().await.changed;
    for secret in &changed {
        tracing::info!(%secret, "a secret has another value");
    }
    !changed.is_empty()
}

/// Whether the new one is in force, or is the same.
fn apply(
    why: &str,
    started: &Config,
    running: &mut Config,
    new: Candidate,
    gateway: &Arc<Gateway>,
    log: &log::Level,
) -> bool {
    let Candidate {
        config: new,
        policies,
        flags,
        lock,
        ..
    } = new;
    let changes = Changes::between(running, &new);
    let revision = policies
        .as_ref()
        .map(|policies| policies.revision().clone());
    let same_pins = lock == gateway.lock_file();
    let flag_revision = |flags: &Option<Arc<Flags>>| {
        let flags = flags.as_ref();
        flags.map(|flags| flags.revision().clone())
    };
    let same_flags = flag_revision(&flags) == flag_revision(&gateway.flags());
    let same_rules = same_flags && revision == gateway.policy_revision();
    if changes.is_empty() && same_pins && same_rules {
        tracing::info!(why, "the configuration was read again: nothing differs");
        warn_of_restart(started, &new);
        return true;
    }
    if let Err(error) = gateway.reload(&new, policies, flags, lock) {
        tracing::error!(why, %error, "the new configuration is refused, the old one stays");
        return false;
    }
    // The admin API of before stays until a restart.
    policy::tell_of_admin(started, gateway.policies().as_deref());
    flags::tell_of_switches(gateway.flags().as_deref(), &new);
    log.set(new.log.level);
    tracing::info!(
        why,
        added = ?changes.servers_added,
        removed = ?changes.servers_removed,
        changed = ?changes.servers_changed,
        values = ?changes.live,
        policies = revision.as_deref().unwrap_or("none"),
        flags = if same_flags { "the same" } else { "others" },
        lock_file = if same_pins { "the same" } else { "another" },
        "the new configuration is in force"
    );
    warn_of_restart(started, &new);
    *running = new;
    true
}

/// Names what differs from what the process was started with and is not in force: each time, until
/// it is restarted.
fn warn_of_restart(started: &Config, new: &Config) {
    let changes = Changes::between(started, new);
    if changes.needs_restart() {
        tracing::warn!(values = ?changes.restart, "these changes take a restart");
    }
}

/// Watches the configuration's file, its policies, its flags and its lock file.
fn watch(file: Option<&Path>, config: &Config) -> Watch {
    let rules = |files: &[String], is_ours: fn(&Path) -> bool| -> Vec<Place> {
        let place = |path: &Path| {
            if path.is_dir() {
                return Some(Place::of_files(path, is_ours));
            }
            Place::of_file(path)
        };
        files.iter().map(Path::new).filter_map(place).collect()
    };
    let policies = rules(&config.policy.files, policy::is_ours);
    let flags = rules(&config.flags.files, flags::is_ours);
    let lock = config.pinning.lock_file.as_deref().map(Path::new);
    let named = [file, lock].into_iter().flatten();
    let places = named
        .filter_map(Place::of_file)
        .chain(policies)
        .chain(flags);
    Watch::new("the configuration", places.collect())
}
