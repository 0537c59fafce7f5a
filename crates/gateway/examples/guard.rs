//! What the tests of the stdio upstream start: a guard, and a gateway that can be killed.
//!
//! - `guard __guard -- COMMAND ARGS…` is what the gateway's hidden subcommand does.
//! - `guard hold COMMAND ARGS…` starts the command as a stdio upstream, prints `ready` once it has
//!   sent its first line, and then waits to be killed.
//! - `guard runtime COMMAND ARGS…` does the same but drops the runtime with the upstream running,
//!   prints `dropped` and waits.
//! - `guard many N` starts and ends N upstreams in every way and then looks for what is left.
//!
//! `HOLD_NAME` and `HOLD_ENV` give a variable to what `hold` and `runtime` start.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use mcp_ultra_gateway::upstream::stdio::{StdioProcess, StdioSpec, guard};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    match first.to_str() {
        Some(guard::SUBCOMMAND) => match guard::GuardArgs::parse(args) {
            Ok(args) => guard::run(args),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        },
        Some(mode @ ("hold" | "runtime")) => match hold(mode == "hold", args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        Some("many") => match many(args.next()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("use: guard __guard … | hold COMMAND ARGS… | runtime COMMAND ARGS… | many N");
            ExitCode::from(2)
        }
    }
}

fn hold(
    forever: bool,
    mut args: impl Iterator<Item = OsString>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut spec = StdioSpec::new("held", args.next().ok_or("no command")?);
    spec.args = args.collect();
    if let (Some(name), Some(value)) = (std::env::var_os("HOLD_NAME"), std::env::var_os("HOLD_ENV"))
    {
        spec.env.push((name, value));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (writer, mut reader, handle) = StdioProcess::spawn(&spec)?.split();
        reader
            .next()
            .await
            .ok_or("the upstream ended before its first line")?;
        println!("ready");
        if forever {
            std::future::pending::<()>().await;
        }
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop((writer, reader, handle));
        });
        tokio::task::yield_now().await;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    drop(runtime);
    println!("dropped");
    std::thread::sleep(Duration::from_mins(1));
    Ok(())
}

/// Files, threads and children of this process.
fn inventory() -> std::io::Result<(usize, usize, String)> {
    let files = std::fs::read_dir("/proc/self/fd")?.count();
    let mut threads = 0;
    let mut children = String::new();
    for thread in std::fs::read_dir("/proc/self/task")?.flatten() {
        threads += 1;
        children += &std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    }
    Ok((files, threads, children))
}

fn many(count: Option<OsString>) -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = count
        .and_then(|n| n.into_string().ok())
        .ok_or("how many?")?
        .parse()?;
    // As for the init process of a container: orphans become ours, and nobody else reaps them.
    nix::sys::prctl::set_child_subreaper(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // What is made once, such as the runtime's own files, is there afterwards.
        end_in_every_way(1).await?;
        settle().await;
        let before = inventory()?;
        if !before.2.is_empty() {
            return Err(format!("children at the start: {}", before.2).into());
        }
        end_in_every_way(count).await?;
        settle().await;
        let after = inventory()?;
        if before != after {
            return Err(format!("(files, threads, children): {before:?}, then {after:?}").into());
        }
        println!("{count} upstreams, nothing left: {after:?}");
        Ok(())
    })
}

/// The threads that watch an exit end after they have announced it.
async fn settle() {
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if inventory().is_ok_and(|(_, threads, children)| threads == 1 && children.is_empty()) {
            // Tasks that read stderr hear of the exit last.
            tokio::time::sleep(Duration::from_millis(600)).await;
            return;
        }
    }
}

/// Starts all at once, then ends them by shutdown, by drop, by closing stdin and by killing the
/// guard, in turn.
async fn end_in_every_way(count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut spec = StdioSpec::new("many", "sh");
    spec.args = ["-c", "setsid sleep 1000 & echo '{}'; exec cat"]
        .map(Into::into)
        .to_vec();
    spec.term_wait = Duration::from_millis(200);
    let started: Result<Vec<_>, _> = (0..count).map(|_| StdioProcess::spawn(&spec)).collect();
    for (index, process) in started?.into_iter().enumerate() {
        let (writer, mut reader, handle) = process.split();
        reader.next().await.ok_or("no first line")?;
        let exited = handle.exited();
        match index % 4 {
            0 => {
                handle.shutdown(Duration::from_secs(5)).await;
            }
            1 => drop((writer, handle)),
            2 => {
                drop(writer);
                exited.await;
                continue;
            }
            _ => {
                let guard = nix::unistd::Pid::from_raw(handle.pid().cast_signed());
                nix::sys::signal::kill(guard, nix::sys::signal::Signal::SIGKILL)?;
                exited.await;
                continue;
            }
        }
        exited.await;
    }
    Ok(())
}
