//! The demo MCP server, `mcp-ultra demo-server`: a small customer service of invented Brazilian
//! people to try a gateway on.
//!
//! It speaks both eras of the protocol, over stdio ([`serve_stdio`]) and over streamable HTTP on
//! loopback ([`serve_http`]). All data is synthetic, comes from `data.json`, and lives in memory:
//! a restart forgets every change. No answer depends on the clock.
//!
//! The way of a request: a transport (`stdio`, `http`) reads the message, `era` tells who is
//! calling, `dispatch` finds the method, and `tools`, `resources`, `prompts` and `completion`
//! hold the content. `session` is what only legacy callers have, `listen` what only modern ones
//! have, and `elicit` asks a person in either era.
//!
//! What does not live here: anything of the gateway. The two share the protocol crate only.

mod call;
mod completion;
mod data;
mod dispatch;
mod elicit;
mod era;
mod events;
mod http;
mod in_flight;
mod lines;
mod listen;
mod prompts;
mod resources;
mod server;
mod session;
mod stdio;
mod tools;

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Why the demo server could not start or go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum DemoError {
    /// The data that is compiled in can't be read.
    #[error("the demo data could not be read")]
    #[diagnostic(help("this is a fault of the build: build or install mcp-ultra again"))]
    Data(#[from] serde_json::Error),
    /// The system gave no randomness for the key of cursors and confirmations.
    #[error("the demo server could not make a key")]
    #[diagnostic(help("check that the system has a random source (/dev/urandom)"))]
    Key(#[from] mcp_ultra_protocol::seal::KeyError),
    /// Reading from stdin or writing to stdout failed.
    #[error("the demo server lost its client")]
    #[diagnostic(help("check whether the program that started it has ended"))]
    Stdio(#[source] io::Error),
    /// The address can be reached by others.
    #[error("{0} is not a loopback address")]
    #[diagnostic(help(
        "the demo server asks nobody who they are: use 127.0.0.1:{}",
        .0.port()
    ))]
    NotLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("the demo server can't listen on {address}")]
    #[diagnostic(help("choose another address, or port 0 for any free port"))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Accepting connections failed, or signals can't be heard.
    #[error("the demo server had to stop")]
    #[diagnostic(help("check the limit on open files (ulimit -n)"))]
    Http(#[source] io::Error),
}

/// Serves one client over stdin and stdout, until stdin ends.
pub(crate) async fn serve_stdio() -> Result<(), DemoError> {
    let server = server::Server::new()?;
    stdio::serve(server, tokio::io::stdin(), tokio::io::stdout())
        .await
        .map_err(DemoError::Stdio)
}

/// Serves any number of clients over streamable HTTP at `http://ADDRESS/mcp`, until SIGINT or
/// SIGTERM. Once it listens it writes the URL to stdout, on a line of its own: with port 0 that
/// is how to learn the port.
pub(crate) async fn serve_http(address: SocketAddr) -> Result<(), DemoError> {
    http::check(address)?;
    let server = server::Server::new()?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Http)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Http)?;
    let failed = |source| DemoError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    // Nobody may be reading stdout: that is no reason not to serve.
    let _ = writeln!(io::stdout(), "http://{bound}/mcp");
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    http::serve(server, listener, stop).await
}
