//! What ends a server if the process of the test ends without doing so: by a signal, or because the
//! server is shared and so never dropped.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;

use super::StoreError;
use crate::process::ProcessError;

/// Reads until the pipe that this process holds closes. A line says that there is nothing left to do.
/// A server that was stopped (SIGSTOP) goes on first, to see the signal.
const SCRIPT: &str = r#"
read -r _ && exit
kill -s "$2" "$1" && kill -s CONT "$1"
tries=100
while kill -s 0 "$1" && [ "$tries" -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done
kill -s KILL "$1"
rm -rf -- "$3"
"#;

/// A process that outlives this one, if need be, to end a server and to remove its folder.
pub(super) struct Guard(Child);

impl Guard {
    pub(super) fn of(server: u32, ending: Signal, folder: &Path) -> Result<Self, StoreError> {
        let ending = ending.as_str().trim_start_matches("SIG");
        let guard = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard", &server.to_string(), ending])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // An interrupt from the keyboard is for the test; this reacts to the test's end.
            .process_group(0)
            .spawn();
        let guard = guard.map_err(|source| ProcessError::Start {
            program: "/bin/sh".to_owned(),
            source,
        })?;
        Ok(Self(guard))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            // If it can't be told it is gone, and there is nothing left to do either.
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.0.wait();
    }
}
