//! A folder of a server's own, and the account that the server runs as.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

use super::StoreError;

/// Who runs the servers where a test runs as root. PostgreSQL and PgBouncer refuse root, and the others
/// need none of its rights.
const UNPRIVILEGED: &str = "nobody";

/// Who a server runs as: the user of the test, or an unprivileged one if that is root.
#[derive(Clone, Copy)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    pub(crate) fn of_servers() -> Result<Self, StoreError> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        match User::from_name(UNPRIVILEGED) {
            Ok(Some(user)) => Ok(Self(Some((user.uid.as_raw(), user.gid.as_raw())))),
            _ => Err(StoreError::NoAccount(UNPRIVILEGED)),
        }
    }

    /// The user of the test, for what needs its files.
    pub(crate) fn of_the_test() -> Self {
        Self(None)
    }

    pub(crate) fn run(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            // This also gives up root's further groups.
            command.uid(user).gid(group);
        }
    }

    fn own(self, path: &Path) -> io::Result<()> {
        match self.0 {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

/// A temporary folder of the servers' account, removed when dropped.
pub(crate) struct Folder {
    folder: TempDir,
    pub(crate) account: Account,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self, StoreError> {
        let account = Account::of_servers()?;
        let made = tempfile::Builder::new()
            .prefix(&format!("mcp-ultra-{name}-"))
            .tempdir();
        let folder = made.map_err(failed(&std::env::temp_dir()))?;
        account.own(folder.path()).map_err(failed(folder.path()))?;
        Ok(Self { folder, account })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder in it that is the server's alone.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.file(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        let made = made.and_then(|()| self.account.own(&path));
        made.map_err(failed(&path))?;
        Ok(path)
    }

    /// Writes a file that only the server's account may read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, StoreError> {
        let path = self.file(name);
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .and_then(|()| self.account.own(&path));
        written.map_err(failed(&path))?;
        Ok(path)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { path, source }
}
