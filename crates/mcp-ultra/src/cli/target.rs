//! `--target`: the server that a command speaks to.

use crate::{
    cli::exit::Failure,
    client::{Target, Transport},
};

/// Where a gateway listens that was started without configuration.
pub(crate) const DEFAULT_TARGET: &str = "http://127.0.0.1:8080/mcp";

/// The option, for commands that speak to a running server.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// MCP endpoint to speak to
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_TARGET", default_value = DEFAULT_TARGET)]
    pub(crate) target: String,
}

impl TargetArgs {
    /// The endpoint, checked.
    pub(crate) fn parse(&self) -> Result<Target, Failure> {
        Target::parse(&self.target).map_err(Failure::usage)
    }

    /// The HTTP client for the endpoint.
    pub(crate) fn transport(&self) -> Result<Transport, Failure> {
        Transport::new(self.parse()?).map_err(Failure::failed)
    }
}
