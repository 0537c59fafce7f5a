//! The configuration in flight: read again on SIGHUP and when its file or a secret changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mcp_ultra_config::{Changes, Config, ConfigError, SourceFile, Sources};
use mcp_ultra_gateway::Gateway;
use notify::Watcher;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{log, secrets::Secrets};

/// How long a file must be quiet before it is read: editors write in several steps, and
/// Kubernetes swaps a link after it has written the files.
const QUIET: Duration = Duration::from_millis(150);

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
    let (changed, mut changes) = mpsc::channel(1);
    let file = sources.file.as_ref().map(|file| PathBuf::from(&file.name));
    let (touched, mut touches) = mpsc::channel(1);
    // Kept for as long as the loop runs: dropping them ends the watching.
    let _watcher = file.as_deref().and_then(|file| watch(file, changed));
    let folder = secrets.section().folder.as_deref().map(Path::new);
    let _folder_watcher = folder.and_then(|folder| watch_folder(folder, touched));
    let mut ticks = tokio::time::interval(secrets.section().refresh.get());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.reset();
    let started = running.clone();
    let mut running = running;
    loop {
        let why = tokio::select! {
            _ = hangups.recv() => "SIGHUP",
            Some(()) = changes.recv() => {
                quiet(&mut changes).await;
                "the file changed"
            }
            Some(()) = touches.recv() => {
                quiet(&mut touches).await;
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
            Ok(new) => apply(why, &started, &mut running, new, &gateway, &log),
            Err(error) => {
                tracing::error!(why, %error, "the new configuration is refused, the old one stays");
            }
        }
    }
}

/// Waits until nothing has changed for a moment.
async fn quiet(changes: &mut mpsc::Receiver<()>) {
    tokio::time::sleep(QUIET).await;
    while changes.try_recv().is_ok() {}
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

/// Tells `changed` when the file, or the link that leads to it, changes. The folder is watched:
/// editors and Kubernetes put a new file in the old one's place.
fn watch(file: &Path, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = file.file_name()?.to_owned();
    let seen = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        let ours = event.paths.iter().any(|path| {
            let touched = path.file_name();
            // Kubernetes: the file is a link into `..data`, which is a link that is replaced.
            touched == Some(&name) || touched.is_some_and(|touched| touched == "..data")
        });
        if ours {
            // Full means that a change is waiting already.
            let _ = changed.try_send(());
        }
    };
    let watching = notify::recommended_watcher(seen).and_then(|mut watcher| {
        watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the configuration file can't be watched; send SIGHUP after a change");
            None
        }
    }
}

/// Tells `changed` when anything in the folder of secrets does.
fn watch_folder(folder: &Path, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let seen = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // Full means that a change is waiting already.
            let _ = changed.try_send(());
        }
    };
    let watching = notify::recommended_watcher(seen).and_then(|mut watcher| {
        watcher.watch(folder, notify::RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the folder of secrets can't be watched; it is read every secrets.refresh");
            None
        }
    }
}
