//! Stdio upstreams: messages in both directions, and what breaks on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mcp_ultra_gateway::upstream::stdio::{
    GarbageReason, ProcessExit, SendError, SpawnError, StdioEvent, StdioProcess, StdioReader,
    StdioSpec,
};
use tokio::time::timeout;

/// Long enough for anything that is going to happen at all on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The example `guard`, which Cargo builds together with the tests.
pub(crate) fn guard_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/guard");
    assert!(
        path.exists(),
        "{} is missing: cargo build --example guard",
        path.display()
    );
    path
}

/// `sh -c SCRIPT` with short waits, so that a test of the end does not take seconds.
pub(crate) fn shell(script: &str) -> StdioSpec {
    command("sh", &["-c", script])
}

pub(crate) fn command(command: &str, args: &[&str]) -> StdioSpec {
    StdioSpec {
        guard_program: guard_program(),
        args: args.iter().map(Into::into).collect(),
        grace: Duration::from_millis(300),
        term_wait: Duration::from_millis(300),
        ..StdioSpec::new("test", command)
    }
}

pub(crate) async fn next(reader: &mut StdioReader) -> Option<StdioEvent> {
    timeout(SOON, reader.next())
        .await
        .expect("the upstream says nothing")
}

pub(crate) async fn message(reader: &mut StdioReader) -> Bytes {
    match next(reader).await {
        Some(StdioEvent::Message(line)) => line,
        other => panic!("no message but {other:?}"),
    }
}

async fn garbage(reader: &mut StdioReader) -> (GarbageReason, String) {
    match next(reader).await {
        Some(StdioEvent::Garbage(garbage)) => (garbage.reason, garbage.preview),
        other => panic!("no garbage but {other:?}"),
    }
}

#[tokio::test]
async fn messages_come_back_in_order() {
    let (writer, mut reader, handle) = StdioProcess::spawn(&command("cat", &[])).unwrap().split();
    for n in 0..1000 {
        writer
            .send_line(format!("{{\"n\":{n}}}").into())
            .await
            .unwrap();
    }
    for n in 0..1000 {
        assert_eq!(message(&mut reader).await, format!("{{\"n\":{n}}}"));
    }
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(0));
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(writer.send_line("{}".into()).await, Err(SendError::Closed));
}

#[tokio::test]
async fn large_messages_pass_unchanged() {
    let (writer, mut reader, handle) = StdioProcess::spawn(&command("cat", &[])).unwrap().split();
    // Larger than every pipe and than the queue.
    for size in [1 << 20, 5 << 20] {
        let line = Bytes::from(format!("{{\"text\":\"{}\"}}", "ã".repeat(size / 2)));
        let sent = writer.send_line(line.clone());
        let (sent, received) = tokio::join!(sent, message(&mut reader));
        sent.unwrap();
        assert!(received == line, "{size} bytes changed on the way");
    }
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(0));
}

#[tokio::test]
async fn servers_in_python_and_node_are_reached() {
    let python = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)";
    let node = "process.stdin.pipe(process.stdout)";
    for spec in [
        command("python3", &["-c", python]),
        command("node", &["-e", node]),
    ] {
        let (writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
        writer.send_line("{\"a\":1}".into()).await.unwrap();
        match next(&mut reader).await {
            Some(event) => assert_eq!(event, StdioEvent::Message("{\"a\":1}".into())),
            // Not installed here.
            None => assert_eq!(handle.exited().await, ProcessExit::Code(127)),
        }
        handle.shutdown(SOON).await;
    }
}

#[tokio::test]
async fn a_line_over_the_limit_is_skipped() {
    let mut spec = shell(
        r#"head -c 3000000 /dev/zero | tr '\0' x; echo; echo '{"a":1}'; printf '{"b":"%0990d"}\r\n' 0; cat"#,
    );
    spec.max_line_bytes = 1000;
    let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    let Some(StdioEvent::TooLong { limit, beginning }) = next(&mut reader).await else {
        panic!("a line over the limit");
    };
    assert_eq!((limit, &beginning[..3]), (1000, &b"xxx"[..]));
    assert!(beginning.len() <= 4096);
    assert_eq!(message(&mut reader).await, "{\"a\":1}");
    assert_eq!(message(&mut reader).await.len(), 998);
    handle.shutdown(SOON).await;
}

