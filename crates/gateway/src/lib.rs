//! The data plane: carries an MCP call from a client to an upstream and back.

pub mod upstream;
