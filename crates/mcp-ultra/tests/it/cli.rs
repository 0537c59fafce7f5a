//! How the binary is run here, and what holds for all commands.

use std::process::{Output, Stdio};

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A command of the binary, without the environment of the one who runs the tests.
pub(crate) fn command(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-ultra"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Where `make coverage` wants its counts; without it they land in the working folder.
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    command
}

/// Runs the binary to its end.
pub(crate) async fn run(arguments: &[&str]) -> Run {
    finish(command(arguments)).await
}

/// Runs a command to its end, within a time.
pub(crate) async fn finish(mut command: tokio::process::Command) -> Run {
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), command.output());
    output.await.expect("the binary ends").unwrap().into()
}

#[tokio::test]
async fn version_names_commit_and_target() {
    let run = run(&["--version"]).await;
    assert_eq!(run.code, 0);
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        run.out
            .starts_with(&format!("mcp-ultra {version} (commit ")),
        "{}",
        run.out
    );
    assert!(run.out.contains(std::env::consts::ARCH), "{}", run.out);
}

#[tokio::test]
async fn wrong_usage_is_exit_code_two() {
    for arguments in [
        &["no-such-command"][..],
        &["smoke", "--timeout", "soon"],
        &["smoke", "--target", "ftp://x/"],
        &["smoke", "--target", "http://ana:segredo@127.0.0.1/mcp"],
        &["smoke", "--tool", "echo", "--arguments", "[]"],
        &[
            "tools",
            "call",
            "echo",
            "--arguments",
            "{",
            "--target",
            "http://127.0.0.1:1/mcp",
        ],
        &[
            "tools",
            "call",
            "echo",
            "--arg",
            "novalue",
            "--target",
            "http://127.0.0.1:1/mcp",
        ],
        &["completions", "no-shell"],
    ] {
        let run = run(arguments).await;
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        assert!(
            !run.err.is_empty() && !run.err.contains("segredo"),
            "{arguments:?}: {}",
            run.err
        );
    }
}

#[tokio::test]
async fn completions_are_written_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = run(&["completions", shell]).await;
        assert_eq!(run.code, 0, "{shell}: {}", run.err);
        assert!(run.out.contains("smoke"), "{shell}");
    }
}

#[tokio::test]
async fn the_hidden_guard_runs_a_command_and_passes_its_exit_code_on() {
    let guarded = run(&["__guard", "--", "sh", "-c", "cat; exit 7"]).await;
    assert_eq!(guarded.code, 7, "{}", guarded.err);
    assert_eq!(run(&["__guard", "true"]).await.code, 2);
    assert!(!run(&["--help"]).await.out.contains("__guard"));
}
