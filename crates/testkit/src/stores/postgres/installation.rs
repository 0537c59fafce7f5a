//! The programs of PostgreSQL, and a new data folder by them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{ADMIN, PASSWORD};
use crate::{
    process::Process,
    stores::{StoreError, folder::Folder, tool},
};

/// Where Debian has one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long a data folder may take to make or to copy.
const LIMIT: Duration = Duration::from_mins(1);

/// The folder of the newest version that is installed.
#[derive(Clone)]
pub(super) struct Installation(PathBuf);

impl Installation {
    pub(super) fn find() -> Result<Self, StoreError> {
        let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = versions.map(|found| found.path().join("bin")).collect();
        // By number: 9 is before 15.
        folders.sort_by_key(|folder| {
            let version = folder.parent().and_then(Path::file_name);
            let number = version.and_then(OsStr::to_str)?.parse::<u32>().ok();
            number.map(std::cmp::Reverse)
        });
        let server = tool::find("postgres", &folders, "postgresql")?;
        let folder = server.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self(folder))
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes `data` in this folder, with an administrator.
    pub(super) async fn create(&self, folder: &Folder) -> Result<(), StoreError> {
        let data = folder.folder("data")?;
        let password = folder.write("password", PASSWORD)?;
        let mut command = Command::new(self.program("initdb"));
        command
            .args(["--auth=scram-sha-256", "--data-checksums", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"])
            .arg(format!("--username={ADMIN}"))
            .arg("--pwfile")
            .arg(password)
            .arg("--pgdata")
            .arg(&data);
        self.run(command, folder).await
    }

    /// Runs one of its programs to its end, as the account of the servers.
    pub(super) async fn run(
        &self,
        mut command: Command,
        folder: &Folder,
    ) -> Result<(), StoreError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(folder.path());
        folder.account.run(&mut command);
        let mut process = Process::start_command(command)?;
        if process.wait(LIMIT).await?.success() {
            return Ok(());
        }
        Err(StoreError::Tool {
            program,
            output: format!("{}{}", process.stdout(), process.stderr()),
        })
    }
}

/// Removes the few bytes of System V shared memory that a killed server leaves to the machine for good,
/// unless it is started again. The seventh line of its `postmaster.pid` has their key and id.
pub(super) fn remove_shared_memory(data: &Path) {
    let noted = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let memory = noted
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1));
    if let Some(id) = memory {
        // If it can't be removed, there is nothing else to try.
        let _ = Command::new("ipcrm").args(["-m", id]).output();
    }
}
