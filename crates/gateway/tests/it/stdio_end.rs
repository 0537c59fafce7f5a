//! However a stdio upstream, its guard or the gateway ends: no process is left.
//!
//! Every process of a test carries an environment variable of its own, by which all of them are
//! found, wherever in the process tree they are.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcp_ultra_gateway::upstream::stdio::{ProcessExit, StdioProcess, StdioSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use super::stdio::{SOON, command, guard_program, message, next, shell};

/// What the issue promises after a SIGKILL of the gateway.
const PROMISED: Duration = Duration::from_secs(5);

/// A server that leaves processes wherever it can: in its group, in a session of its own, and in
/// one whose parent has ended, all of them deaf to SIGTERM; then says that it is up.
const BREEDER: &str = r#"trap '' TERM
sleep 1000 &
setsid sleep 1000 &
(setsid sh -c 'sleep 1000 & exec sleep 1000' &)
sleep 0.2
echo '{"up":1}'
"#;
const BRED: usize = 4;

/// Processes by the variable that a test has given them; what is left at its end is killed.
struct Tree(String);

impl Tree {
    fn new(test: &str) -> Self {
        Self(format!("STDIO_END_TEST={test}-{}", std::process::id()))
    }

    fn variable(&self) -> (std::ffi::OsString, std::ffi::OsString) {
        let (name, value) = self.0.split_once('=').unwrap();
        (name.into(), value.into())
    }

    fn mark(&self, mut spec: StdioSpec) -> StdioSpec {
        spec.env.push(self.variable());
        spec
    }

