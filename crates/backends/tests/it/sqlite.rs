use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt},
    path::Path,
};

use mcp_ultra_backends::sql::{Database, OpenError};

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Database::open_sqlite(&path).await.unwrap();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{file}");
    }
    store.close().await;
}

#[tokio::test]
async fn many_may_open_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let opened = futures_util::future::join_all((0..8).map(|_| Database::open_sqlite(&path))).await;
    for store in opened {
        store.unwrap();
    }
}

/// Whether this process holds a lock of SQLite on the file, by what the system says.
fn is_locked_here(file: &Path) -> bool {
    let inode = format!(":{} ", fs::metadata(file).unwrap().ino());
    let process = format!(" {} ", std::process::id());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let is_ours = |lock: &&str| lock.contains("POSIX") && lock.contains(&process);
    let mut ours = locks.lines().filter(is_ours);
    ours.any(|lock| lock.contains(&inode))
}

// Without it another program takes itself for the last one that uses the file, and removes the log that
// this one goes on writing to.
#[tokio::test]
async fn others_see_that_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Database::open_sqlite(&path).await.unwrap();
    assert!(is_locked_here(&path));
    let again = Database::open_sqlite(&path).await.unwrap();
    assert!(is_locked_here(&path), "of one that is there, too");
    again.close().await;
    assert!(is_locked_here(&path), "for as long as anybody uses it");
    store.close().await;
    assert!(!is_locked_here(&path));
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "not a database, however long one looks at it. ".repeat(50);
    fs::write(&path, &text).unwrap();
    let error = Database::open_sqlite(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let error = Database::open_sqlite(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error}");
}
