//! Finding and signalling the processes that an upstream has started, through `/proc`.

use std::collections::HashSet;
use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All living descendants of `root`, parents before their children; `root` is not among them.
///
/// A snapshot: a process that forks meanwhile may be missed, so who must be sure calls again.
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    let mut seen = HashSet::from([root]);
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        for child in children(parent) {
            if seen.insert(child) {
                found.push(child);
            }
        }
    }
    found.remove(0);
    found
}

/// The children of all threads of `parent`; none when it is gone or not ours to read.
fn children(parent: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
        .collect()
}

/// Sends `signal` to all of `pids`. One that is gone by then is no error.
pub(super) fn signal_all<'p>(pids: impl IntoIterator<Item = &'p Pid>, signal: Signal) {
    for pid in pids {
        let _ = kill(*pid, signal);
    }
}

/// Whether there is such a process, be it a zombie.
pub(super) fn exists(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

/// All processes whose environment holds `NAME=value` exactly.
///
/// Reaches processes that are nobody's descendants any more. One that has cleaned its environment
/// is not found.
pub(super) fn with_variable(name: &str, value: &str) -> Vec<Pid> {
    let wanted = format!("{name}={value}");
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                all.split(|byte| *byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
        })
        .map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_grandchild_is_found_and_only_while_it_lives() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 1000 & echo started; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(shell.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        let root = Pid::from_raw(i32::try_from(shell.id()).unwrap());
        let found = descendants(root);
        assert_eq!(found.len(), 1, "{found:?}");
        signal_all(&descendants(root), Signal::SIGKILL);
        shell.wait().unwrap();
        assert!(descendants(root).is_empty());
    }

    #[test]
    fn a_process_is_found_by_its_environment() {
        let value = format!("of-{}", std::process::id());
        let mut child = Command::new("sleep")
            .arg("1000")
            .env("STDIO_TREE_TEST", &value)
            .spawn()
            .unwrap();
        // The new environment is there once the program has replaced the fork.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let mut found = Vec::new();
        while found.is_empty() && std::time::Instant::now() < deadline {
            found = with_variable("STDIO_TREE_TEST", &value);
        }
        assert_eq!(found, [Pid::from_raw(i32::try_from(child.id()).unwrap())]);
        assert!(with_variable("STDIO_TREE_TEST", "of-nobody").is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