#[tokio::test]
async fn garbage_is_reported_and_not_fatal() {
    let spec = shell(
        r#"printf 'Server ready\n\n{"a":"\377"}\n[INFO] up\n{"ok":1}\r\n{"cut":'; exec cat >/dev/null"#,
    );
    let (writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
    assert_eq!(
        garbage(&mut reader).await,
        (GarbageReason::NotAnObject, "Server ready".into())
    );
    assert_eq!(garbage(&mut reader).await.0, GarbageReason::Empty);
    assert_eq!(garbage(&mut reader).await.0, GarbageReason::NotUtf8);
    assert_eq!(garbage(&mut reader).await.0, GarbageReason::NotAnObject);
    assert_eq!(message(&mut reader).await, "{\"ok\":1}");
    drop(writer);
    assert_eq!(
        garbage(&mut reader).await,
        (GarbageReason::Unterminated, "{\"cut\":".into())
    );
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(handle.exited().await, ProcessExit::Code(0));
}

#[tokio::test]
async fn a_line_break_never_gets_onto_the_line() {
    let (writer, mut reader, handle) = StdioProcess::spawn(&command("cat", &[])).unwrap().split();
    for bad in ["{\n}", "{}\n", "{}\r", "\n{}", "{\"a\":1}\r\n{\"b\":2}"] {
        let at = bad.find(['\n', '\r']).unwrap();
        assert_eq!(
            writer.send_line(bad.into()).await,
            Err(SendError::LineBreak(at))
        );
    }
    assert_eq!(writer.send_line(Bytes::new()).await, Err(SendError::Empty));
    writer.send_line("{\"only\":1}".into()).await.unwrap();
    assert_eq!(message(&mut reader).await, "{\"only\":1}");
    handle.shutdown(SOON).await;
    assert_eq!(next(&mut reader).await, None);
}

#[tokio::test]
async fn a_server_that_does_not_read_makes_the_sender_wait() {
    let (writer, _reader, handle) = StdioProcess::spawn(&command("sleep", &["1000"]))
        .unwrap()
        .split();
    let line = Bytes::from(format!("{{\"text\":\"{}\"}}", "x".repeat(64 * 1024)));
    let mut sent = 0;
    while timeout(Duration::from_millis(300), writer.send_line(line.clone()))
        .await
        .is_ok()
    {
        sent += line.len();
        assert!(sent < 2 << 20, "{sent} bytes are waiting");
    }
    assert!(sent >= 1 << 20, "only {sent} bytes could be queued");
    // Who waits is told when the upstream ends; ending does not wait for the queue.
    let waiting = tokio::spawn(async move { writer.send_line(line).await });
    let begun = Instant::now();
    handle.shutdown(Duration::from_secs(5)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(waiting.await.unwrap(), Err(SendError::Closed));
}

#[tokio::test]
async fn what_is_queued_arrives_before_the_end() {
    let (writer, mut reader, handle) = StdioProcess::spawn(&command("cat", &[])).unwrap().split();
    for _ in 0..500 {
        writer.send_line("{\"a\":1}".into()).await.unwrap();
    }
    assert_eq!(handle.shutdown(SOON).await, ProcessExit::Code(0));
    for _ in 0..500 {
        assert_eq!(message(&mut reader).await, "{\"a\":1}");
    }
    assert_eq!(next(&mut reader).await, None);
}

#[tokio::test]
async fn a_command_that_cannot_start_is_told_from_one_that_fails() {
    for (spec, code) in [
        (command("no-such-command-of-ours", &[]), 127),
        (command("/etc/hostname/no", &[]), 126),
        (command("/etc/passwd", &[]), 126),
        (shell("exit 7"), 7),
        (shell("kill -9 $$"), 128 + 9),
    ] {
        let (_writer, mut reader, handle) = StdioProcess::spawn(&spec).unwrap().split();
        assert_eq!(next(&mut reader).await, None);
        let exit = timeout(SOON, handle.exited()).await.unwrap();
        assert_eq!(exit, ProcessExit::Code(code), "{spec:?}");
    }
    let text = ProcessExit::Code(127).to_string();
    assert!(
        text.contains("not found") && text.contains("PATH"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for cwd in [folder.path().join("missing"), file] {
        let spec = StdioSpec {
            cwd: Some(cwd.clone()),
            ..command("cat", &[])
        };
        let error = StdioProcess::spawn(&spec).unwrap_err();
        assert!(
            matches!(error, SpawnError::WorkingDirectory { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(cwd.to_str().unwrap()), "{error}");
    }
    let spec = StdioSpec {
        guard_program: "/no/such/guard".into(),
        ..command("cat", &[])
    };
    assert!(matches!(
        StdioProcess::spawn(&spec),
        Err(SpawnError::Guard { .. })
    ));
    let spec = command("cat", &["nul\0"]);
    assert!(matches!(
        StdioProcess::spawn(&spec),
        Err(SpawnError::Guard { .. })
    ));
}

#[tokio::test]
async fn directory_and_environment_are_those_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"printf '{"%s":"%s","%s":"%s"}\n' "$(pwd -P)" "$GIVEN" "$CARGO_MANIFEST_DIR" "${HOME:+home}""#;
    let mut spec = shell(script);
    spec.cwd = Some(folder.path().to_owned());
    spec.env = vec![("GIVEN".into(), "yes".into())];
    // Cargo sets it for this test: a variable of the gateway's that is nobody's business.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let (_writer, mut reader, _handle) = StdioProcess::spawn(&spec).unwrap().split();
    let real = folder.path().canonicalize().unwrap();
    let home = if std::env::var_os("HOME").is_some() {
        "home"
    } else {
        ""
    };
    let expected = format!("{{\"{}\":\"yes\",\"\":\"{home}\"}}", real.display());
    assert_eq!(message(&mut reader).await, expected);
}

/// Collects the log lines of this thread, which is the one a test's runtime runs on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "upstream.stderr" && *metadata.level() == tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(BTreeMap<String, String>);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.insert(field.name().to_owned(), format!("{value:?}"));
            }
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                self.0.insert(field.name().to_owned(), value.to_owned());
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn stderr_goes_to_the_log_in_bounds() {
    let log = Log::default();
    let _until_dropped = tracing::subscriber::set_default(log.clone());
    let script = "printf 'hello \\033[2J\\n' >&2; head -c 100000 /dev/zero | tr '\\0' y >&2; \
                  echo >&2; seq 1 5000 >&2";
    let (_writer, _reader, handle) = StdioProcess::spawn(&shell(script)).unwrap().split();
    assert_eq!(
        timeout(SOON, handle.exited()).await,
        Ok(ProcessExit::Code(0))
    );

    let dropped = |lines: &[BTreeMap<String, String>]| -> u64 {
        lines
            .iter()
            .filter_map(|line| line.get("dropped")?.parse::<u64>().ok())
            .sum()
    };
    let deadline = Instant::now() + SOON;
    let lines = loop {
        let lines = log.0.lock().unwrap().clone();
        let logged = lines
            .iter()
            .filter(|line| !line.contains_key("dropped"))
            .count() as u64;
        if logged + dropped(&lines) == 5002 || Instant::now() > deadline {
            break lines;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(lines[0]["message"], "hello \\u{1b}[2J");
    assert_eq!(lines[0]["upstream"], "test");
    assert_eq!(
        (lines[1]["message"].len(), lines[1]["cut"].as_str()),
        (8192, "true")
    );
    assert_eq!(lines[2]["message"], "1");
    // Even if the machine is so slow that it takes some seconds, most of it is dropped.
    assert!(dropped(&lines) > 2500, "{} dropped", dropped(&lines));
}
