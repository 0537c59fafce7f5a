//! Files that are watched.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::Watcher;
use tokio::{sync::mpsc, time::Instant};

/// How long files must be quiet before they are read: editors write in several steps, a
/// certificate and its key are two files, and Kubernetes swaps a link after it has written the
/// files.
const QUIET: Duration = Duration::from_millis(150);

/// Tells when files, or the links that lead to them, change.
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    /// When what has changed is taken to be quiet.
    quiet: Option<Instant>,
    /// Dropping it ends the watching.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches the places. `what` is what a log calls them.
    pub(super) fn new(what: &'static str, places: Vec<Place>) -> Self {
        let (changed, changes) = mpsc::channel(1);
        let watcher = watcher(places, changed).unwrap_or_else(|error| {
            tracing::warn!(%error, what, "files can't be watched; send SIGHUP after a change");
            None
        });
        Self {
            changes,
            quiet: None,
            _watcher: watcher,
        }
    }

    /// Waits until something has changed and been quiet again; for ever where nothing is watched.
    /// Dropping it loses nothing: the next one goes on waiting.
    pub(super) async fn changed(&mut self) {
        let quiet = match self.quiet {
            Some(quiet) => quiet,
            None if self.changes.recv().await.is_none() => {
                return std::future::pending().await;
            }
            None => *self.quiet.insert(Instant::now() + QUIET),
        };
        tokio::time::sleep_until(quiet).await;
        while self.changes.try_recv().is_ok() {}
        self.quiet = None;
    }
}

/// A place that is watched: a folder, and what in it is meant.
pub(super) struct Place {
    folder: PathBuf,
    means: Means,
}

enum Means {
    Name(OsString),
    Files(fn(&Path) -> bool),
}

impl Place {
    /// A file, or the link that leads to it. The folder is watched: editors and Kubernetes put a new
    /// file in the old one's place.
    pub(super) fn of_file(file: &Path) -> Option<Self> {
        let parent = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        Some(Self {
            folder: parent.unwrap_or(Path::new(".")).to_owned(),
            means: Means::Name(file.file_name()?.to_owned()),
        })
    }

    /// The files of a folder that are `ours`.
    pub(super) fn of_files(folder: &Path, ours: fn(&Path) -> bool) -> Self {
        Self {
            folder: folder.to_owned(),
            means: Means::Files(ours),
        }
    }

    fn means(&self, touched: &Path) -> bool {
        // Kubernetes: the file is a link into `..data`, which is a link that is replaced.
        if touched.file_name().is_some_and(|name| name == "..data") {
            return true;
        }
        match &self.means {
            Means::Name(name) => touched.file_name() == Some(name),
            Means::Files(ours) => ours(touched),
        }
    }
}

fn watcher(
    places: Vec<Place>,
    changed: mpsc::Sender<()>,
) -> notify::Result<Option<notify::RecommendedWatcher>> {
    let folders: BTreeSet<PathBuf> = places.iter().map(|place| place.folder.clone()).collect();
    if folders.is_empty() {
        return Ok(None);
    }
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
    let mut watcher = notify::recommended_watcher(seen)?;
    for folder in &folders {
        watcher.watch(folder, notify::RecursiveMode::NonRecursive)?;
    }
    Ok(Some(watcher))
}
