//! The MCP Ultra binary.

fn main() {}
