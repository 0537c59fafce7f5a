//! Starts the fixture upstream as a process of its own, over HTTP or stdio.

use std::{fs::File, io, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use mcp_ultra_testkit::fixture::{Era, Options, http, stdio};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An MCP server with everything that the public conformance suite asks a server for.
#[derive(Parser)]
#[command(name = "fixture-upstream", version)]
struct Arguments {
    /// Address to serve streamable HTTP on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", conflicts_with = "stdio")]
    listen: SocketAddr,
    /// Serve stdin and stdout instead of HTTP
    #[arg(long)]
    stdio: bool,
    /// Append every line of stdin to this file, as it came
    #[arg(long, requires = "stdio")]
    record: Option<PathBuf>,
    /// Protocol revisions to speak
    #[arg(long, value_enum, default_value = "dual")]
    era: Era,
    /// Offer tools whose every execution is noted in this file, a line each
    #[arg(long)]
    executions: Option<PathBuf>,
    /// Name to give in `serverInfo`
    #[arg(long, default_value = "fixture-upstream")]
    name: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture-upstream: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let options = Options {
        era: arguments.era,
        name: arguments.name,
        executions: arguments.executions,
    };
    if arguments.stdio {
        let record = arguments.record.map(|path| {
            let mut file = File::options();
            file.create(true).append(true).open(path)
        });
        return stdio::serve(options, record.transpose()?).await;
    }
    let listener = TcpListener::bind(arguments.listen).await?;
    let url = http::url(listener.local_addr()?);
    println!("{}", serde_json::json!({ "listening": url }));
    http::serve(listener, options, CancellationToken::new()).await
}
