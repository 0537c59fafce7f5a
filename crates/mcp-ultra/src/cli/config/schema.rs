//! `mcp-ultra config schema`.

use crate::cli::exit::{CommandResult, print};

/// Prints the schema.
pub(super) fn run() -> CommandResult {
    print(mcp_ultra_config::schema_text().trim_end())
}
