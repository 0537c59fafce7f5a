//! The MCP Ultra binary.
//!
//! [`cli`] holds the commands, one file each, and the exit codes; [`client`] the MCP client that
//! the commands which speak to a running server use. What the gateway does is in the library
//! crates.

mod cli;
mod client;
mod demo;
mod wiring;

use std::process::ExitCode;

use mcp_ultra_gateway::upstream::stdio::guard;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments
        .next()
        .is_some_and(|first| first == guard::SUBCOMMAND)
    {
        // Not for users, and before anything that starts a thread.
        return match guard::GuardArgs::parse(arguments) {
            Ok(arguments) => guard::run(arguments),
            Err(error) => {
                eprintln!("mcp-ultra {}: {error}", guard::SUBCOMMAND);
                cli::Exit::Usage.into()
            }
        };
    }
    keep_pages_small();
    cli::run()
}

/// The allocator asks for huge pages where the system gives them on demand. Each takes 2 MiB as soon as a
/// byte of it is used, so that a gateway with little to do takes nearly 15 MB more than it uses.
/// What it starts (`guard`) is not told to do without.
fn keep_pages_small() {
    // Where that can't be said, they are what the system makes of them.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}
