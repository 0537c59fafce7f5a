//! One running server: its process, what ends it, and what tests do to it.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use super::{StoreError, folder::Account, guard::Guard};
use crate::process::{Process, ProcessError};

/// How long a server may take until it says that it is ready, and until it has ended.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a restarted server waits for its port.
const PORT_LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts.
const POLL: Duration = Duration::from_millis(25);
/// What servers say when somebody else has their port.
const TAKEN: [&str; 2] = ["Address already in use", "address already in use"];

/// How a server is started; used again for a restart.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) folder: PathBuf,
    pub(crate) account: Account,
    pub(crate) address: SocketAddr,
    /// The signal that it ends by, orderly but without waiting for clients.
    pub(crate) ending: Signal,
    /// The signal that ends it soonest with nothing left behind, where its data goes with it.
    pub(crate) abandoning: Signal,
    /// Part of the line that it says when it serves.
    pub(crate) ready: &'static str,
}

/// A running server; it ends when this is dropped, or with the process that has started it.
pub struct Server {
    launch: Launch,
    // Before the process: told first that there is nothing to guard.
    guard: Option<Guard>,
    process: Process,
}

impl Server {
    /// Starts it and waits until it says that it serves.
    pub(crate) async fn start(launch: Launch) -> Result<Self, StoreError> {
        let (process, guard) = spawn(&launch).await?;
        Ok(Self {
            launch,
            guard: Some(guard),
            process,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.launch.address
    }

    /// The process id; for PostgreSQL that of the parent of all others.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it runs, paused or not.
    pub fn runs(&self) -> bool {
        runs(self.id())
    }

    /// All that it has written since it was started last.
    pub fn output(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Ends it and all of its children with SIGKILL, as a lost machine would; waits until all are gone.
    pub async fn kill(&mut self) -> Result<(), StoreError> {
        self.guard = None;
        let family = self.stopped_family()?;
        for &member in &family {
            send(member, Signal::SIGKILL);
        }
        self.process.wait(LIMIT).await?;
        let begun = Instant::now();
        while family.iter().any(|&member| runs(member)) && begun.elapsed() < LIMIT {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Stops it and all of its children with SIGSTOP: connections stay, nothing answers.
    pub fn pause(&mut self) -> Result<(), StoreError> {
        self.stopped_family().map(drop)
    }

    /// Lets it go on after a [`pause`](Self::pause).
    pub fn resume(&mut self) -> Result<(), StoreError> {
        for child in children_of(self.process.id()) {
            send(child, Signal::SIGCONT);
        }
        Ok(self.process.signal(Signal::SIGCONT)?)
    }

    /// Has it read its configuration again.
    pub(super) fn reload(&mut self) -> Result<(), StoreError> {
        Ok(self.process.signal(Signal::SIGHUP)?)
    }

    /// Ends it orderly, without waiting for clients.
    pub async fn stop(&mut self) -> Result<(), StoreError> {
        self.guard = None;
        self.process.signal(self.launch.ending)?;
        self.resume()?;
        self.process.wait(LIMIT).await?;
        Ok(())
    }

    /// Starts it again on the same port with the same folder, after ending it if it runs; waits until it
    /// says that it serves.
    pub async fn restart(&mut self) -> Result<(), StoreError> {
        if self.process.status()?.is_none() {
            self.stop().await?;
        }
        let begun = Instant::now();
        let (process, guard) = loop {
            match spawn(&self.launch).await {
                Err(StoreError::PortTaken(_)) if begun.elapsed() < PORT_LIMIT => {
                    tokio::time::sleep(POLL).await;
                }
                started => break started?,
            }
        };
        self.process = process;
        self.guard = Some(guard);
        Ok(())
    }

    /// The server first, so that it has no more children once they are listed.
    fn stopped_family(&mut self) -> Result<Vec<u32>, StoreError> {
        self.process.signal(Signal::SIGSTOP)?;
        let id = self.process.id();
        let begun = Instant::now();
        // The signal is on its way; a parent that still runs might have another child.
        while state_and_parent(id).is_some_and(|(state, _)| !"TZ".contains(state))
            && begun.elapsed() < LIMIT
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut family = vec![id];
        for child in children_of(id) {
            send(child, Signal::SIGSTOP);
            family.push(child);
        }
        Ok(family)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.guard = None;
        // The process itself waits for the end, and kills what does not come to one.
        let _ = self.process.signal(self.launch.abandoning);
        let _ = self.resume();
    }
}

async fn spawn(launch: &Launch) -> Result<(Process, Guard), StoreError> {
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", &launch.folder)
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&launch.folder);
    launch.account.run(&mut command);
    let mut process = Process::start_command(command)?;
    let guard = Guard::of(process.id(), launch.abandoning, &launch.folder)?;
    let said = process.line("that it serves", LIMIT, |line| {
        line.contains(launch.ready).then_some(())
    });
    match said.await {
        Ok(()) => Ok((process, guard)),
        Err(ProcessError::Ended { program, .. }) => {
            drop(guard);
            let output = format!("{}{}", process.stdout(), process.stderr());
            if TAKEN.iter().any(|taken| output.contains(taken)) {
                return Err(StoreError::PortTaken(launch.address.port()));
            }
            Err(StoreError::Ended { program, output })
        }
        Err(error) => {
            drop(guard);
            Err(error.into())
        }
    }
}

fn send(id: u32, signal: Signal) {
    // What is gone needs no signal.
    let _ = signal::kill(Pid::from_raw(id.cast_signed()), signal);
}

/// Whether a process is there and more than a line in the system's table.
fn runs(id: u32) -> bool {
    state_and_parent(id).is_some_and(|(state, _)| state != 'Z')
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&id| state_and_parent(id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// From `/proc/ID/stat`, whose second field, the name in parentheses, may contain anything.
fn state_and_parent(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
