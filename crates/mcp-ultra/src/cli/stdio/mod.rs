//! `mcp-ultra stdio`: a bridge for clients that know no other transport.
//!
//! It reads messages from standard input, one a line, sends each to a running gateway over
//! streamable HTTP, and writes what comes back, one a line. It holds no conversation of its own:
//! the era of each message decides how it travels ([`bridge`]), text passes through as it is, and
//! what HTTP needs besides is made from it ([`modern`]) or kept for it ([`legacy`]).

mod bridge;
mod legacy;
mod modern;
mod output;
mod relay;
mod schemas;

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    signal::unix::{SignalKind, signal},
};

use super::{
    exit::{CommandResult, Failure},
    target::ServerArgs,
};
use bridge::Bridge;

/// How long answers are waited for once the client has closed the input. Clients wait two seconds
/// before they end the process: this, and [`GOODBYE`], are less together.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the end of the session may take.
const GOODBYE: Duration = Duration::from_millis(600);

/// Arguments of `stdio`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// The process can't be told to end.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("the signal handlers could not be set")]
struct SignalError(#[source] std::io::Error);

/// Why the bridge ends.
enum End {
    /// The client closed the input: what it asked before is still answered.
    Input,
    /// A signal, or a client that reads no more.
    Now,
}

/// Runs until the client closes the input, or a signal comes.
pub(crate) async fn run(args: Args) -> CommandResult {
    let transport = args.server.transport()?;
    let (output, written) = output::start();
    let bridge = Bridge::new(transport, output);
    let end = read(&bridge).await?;
    bridge
        .finish(matches!(end, End::Input).then_some(DRAIN), GOODBYE)
        .await;
    drop(bridge);
    // What is still to be written was waited for above; a reader that hangs is not.
    let _ = tokio::time::timeout(Duration::from_millis(300), written).await;
    Ok(())
}

async fn read(bridge: &Bridge) -> Result<End, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(SignalError(error)));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    loop {
        let read = tokio::select! {
            // A line that was read in part stays in `line`.
            read = input.read_until(b'\n', &mut line) => read,
            _ = terminate.recv() => return Ok(End::Now),
            _ = interrupt.recv() => return Ok(End::Now),
            () = bridge.closed() => return Ok(End::Now),
        };
        // An input that can't be read is as good as closed.
        if read.unwrap_or(0) == 0 {
            return Ok(End::Input);
        }
        bridge.line(std::mem::take(&mut line)).await;
    }
}
