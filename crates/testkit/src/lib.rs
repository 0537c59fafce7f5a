//! Only for tests: fixture upstreams, raw MCP clients, private processes, load.
//!
//! Nothing of the product may depend on this crate, except as a `dev-dependency`.

pub mod fixture;
