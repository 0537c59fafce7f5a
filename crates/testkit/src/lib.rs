//! Only for tests: fixture upstreams, raw MCP clients, private processes, load.
