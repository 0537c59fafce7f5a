//! The MCP Ultra binary.
//!
//! [`cli`] holds the commands, one file each, and the exit codes; [`client`] the MCP client that
//! the commands which speak to a running server use. What the gateway does is in the library
//! crates.

mod cli;
mod client;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
