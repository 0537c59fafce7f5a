//! The MCP server that is measured through: hyper, one thread, `TCP_NODELAY`, answers prepared
//! before the first call.
//!
//! It speaks just enough of both eras (2026-07-28; 2025-11-25 with or without sessions) for a
//! gateway to find it, list it and call it. It trusts its callers: loopback only, no limits, no
//! validation beyond what routing needs. The way in is [`serve`]; what is answered to which
//! message is in [`answer`].

mod answer;
mod body;
mod catalog;

use std::{convert::Infallible, io::Write, net::Ipv4Addr, rc::Rc};

use clap::{Args as ClapArgs, ValueEnum};
use http_body_util::BodyExt;
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

use self::{answer::Answers, body::Reply};
use crate::error::{Result, io};

/// Options of `mcp-ultra-bench upstream`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// First port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Listen on this many ports (following ones, or free ones), all the same server.
    #[arg(long, default_value_t = 1)]
    ports: u16,
    /// Which protocol eras to speak.
    #[arg(long, value_enum, default_value_t = Eras::Dual)]
    era: Eras,
    /// Give legacy clients a session id, and require it afterwards.
    #[arg(long)]
    sessions: bool,
    /// Tools in the catalog besides the six that answer with a text.
    #[arg(long, default_value_t = 0)]
    tools: usize,
    /// Tools on a page of `tools/list`.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    page_size: u32,
    /// End when standard input is closed, so as not to outlive whoever started this.
    #[arg(long)]
    until_stdin_closes: bool,
}

/// The protocol eras an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Eras {
    /// 2026-07-28 only.
    Modern,
    /// 2025-11-25 only.
    Legacy,
    /// Both.
    Dual,
}

/// Listens, prints `listening PORT…` on standard output, and serves until it is ended.
pub(crate) async fn serve(args: Args) -> Result<()> {
    let answers = Rc::new(Answers::new(&args));
    let tasks = LocalSet::new();
    let mut ports = Vec::new();
    for offset in 0..args.ports {
        let port = if args.port == 0 {
            0
        } else {
            args.port.saturating_add(offset)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(io(format!("listening on 127.0.0.1:{port}")))?;
        let bound = listener
            .local_addr()
            .map_err(io("asking for the port"))?
            .port();
        ports.push(bound.to_string());
        tasks.spawn_local(accept(listener, Rc::clone(&answers)));
    }
    let mut out = std::io::stdout();
    writeln!(out, "listening {}", ports.join(" "))
        .and_then(|()| out.flush())
        .map_err(io("writing the ports"))?;
    tasks
        .run_until(async {
            if args.until_stdin_closes {
                // Any end of it, also a failing read, means that the starter has gone.
                let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
            } else {
                std::future::pending::<()>().await;
            }
        })
        .await;
    Ok(())
}

async fn accept(listener: TcpListener, answers: Rc<Answers>) {
    loop {
        // A failed accept (descriptors used up) is not worth ending the run: the client's
        // connection then times out and is counted there.
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(connection(stream, Rc::clone(&answers)));
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

async fn connection(stream: TcpStream, answers: Rc<Answers>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let answers = Rc::clone(&answers);
        async move { Ok::<_, Infallible>(respond(request, &answers).await) }
    });
    // What ends a connection (a client that left) shows at the client.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(request: Request<Incoming>, answers: &Answers) -> Response<Reply> {
    let (head, body) = request.into_parts();
    match head.method {
        Method::POST => match body.collect().await {
            Ok(body) => answers.to_message(&head.headers, &body.to_bytes()),
            Err(_) => answer::bare(http::StatusCode::BAD_REQUEST),
        },
        // The end of a session: nothing is kept of one.
        Method::DELETE => answer::bare(http::StatusCode::OK),
        _ => answer::bare(http::StatusCode::METHOD_NOT_ALLOWED),
    }
}
