//! The configuration in flight: read again on SIGHUP and when one of its files or a secret changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ultra_config::{Changes, Config, ConfigError, SourceFile, Sources};
use mcp_ultra_domain::flags::Flags;
use mcp_ultra_gateway::Gateway;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    flags, log, pinning, policy,
    secrets::Secrets,
    watch::{Place, Watch},
};

/// Applies new configurations until the task is dropped. A bad one is refused: the old one stays.
pub(super) async fn run(
    sources: Sources,
    mut secrets: Secrets,
    running: Config,
    gateway: Arc<Gateway>,
    log: log::Level,
) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let file = sources.file.as_ref().map(|file| PathBuf::from(&file.name));
    let mut watch = self::watch(file.as_deref(), &running);
    let mut secret_files = secrets.watch();
    let mut ticks = tokio::time::interval(secrets.section().refresh.get());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.reset();
    let started = running.clone();
    let mut running = running;
    loop {
        let why = tokio::select! {
            _ = hangups.recv() => "SIGHUP",
            () = watch.changed() => "a file changed",
            () = secret_files.changed() => {
                if !have_changed(&secrets).await {
                    continue;
                }
                "secrets changed"
            }
            _ = ticks.tick(), if !secrets.is_empty() => {
                if !have_changed(&secrets).await {
                    continue;
                }
                "secrets changed"
            }
        };
        match load(&sources, &mut secrets, file.as_deref()).await {
            Ok(new) => {
                let other = new.policy != running.policy
                    || new.flags != running.flags
                    || new.pinning != running.pinning;
                apply(why, &started, &mut running, new, &gateway, &log);
                if other {
                    watch = self::watch(file.as_deref(), &running);
                }
            }
            Err(error) => {
                tracing::error!(why, %error, "the new configuration is refused, the old one stays");
            }
        }
    }
}

async fn have_changed(secrets: &Secrets) -> bool {
    let changed = secrets.refresh().await.changed;
    for secret in &changed {
        tracing::info!(%secret, "a secret has another value");
    }
    !changed.is_empty()
}

async fn load(
    sources: &Sources,
    secrets: &mut Secrets,
    file: Option<&Path>,
) -> Result<Config, ConfigError> {
    let mut sources = sources.clone();
    sources.file = file.map(SourceFile::read).transpose()?;
    Ok(secrets.load_again(&sources).await?.config)
}

fn apply(
    why: &str,
    started: &Config,
    running: &mut Config,
    new: Config,
    gateway: &Arc<Gateway>,
    log: &log::Level,
) {
    let changes = Changes::between(running, &new);
    let flags = match flags::flags(&new.flags) {
        Ok(flags) => flags,
        Err(error) => {
            tracing::error!(why, %error, "the new flags are refused, the old configuration stays");
            return;
        }
    };
    let policies = match policy::policies(&new.policy, flags.as_ref()) {
        Ok(policies) => policies,
        Err(error) => {
            tracing::error!(why, %error, "the new policies are refused, the old configuration stays");
            return;
        }
    };
    let lock = match pinning::lock_file(&new.pinning) {
        Ok(lock) => lock,
        Err(error) => {
            tracing::error!(why, %error, "the new lock file is refused, the old configuration stays");
            return;
        }
    };
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
        return;
    }
    if let Err(error) = gateway.reload(&new, policies, flags, lock) {
        tracing::error!(why, %error, "the new configuration is refused, the old one stays");
        return;
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
