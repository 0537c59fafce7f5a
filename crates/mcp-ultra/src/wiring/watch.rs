//! Files that are watched.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::Watcher;
use tokio::sync::mpsc;

/// How long files must be quiet before they are read: editors write in several steps, a
/// certificate and its key are two files, and Kubernetes swaps a link after it has written the
/// files.
const QUIET: Duration = Duration::from_millis(150);

/// Tells when files, or the links that lead to them, change.
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    /// Dropping it ends the watching.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches the folders of the files: editors and Kubernetes put a new file in the old one's
    /// place. `what` is what a log calls them.
    pub(super) fn new(what: &'static str, files: &[PathBuf]) -> Self {
        let (changed, changes) = mpsc::channel(1);
        let watcher = watcher(files, changed).unwrap_or_else(|error| {
            tracing::warn!(%error, what, "files can't be watched; send SIGHUP after a change");
            None
        });
        Self {
            changes,
            _watcher: watcher,
        }
    }

    /// Waits until something has changed and been quiet again; for ever where nothing is watched.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        tokio::time::sleep(QUIET).await;
        while self.changes.try_recv().is_ok() {}
    }
}

fn watcher(
    files: &[PathBuf],
    changed: mpsc::Sender<()>,
) -> notify::Result<Option<notify::RecommendedWatcher>> {
    let names: BTreeSet<OsString> = files
        .iter()
        .filter_map(|file| file.file_name().map(Into::into))
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let folders: BTreeSet<&Path> = files
        .iter()
        .filter_map(|file| file.parent())
        .map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        })
        .collect();
    let seen = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        let ours = event.paths.iter().any(|path| {
            // Kubernetes: the file is a link into `..data`, which is a link that is replaced.
            path.file_name()
                .is_some_and(|touched| touched == "..data" || names.contains(touched))
        });
        if ours {
            // Full means that a change is waiting already.
            let _ = changed.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(seen)?;
    for folder in folders {
        watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
    }
    Ok(Some(watcher))
}
