//! What a process has cost and holds, read from `/proc` (proc(5)).

use std::{fs, process::Command, sync::OnceLock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::{Error, Result, io};

/// One or more processes whose costs are summed: a gateway, or nginx's master and its workers.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pids: Vec<u32>,
}

impl Watched {
    /// A process alone.
    pub(crate) fn one(pid: u32) -> Self {
        Self { pids: vec![pid] }
    }

    /// A process and the children that it has now.
    pub(crate) fn with_children(pid: u32) -> Result<Self> {
        let mut pids = vec![pid];
        for entry in fs::read_dir("/proc")
            .map_err(io("listing /proc"))?
            .flatten()
        {
            let Some(child) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A process that ends while we look is no child of interest.
            if stat(child).is_ok_and(|stat| stat.parent == pid) {
                pids.push(child);
            }
        }
        Ok(Self { pids })
    }

    /// How many processes are watched.
    pub(crate) fn count(&self) -> usize {
        self.pids.len()
    }

    /// CPU seconds used so far, user and system, all threads, also those that have ended.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let mut ticks = 0;
        for &pid in &self.pids {
            ticks += stat(pid)?.cpu_ticks;
        }
        Ok(ticks as f64 / ticks_per_second())
    }

    /// Resident memory in bytes. Pages that processes share are counted in each of them.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for &pid in &self.pids {
            let path = format!("/proc/{pid}/status");
            let status = fs::read_to_string(&path).map_err(io(format!("reading {path}")))?;
            bytes += resident_of(&status)
                .ok_or_else(|| Error::Unusable(format!("no VmRSS in {path}: has it ended?")))?;
        }
        Ok(bytes)
    }
}

struct Stat {
    parent: u32,
    cpu_ticks: u64,
}

fn stat(pid: u32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let line = fs::read_to_string(&path).map_err(io(format!("reading {path}")))?;
    parse_stat(&line).ok_or_else(|| Error::Unusable(format!("{path} reads unlike proc(5)")))
}

/// The name in the second field may hold spaces and parentheses: the rest starts after the last.
fn parse_stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line
        .get(line.rfind(')')? + 1..)?
        .split_ascii_whitespace()
        .collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        cpu_ticks: number(11)? + number(12)?,
    })
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Unit of CPU times in `/proc`; 100 on every Linux that has not been rebuilt otherwise.
fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        Command::new("getconf")
            .arg("CLK_TCK")
            .output()
            .ok()
            .and_then(|out| String::from_utf8(out.stdout).ok()?.trim().parse().ok())
            .unwrap_or(100.0)
    })
}

/// Raises the soft limit of open files to the hard one, for 2,000 streams; children inherit it.
/// Where that fails the limit stays, and opening the streams says so.
pub(crate) fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c)) S 7 1 1 0 -1 4 0 0 0 0 30 12 0 0 20 0 1 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.cpu_ticks), (7, 42));
        assert!(parse_stat("42 (cut").is_none());
    }

    #[test]
    fn resident_memory_is_kib() {
        assert_eq!(
            resident_of("Name:\tx\nVmRSS:\t    1500 kB\n"),
            Some(1_536_000)
        );
        assert_eq!(resident_of("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn own_cpu_time_grows_while_working() {
        let own = Watched::one(std::process::id());
        let before = own.cpu_seconds().unwrap();
        let start = Instant::now();
        let mut sum = 0_u64;
        // Busy until the clock of the process moves: bounded, for a machine that starves us.
        while own.cpu_seconds().unwrap() <= before && start.elapsed() < Duration::from_secs(20) {
            sum = (0..100_000).fold(sum, u64::wrapping_add);
        }
        assert!(own.cpu_seconds().unwrap() > before, "after {sum}");
        assert!(own.resident_bytes().unwrap() > 100_000);
    }

    #[test]
    fn a_child_is_found() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let found = Watched::with_children(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.pids.contains(&child.id()));
        assert!(found.count() >= 2);
    }
}
