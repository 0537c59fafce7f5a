//! The configuration in flight: read again on SIGHUP and when one of its files changes.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mcp_ultra_config::{Changes, Config, ConfigError, PolicySection, SourceFile, Sources};
use mcp_ultra_gateway::Gateway;
use notify::Watcher;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{log, policy};

/// How long a file must be quiet before it is read: editors write in several steps, and
/// Kubernetes swaps a link after it has written the files.
const QUIET: Duration = Duration::from_millis(150);

/// Applies new configurations until the task is dropped. A bad one is refused: the old one stays.
pub(super) async fn run(sources: Sources, running: Config, gateway: Arc<Gateway>, log: log::Level) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let (changed, mut changes) = mpsc::channel(1);
    let file = sources.file.as_ref().map(|file| PathBuf::from(&file.name));
    // Kept for as long as the loop runs: dropping it ends the watching.
    let mut _watcher = watch(file.as_deref(), &running.policy, &changed);
    let started = running.clone();
    let mut running = running;
    loop {
        let why = tokio::select! {
            _ = hangups.recv() => "SIGHUP",
            Some(()) = changes.recv() => {
                tokio::time::sleep(QUIET).await;
                while changes.try_recv().is_ok() {}
                "a file changed"
            }
        };
        match load(&sources, file.as_deref()) {
            Ok(new) => {
                let other = new.policy != running.policy;
                apply(why, &started, &mut running, new, &gateway, &log);
                if other {
                    _watcher = watch(file.as_deref(), &running.policy, &changed);
                }
            }
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
    let policies = match policy::policies(&new.policy) {
        Ok(policies) => policies,
        Err(error) => {
            tracing::error!(why, %error, "the new policies are refused, the old configuration stays");
            return;
        }
    };
    let revision = policies
        .as_ref()
        .map(|policies| policies.revision().clone());
    if changes.is_empty() && revision == gateway.policy_revision() {
        tracing::info!(why, "the configuration was read again: nothing differs");
        warn_of_restart(started, &new);
        return;
    }
    if let Err(error) = gateway.reload(&new, policies) {
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
        policies = revision.as_deref().unwrap_or("none"),
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

/// A place that is watched: a folder, and what in it is meant.
struct Place {
    folder: PathBuf,
    /// The name of a file; `None` for all files of policies.
    name: Option<OsString>,
}

impl Place {
    /// A file, or the link that leads to it. The folder is watched: editors and Kubernetes put a new
    /// file in the old one's place.
    fn of_file(file: &Path) -> Option<Self> {
        let parent = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Some(Self {
            folder: parent.unwrap_or(Path::new(".")).to_owned(),
            name: Some(file.file_name()?.to_owned()),
        })
    }

    fn of_policies(path: &Path) -> Option<Self> {
        if !path.is_dir() {
            return Self::of_file(path);
        }
        Some(Self {
            folder: path.to_owned(),
            name: None,
        })
    }

    fn means(&self, touched: &Path) -> bool {
        // Kubernetes: the file is a link into `..data`, which is a link that is replaced.
        if touched.file_name().is_some_and(|name| name == "..data") {
            return true;
        }
        match &self.name {
            Some(name) => touched.file_name() == Some(name),
            None => policy::is_ours(touched),
        }
    }
}

/// Tells `changed` when the configuration's file or one of its policies changes.
fn watch(
    file: Option<&Path>,
    section: &PolicySection,
    changed: &mpsc::Sender<()>,
) -> Option<notify::RecommendedWatcher> {
    let policies = section.files.iter().map(Path::new);
    let places: Vec<Place> = file
        .and_then(Place::of_file)
        .into_iter()
        .chain(policies.filter_map(Place::of_policies))
        .collect();
    let mut folders: Vec<PathBuf> = places.iter().map(|place| place.folder.clone()).collect();
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        return None;
    }
    let changed = changed.clone();
    let seen = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        let ours = |path: &PathBuf| places.iter().any(|place| place.means(path));
        if event.paths.iter().any(ours) {
            // Full means that a change is waiting already.
            let _ = changed.try_send(());
        }
    };
    let watching = notify::recommended_watcher(seen).and_then(|mut watcher| {
        for folder in &folders {
            watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "the configuration's files can't be watched; send SIGHUP after a change");
            None
        }
    }
}
