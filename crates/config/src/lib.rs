//! The configuration: one section a file, loaded from file, environment and flags, with errors
//! that name line and column.
//!
//! What lives here: the types of every section with their defaults and limits ([`sections`]), the
//! way from text to a checked [`Config`] ([`load`]), where each value came from
//! ([`Loaded::explain`]), what a reload may change ([`Changes`]), the JSON Schema ([`schema`])
//! and the import of client configurations ([`import`]).
//!
//! What does not: no network, no clock, no watching of files. The only files read are the
//! configuration itself and the secrets it names with `${file:…}`.
//!
//! The way in is [`load`]; everything before it is [`Sources`], everything after it [`Loaded`].

mod changes;
mod environment;
mod error;
mod explain;
pub mod import;
mod load;
mod nearest;
mod network;
mod node;
mod origin;
mod period;
mod quantity;
mod rate;
mod read;
mod reference;
mod registry;
mod renew;
mod schema;
mod secret;
pub mod sections;
mod size;
mod suspicion;
mod text;
mod validate;

pub use changes::Changes;
pub use environment::{CONFIG_VARIABLE, PREFIX as ENVIRONMENT_PREFIX, variables};
pub use error::{ConfigError, Problem, Warning};
pub use explain::Row;
pub use import::{ImportError, Imported, import_client_config};
pub use load::{Flag, Loaded, MissingReferences, SourceFile, Sources, load, load_str};
pub use network::Network;
pub use origin::Origin;
pub use period::Period;
pub use rate::{CountLimit, Period as RatePeriod, Rate, RateLimit};
pub use registry::RegistryServer;
pub use schema::{schema, schema_text};
pub use secret::{SECRET_VARIABLE_PREFIX, SecretName, SecretValues, SecretsPlan};
pub use sections::{
    AdminSection, ApiKeysSettings, AppRole, AuthSection, BreakerSection, CacheSection, CacheTtls,
    CallerKind, CatalogCredentials, CatalogLender, CatalogSection, CertificateRule, ClaimPaths,
    ClassifiedNames, ClientAuth, ClientAuthMethod, ConcurrencySection, Config, ConnectSection,
    CorsSection, CredentialsKind, CredentialsSection, DataClass, DpopSettings, Environment, Era,
    Extension, FlagsSection, Issuer, JwksSettings, KubernetesLogin, LimitMatch, LimitOverride,
    LimitsSection, LogFormat, LogLevel, LogSection, Login, MessagingSection, Names, NatsSettings,
    NatsTls, OutboundSection, OverriddenRates, PinningMode, PinningSection, PolicySection,
    PostgresOwner, PostgresPool, PostgresServer, PostgresSettings, PostgresTls, Prefix,
    QuotasSection, RatesSection, RedisSentinel, RedisServer, RedisSettings, RedisTls,
    RegistrySection, ResourceIndicator, Restart, RetrySection, SealingKey, SecretsSection,
    ServerCacheSection, ServerSection, SessionSection, Shutdown, SigningAlgorithm, StorageSection,
    Terminator, TlsSection, TlsVersion, Transport, Upstream, UpstreamTls, VaultSettings,
    host_matches, split_port,
};
pub use size::Size;
pub use text::{Secret, Text, UpstreamUrl};
