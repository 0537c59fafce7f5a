use std::{fs, os::unix::fs::PermissionsExt};

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
