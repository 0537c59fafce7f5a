//! What stands behind the gateway: one module for each way to reach an upstream MCP server.

pub mod stdio;
