//! The binary, run as a user runs it, against a small MCP server in this process.

mod cli;
mod cli_smoke;
mod cli_tools;
mod server;