    fn pids(&self) -> Vec<i32> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|all| all.split(|b| *b == 0).any(|one| one == self.0.as_bytes()))
        })
        .collect()
    }

    /// Whether there are as many processes soon: a shell says that it has started one before that
    /// one is what it will be.
    fn grows_to(&self, count: usize) -> bool {
        let deadline = Instant::now() + SOON;
        while self.pids().len() < count {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    fn assert_gone(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.pids().is_empty() {
            assert!(
                Instant::now() < deadline,
                "{} left: {:?}",
                self.0,
                self.pids()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Zombies included.
async fn assert_reaped(pid: u32) {
    let deadline = Instant::now() + SOON;
    while exists(pid) {
        assert!(Instant::now() < deadline, "the guard {pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs the example as a gateway of its own and waits for what it prints.
fn helper(tree: &Tree, mode: &str, args: &[&str], until: &str) -> Child {
    let (name, value) = tree.variable();
    let mut helper = Command::new(guard_program())
        .arg(mode)
        .args(args)
        .env("HOLD_ENV", &value)
        .env("HOLD_NAME", &name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines();
    while lines.next().expect("the helper has ended").unwrap() != until {}
    helper
}

fn children_of(pid: u32) -> String {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten();
    threads
        .filter_map(|one| std::fs::read_to_string(one.path().join("children")).ok())
        .collect()
}

#[tokio::test]
async fn shutdown_ends_all_that_ignore_it() {
    let tree = Tree::new("ignore");
    // Reads nothing, so the end of stdin means nothing to it either.
    let spec = tree.mark(shell(&format!("{BREEDER}while :; do sleep 1; done")));
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    assert!(tree.pids().len() >= BRED + 2, "{:?}", tree.pids());
    let guard = handle.pid();
    let begun = Instant::now();
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(128 + 9));
    assert!(
        begun.elapsed() >= Duration::from_millis(600),
        "no step was left out"
    );
    tree.assert_gone(Duration::ZERO);
    assert!(!exists(guard), "a zombie is left");
    assert_eq!(next(&mut reader).await, None);
}

#[tokio::test]
async fn a_server_that_ends_on_sigterm_is_not_killed() {
    let tree = Tree::new("term");
    let script = r"trap 'exit 9' TERM; echo '{}'; while :; do sleep 0.1; done";
    let (_writer, mut reader, handle) = StdioProcess::spawn(&tree.mark(shell(script)))
        .unwrap()
        .split();
    message(&mut reader).await;
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(9));
    tree.assert_gone(Duration::ZERO);
}

#[tokio::test]
async fn a_process_in_a_session_of_its_own_gets_sigterm_too() {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new("session");
    let script = r#"
        setsid sh -c 'trap "echo > told; exit" TERM; echo "{}"; while :; do sleep 0.05; done' &
        exec sleep 1000"#;
    let mut spec = tree.mark(shell(script));
    spec.cwd = Some(folder.path().to_owned());
    spec.term_wait = SOON;
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    handle.shutdown(SOON).await;
    tree.assert_gone(Duration::ZERO);
    assert!(folder.path().join("told").exists());
}

#[tokio::test]
async fn dropping_ends_everything_at_once() {
    let tree = Tree::new("drop");
    let mut spec = tree.mark(shell(&format!("{BREEDER}exec cat")));
    // None of the waits applies.
    (spec.grace, spec.term_wait) = (Duration::from_mins(1), Duration::from_mins(1));
    let (writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    let (guard, exited) = (handle.pid(), handle.exited());
    drop(handle);
    assert_eq!(timeout(SOON, exited).await, Ok(ProcessExit::Code(128 + 9)));
    tree.assert_gone(Duration::ZERO);
    assert_reaped(guard).await;
    drop(writer);
}

#[tokio::test]
async fn closing_the_writer_asks_the_server_to_end() {
    let tree = Tree::new("writer");
    let spec = tree.mark(shell(&format!("{BREEDER}cat; exit 4")));
    let (writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    drop(writer);
    assert_eq!(
        timeout(SOON, handle.exited()).await,
        Ok(ProcessExit::Code(4))
    );
    tree.assert_gone(Duration::ZERO);
}

#[tokio::test]
async fn what_a_server_leaves_behind_is_ended() {
    let tree = Tree::new("behind");
    let spec = tree.mark(shell(&format!("{BREEDER}exit 3")));
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    assert_eq!(
        timeout(SOON, handle.exited()).await,
        Ok(ProcessExit::Code(3))
    );
    tree.assert_gone(Duration::ZERO);
}

#[tokio::test]
async fn a_server_that_closes_stdout_is_noticed() {
    let tree = Tree::new("stdout");
    let spec = tree.mark(shell("echo '{}'; exec sleep 1000 >&-"));
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(handle.exit_status(), None);
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(128 + 15));
    tree.assert_gone(Duration::ZERO);
}

#[tokio::test]
async fn a_server_that_closes_stdin_is_ended() {
    let tree = Tree::new("stdin");
    let spec = tree.mark(shell("exec sleep 1000 <&-"));
    let (_writer, _reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    assert_eq!(
        timeout(SOON, handle.exited()).await,
        Ok(ProcessExit::Code(128 + 15))
    );
    tree.assert_gone(Duration::ZERO);
}

#[tokio::test]
async fn a_killed_guard_leaves_nothing() {
    let tree = Tree::new("guard");
    let spec = tree.mark(shell(&format!("{BREEDER}exec sleep 1000")));
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    kill(Pid::from_raw(handle.pid().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(
        timeout(SOON, handle.exited()).await,
        Ok(ProcessExit::GuardKilled(9))
    );
    tree.assert_gone(Duration::ZERO);
    assert_eq!(next(&mut reader).await, None);
}

#[tokio::test]
async fn a_stopped_guard_does_not_hold_up_the_end() {
    let tree = Tree::new("stopped");
    let spec = tree.mark(shell(&format!("{BREEDER}exec sleep 1000")));
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    message(&mut reader).await;
    kill(Pid::from_raw(handle.pid().cast_signed()), Signal::SIGSTOP).unwrap();
    let exit = handle.shutdown(Duration::from_millis(100)).await;
    assert_eq!(exit, ProcessExit::GuardKilled(9));
    tree.assert_gone(Duration::ZERO);
}

#[test]
fn a_killed_gateway_leaves_nothing() {
    for server in ["exec cat", "exec sleep 1000"] {
        let tree = Tree::new("gateway");
        let script = format!("{BREEDER}{server}");
        let mut helper = helper(&tree, "hold", &["sh", "-c", &script], "ready");
        let grown = tree.grows_to(BRED + 2);
        helper.kill().unwrap();
        helper.wait().unwrap();
        assert!(grown, "the server has not started all its processes");
        tree.assert_gone(PROMISED);
    }
}

#[test]
fn a_dropped_runtime_leaves_nothing() {
    let tree = Tree::new("runtime");
    let script = format!("{BREEDER}exec sleep 1000");
    let mut helper = helper(&tree, "runtime", &["sh", "-c", &script], "dropped");
    tree.assert_gone(PROMISED);
    let deadline = Instant::now() + SOON;
    while !children_of(helper.id()).is_empty() {
        assert!(
            Instant::now() < deadline,
            "zombies: {}",
            children_of(helper.id())
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    helper.kill().unwrap();
    helper.wait().unwrap();
}

/// In a process of its own, because files and children of this one belong to all tests.
#[test]
fn fifty_upstreams_leave_no_zombie_no_file_and_no_thread() {
    let output = Command::new(guard_program())
        .args(["many", "50"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("50 upstreams, nothing left"), "{text}");
}

#[test]
fn the_guard_ends_in_order_on_a_signal() {
    for (signal, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 143),
        (Signal::SIGQUIT, 137),
    ] {
        let tree = Tree::new("signal");
        let mut guard = Command::new(guard_program())
            .args([
                "__guard",
                "--grace-ms",
                "100",
                "--",
                "sh",
                "-c",
                "echo up; exec sleep 1000",
            ])
            .envs([tree.variable()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(guard.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let _stdin = guard.stdin.take();
        kill(Pid::from_raw(guard.id().cast_signed()), signal).unwrap();
        assert_eq!(guard.wait().unwrap().code(), Some(code), "{signal}");
        tree.assert_gone(Duration::ZERO);
    }
}

#[test]
fn the_guard_says_in_one_line_why_it_cannot_start_a_command() {
    let run = |args: &[&str]| {
        let output = Command::new(guard_program()).args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, text) = run(&["__guard", "--", "no-such-command-of-ours"]);
    assert_eq!(code, Some(127));
    assert_eq!(
        text,
        "mcp-ultra guard: can't start no-such-command-of-ours: \
         No such file or directory (os error 2)\n"
    );
    let (code, text) = run(&["__guard", "--", "/etc/passwd"]);
    assert_eq!((code, text.lines().count()), (Some(126), 1), "{text}");
    assert_eq!(run(&["__guard", "cat"]).0, Some(2));
}

/// What the guard does for a `command` in the foreground of a terminal or a script.
#[test]
fn the_guard_passes_input_and_output_through() {
    let spec = command("cat", &[]);
    let mut guard = Command::new(&spec.guard_program)
        .args(["__guard", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = vec![b'x'; 3_000_000];
    let mut stdin = guard.stdin.take().unwrap();
    let sent = text.clone();
    // Closed at the end: what is still in the pipes must arrive.
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &sent).unwrap());
    let output = guard.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert!(
        output.stdout == text,
        "{} of {} bytes",
        output.stdout.len(),
        text.len()
    );
}

/// User and system time in ticks of 10 ms (proc(5), fields 14 and 15 of stat).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn the_guard_waits_without_spinning() {
    let mut guard = Command::new(guard_program())
        .args(["__guard", "--grace-ms", "1500", "--", "sleep", "1000"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // More than the server's pipe and the guard's buffer take, less than with the guard's pipe:
    // the guard is left with input that it can neither pass on nor forget.
    let mut stdin = guard.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &vec![b'x'; 170_000]).unwrap();
    drop(stdin);
    std::thread::sleep(Duration::from_secs(1));
    let ticks = cpu_ticks(guard.id());
    assert_eq!(guard.wait().unwrap().code(), Some(128 + 15));
    assert!(ticks < 15, "{ticks} ticks in a second of waiting");
}
