//! MCP on the wire: envelope, eras, headers, errors, names, sealed tokens. No I/O.
