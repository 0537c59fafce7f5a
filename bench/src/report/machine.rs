//! The machine and the versions: figures say little without them.

use std::{fs, path::Path, process::Command};

use serde::Serialize;

use crate::error::{Error, Result};

/// Where and with what a run was measured. No host name and no path: reports are published.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// When it began, in UTC.
    pub(crate) time: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// As the processor calls itself.
    pub(crate) cpu: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Memory in bytes.
    pub(crate) memory_bytes: u64,
    /// Load average of the last minute before the run: what else the machine was doing.
    pub(crate) load_before: String,
    /// This program.
    pub(crate) bench: &'static str,
    /// nginx; `None` where it could not be started.
    pub(crate) nginx: Option<String>,
    /// The gateway; `None` where none was given.
    pub(crate) gateway: Option<String>,
}

/// Reads it all. A gateway that is named and cannot be started is an error.
pub(crate) fn facts(gateway: Option<&Path>, nginx: &Path) -> Result<Machine> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let unknown = || "unknown".to_owned();
    let gateway = match gateway {
        None => None,
        Some(path) => Some(version(path, "--version").ok_or_else(|| {
            Error::Unusable(format!("`{} --version` cannot be run", path.display()))
        })?),
    };
    let kib = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(Machine {
        time: jiff::Timestamp::now()
            .strftime("%Y-%m-%d %H:%M UTC")
            .to_string(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_bytes: kib.unwrap_or(0) * 1024,
        load_before: read("/proc/loadavg")
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned(),
        bench: env!("CARGO_PKG_VERSION"),
        nginx: version(nginx, "-v"),
        gateway,
    })
}

/// The first line that a program says about its version, on either stream.
fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text)
        .lines()
        .next()?
        .trim()
        .to_owned();
    output.status.success().then_some(line)
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: other\n";
        assert_eq!(
            field(text, "model name").as_deref(),
            Some("Some CPU @ 2 GHz")
        );
        assert_eq!(field(text, "model"), None);
    }

    #[test]
    fn this_machine_has_facts_and_a_missing_program_has_no_version() {
        let missing = Path::new("no-such-program-anywhere");
        let facts = facts(None, missing).unwrap();
        assert!(facts.cores > 0 && facts.memory_bytes > 0 && !facts.kernel.is_empty());
        assert_eq!(facts.nginx, None);
        assert!(super::facts(Some(missing), missing).is_err());
    }
}
