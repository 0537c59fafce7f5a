//! Clients' tools that come with the servers, called for one answer; and waiting for an answer.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::StoreError;
use crate::process::ProcessError;

/// Where Debian has what is not on the path of an ordinary user.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// How long a tool may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(25);

/// Finds a program on the path or among `more` folders.
pub(crate) fn find(
    program: &str,
    more: &[PathBuf],
    package: &'static str,
) -> Result<PathBuf, StoreError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    let mut places = more.iter().cloned().chain(folders);
    let found = places.find_map(|folder| {
        let file = folder.join(program);
        file.is_file().then_some(file)
    });
    found.ok_or_else(|| StoreError::Missing {
        program: program.to_owned(),
        package,
    })
}

/// Runs a tool with this environment alone; what it wrote to stdout.
pub(crate) async fn answer<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    environment: &[(&str, &OsStr)],
) -> Result<String, StoreError> {
    let name = program.display().to_string();
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .envs(environment.iter().copied())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let failed = |output: String| StoreError::Tool {
        program: name.clone(),
        output,
    };
    let output = tokio::time::timeout(LIMIT, output)
        .await
        .map_err(|_| failed(format!("no answer within {LIMIT:?}")))?
        .map_err(|source| ProcessError::Start {
            program: name.clone(),
            source,
        })?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(stdout.into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{stdout}{stderr}")))
}

/// Asks again until there is no error. The last one goes into that of the waiting.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    ask: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(error) if begun.elapsed() > limit => {
                return Err(StoreError::NotReady {
                    what: what.to_owned(),
                    limit,
                    last: error.to_string(),
                });
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
