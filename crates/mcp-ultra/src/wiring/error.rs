use std::net::SocketAddr;

use mcp_ultra_backends::redis::RedisError;
use mcp_ultra_domain::{
    flags::FlagErrors,
    policy::PolicyErrors,
    ports::{BlockStoreError, RegistryStoreError},
};
use mcp_ultra_edge::{identity::NoSanPattern, outbound::OutboundConfigError, tls::TlsError};
use mcp_ultra_gateway::GatewayError;

use super::{candidate::CandidateError, messaging, pinning, storage};

/// Why the gateway can't run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ServeError {
    /// The address can't be listened on.
    #[error("{address} can't be listened on: {source}")]
    #[diagnostic(help(
        "another program may use the port, or the address is not of this machine; choose another with --port or server.port (0 takes any free one)"
    ))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The client towards upstreams can't be set up.
    #[error("the HTTP client for upstreams can't be set up")]
    Outbound(#[from] OutboundConfigError),
    /// The files of `server.tls` can't be used.
    #[error("TLS can't be spoken: {0}")]
    #[diagnostic(help("check the files that server.tls names"))]
    Tls(#[from] TlsError),
    /// A rule of `auth.certificates` is none.
    #[error("auth.certificates can't be used: {0}")]
    Certificates(#[from] NoSanPattern),
    /// The client towards identity providers can't be set up.
    #[error("the HTTP client for the issuers of auth.issuers can't be set up")]
    #[diagnostic(help("check auth.ca_file"))]
    Issuers(#[source] OutboundConfigError),
    /// The policies can't be used.
    #[error("the policies of policy.files can't be used: {0}")]
    #[diagnostic(help("`mcp-ultra policy check FILE…` checks them without a gateway"))]
    Policy(#[from] PolicyErrors),
    /// The feature flags can't be used.
    #[error("the flags of flags.files can't be used: {0}")]
    #[diagnostic(help("`mcp-ultra flags check FILE…` checks them without a gateway"))]
    Flags(#[from] FlagErrors),
    /// The lock file of tools can't be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    LockFile(#[from] pinning::LockError),
    /// The database can't be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Storage(#[from] storage::StorageError),
    /// The Redis of `storage.redis` can't even be tried.
    #[error("storage.redis can't be used: {0}")]
    #[diagnostic(help("check the files that storage.redis.tls names"))]
    Redis(#[from] RedisError),
    /// NATS can't be used as it is configured.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Messaging(#[from] messaging::MessagingError),
    /// It was told to stop before there was anything to stop.
    #[error("stopped by {0} before it served anything")]
    StoppedStarting(&'static str),
    /// The registry can't be read.
    #[error(transparent)]
    #[diagnostic(help("check what storage names, and who may read it"))]
    RegistryStore(#[from] RegistryStoreError),
    /// What the registry has can't be used together with the file.
    #[error("the configuration can't be used with what is in the registry: {0}")]
    #[diagnostic(help(
        "what is called registry/… is in the registry: change the file so that it goes with it, or take it out by the admin API of a gateway that still runs; with registry.enabled: false the gateway starts without it"
    ))]
    Registry(String),
    /// Who is blocked can't be read.
    #[error(transparent)]
    #[diagnostic(help("check what storage names, and who may read it"))]
    Blocks(#[from] BlockStoreError),
    /// The configuration can't be used.
    #[error("the configuration can't be used: {0}")]
    Gateway(#[from] GatewayError),
    /// The system refused a signal handler, a thread or a poller.
    #[error("the process could not be set up: {0}")]
    System(#[source] std::io::Error),
}

impl From<CandidateError> for ServeError {
    fn from(error: CandidateError) -> Self {
        match error {
            error if error.is_of_registry() => Self::Registry(error.to_string()),
            CandidateError::Config(error) => Self::Registry(error.to_string()),
            CandidateError::Flags(error) => error.into(),
            CandidateError::Policies(error) => error.into(),
            CandidateError::LockFile(error) => error.into(),
        }
    }
}
