//! `mcp-ultra quickstart`: what the environment sets, and what its flags set above that.

use std::{net::TcpListener, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    time::timeout,
};

use crate::cli::{Run, command, finish};

const SOON: Duration = Duration::from_secs(20);

/// Three people, each with a key, see three catalogs of the demo server.
#[tokio::test(flavor = "multi_thread")]
async fn with_access_three_people_see_three_catalogs() {
    let mut command = command(&["quickstart", "--access", "--port", "0"]);
    let mut child = command.spawn().unwrap();
    let mut screen = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut endpoint, mut keys) = (String::new(), Vec::new());
    let reading = async {
        while let Some(line) = screen.next_line().await.unwrap() {
            let line = line.trim();
            if let Some(url) = line.strip_prefix("endpoint") {
                url.trim().clone_into(&mut endpoint);
            }
            if let Some(rest) = line.strip_prefix("MCP_ULTRA_TOKEN=") {
                keys.push(rest.split(' ').next().unwrap().to_owned());
            }
            if keys.len() == 3 {
                return;
            }
        }
        panic!("not three keys on the screen");
    };
    timeout(SOON, reading).await.unwrap();
    let mut seen = Vec::new();
    for key in &keys {
        let mut list = self::command(&["tools", "list", "--json", "--target", &endpoint]);
        list.env("MCP_ULTRA_TOKEN", key);
        let run = finish(list).await;
        assert_eq!(run.code, 0, "{}", run.err);
        let has = |name: &str| run.out.contains(&format!("\"{name}\""));
        seen.push(
            [
                "get_order",
                "get_customer",
                "update_address",
                "export_customers",
            ]
            .map(has),
        );
    }
    assert_eq!(
        seen,
        [
            [true, true, true, false],
            [true, false, false, false],
            [true, true, true, true],
        ]
    );
    let list = ["tools", "list", "--target", &endpoint];
    assert_eq!(finish(self::command(&list)).await.code, 1, "without a key");
    stop(child).await;
}

/// A quickstart and the endpoint that its screen names.
async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> (Child, String) {
    let mut command = command(&[&["quickstart"], arguments].concat());
    command.envs(environment.iter().copied());
    let mut child = command.spawn().unwrap();
    let mut screen = BufReader::new(child.stdout.take().unwrap()).lines();
    let endpoint = async {
        while let Some(line) = screen.next_line().await.unwrap() {
            if let Some(url) = line.trim().strip_prefix("endpoint") {
                return url.trim().to_owned();
            }
        }
        panic!("no endpoint on the screen");
    };
    let endpoint = timeout(SOON, endpoint).await.unwrap();
    (child, endpoint)
}

/// Stops it as Ctrl-C does. Returns what it logged.
async fn stop(child: Child) -> String {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    let output = timeout(SOON, child.wait_with_output()).await.unwrap();
    let output = output.unwrap();
    let logged = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{logged}");
    logged
}

async fn status(endpoint: &str, path: &str) -> u16 {
    let url = endpoint.replace("/mcp", path);
    let client = mcp_ultra_testkit::raw::Client::new(url);
    client
        .get(http::HeaderMap::new())
        .await
        .unwrap()
        .status
        .as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_read_as_serve_reads_it() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let environment = [
        ("MCP_ULTRA_SERVER_PORT", &*port),
        ("MCP_ULTRA_SERVER_METRICS", "false"),
        ("MCP_ULTRA_LOG_LEVEL", "info"),
        ("MCP_ULTRA_LOG_FORMAT", "json"),
        ("MCP_ULTRA_CONFIG", "nowhere.yaml"),
    ];
    let (child, endpoint) = start(&[], &environment).await;
    assert_eq!(endpoint, format!("http://127.0.0.1:{port}/mcp"));
    assert_eq!(status(&endpoint, "/metrics").await, 404);
    let logged = stop(child).await;
    assert!(logged.contains(r#""level":"INFO""#), "{logged}");
    assert!(logged.contains("reads no configuration file"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_above_the_environment() {
    let environment = [
        ("MCP_ULTRA_SERVER_PORT", "no port"),
        ("MCP_ULTRA_LOG_LEVEL", "error"),
    ];
    let (child, endpoint) = start(&["--port", "0", "--verbose"], &environment).await;
    assert_eq!(status(&endpoint, "/metrics").await, 200);
    let logged = stop(child).await;
    assert!(logged.contains("INFO"), "{logged}");

    let (child, _) = start(&["--port", "0"], &[]).await;
    let logged = stop(child).await;
    assert!(!logged.contains("INFO"), "quiet by itself: {logged}");
}

#[tokio::test]
async fn a_variable_that_makes_no_sense_is_a_fault_of_the_configuration() {
    let mut command = command(&["quickstart"]);
    command.env("MCP_ULTRA_SERVER_PORT", "no port");
    let run: Run = finish(command).await;
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("MCP_ULTRA_SERVER_PORT"), "{}", run.err);
}
