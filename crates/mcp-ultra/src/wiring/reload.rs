//! The configuration in flight: read again on SIGHUP and when its file changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ultra_config::{Changes, Config, ConfigError, SourceFile, Sources};
use mcp_ultra_gateway::Gateway;
use tokio::signal::unix::{SignalKind, signal};

use super::{log, watch::Watch};

/// Applies new configurations until the task is dropped. A bad one is refused: the old one stays.
pub(super) async fn run(sources: Sources, running: Config, gateway: Arc<Gateway>, log: log::Level) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let file = sources.file.as_ref().map(|file| PathBuf::from(&file.name));
    let mut watch = Watch::new("the configuration", file.as_slice());
    let started = running.clone();
    let mut running = running;
    loop {
        let why = tokio::select! {
            _ = hangups.recv() => "SIGHUP",
            () = watch.changed() => "the file changed",
        };
        match load(&sources, file.as_deref()) {
            Ok(new) => apply(why, &started, &mut running, new, &gateway, &log),
            Err(error) => {
                tracing::error!(why, %error, "the new configuration is refused, the old one stays");
            }
        }
    }
}

fn load(sources: &Sources, file: Option<&Path>) -> Result<Config, ConfigError> {
    let mut sources = sources.clone();
    sources.file = file.map(SourceFile::read).transpose()?;
    Ok(mcp_ultra_config::load(&sources)?.config)
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
    if changes.is_empty() {
        tracing::info!(why, "the configuration was read again: nothing differs");
        warn_of_restart(started, &new);
        return;
    }
    if let Err(error) = gateway.reload(&new) {
        tracing::error!(why, %error, "the new configuration is refused, the old one stays");
        return;
    }
    log.set(new.log.level);
    tracing::info!(
        why,
        added = ?changes.servers_added,
        removed = ?changes.servers_removed,
        changed = ?changes.servers_changed,
        values = ?changes.live,
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
