//! What `--version` says.

/// Version, commit and build target.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("MCP_ULTRA_BUILD_COMMIT"),
    ", ",
    env!("MCP_ULTRA_BUILD_TARGET"),
    ")"
);
