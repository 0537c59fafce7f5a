//! The sections of the configuration, one a file: fields, defaults and limits of each.
//!
//! A doc comment on a field is its description in the JSON Schema and in the reference. The
//! defaults are the `Default` impls and nowhere else. What a type can't say is checked by the
//! section's `check`, which reports to `crate::validate::Findings`.

mod admin;
mod auth;
mod breaker;
mod cache;
mod catalog;
mod connect;
mod environment;
mod extension;
mod flags;
mod limits;
mod log;
mod messaging;
mod outbound;
mod pinning;
mod policy;
mod production;
mod registry;
mod retry;
mod secrets;
mod server;
mod servers;
mod session;
mod storage;

pub use admin::AdminSection;
pub use auth::{
    ApiKeysSettings, AuthSection, CallerKind, CertificateRule, ClaimPaths, DpopSettings, Issuer,
    JwksSettings, SigningAlgorithm,
};
pub use breaker::BreakerSection;
pub use cache::{CacheSection, CacheTtls, ServerCacheSection};
pub use catalog::CatalogSection;
pub use connect::{ConnectSection, Login};
pub use environment::Environment;
pub use extension::Extension;
pub use flags::FlagsSection;
pub use limits::{
    ConcurrencySection, LimitMatch, LimitOverride, LimitsSection, OverriddenRates, QuotasSection,
    RatesSection,
};
pub use log::{LogFormat, LogLevel, LogSection};
pub use messaging::{MessagingSection, NatsSettings, NatsTls};
pub use outbound::OutboundSection;
pub use pinning::{PinningMode, PinningSection};
pub use policy::{ClassifiedNames, DataClass, PolicySection};
pub use registry::RegistrySection;
pub use retry::RetrySection;
pub use secrets::{AppRole, KubernetesLogin, SecretsSection, VaultSettings};
pub use server::{
    ClientAuth, CorsSection, Names, ServerSection, Shutdown, Terminator, TlsSection, TlsVersion,
    host_matches, split_port,
};
pub use servers::{
    CatalogCredentials, CatalogLender, ClientAuthMethod, CredentialsKind, CredentialsSection, Era,
    Prefix, ResourceIndicator, Restart, Transport, Upstream, UpstreamTls,
};
pub(crate) use servers::{is_header_name, is_name, is_own_header};
pub use session::{SealingKey, SessionSection};
pub use storage::{
    PostgresOwner, PostgresPool, PostgresServer, PostgresSettings, PostgresTls, RedisSentinel,
    RedisServer, RedisSettings, RedisTls, StorageSection,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{error::Warning, period::Period, validate::Findings};

/// The configuration of an MCP Ultra gateway.
///
/// Every key may be left out. `Config::default()` is a working gateway without servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "MCP Ultra configuration")]
pub struct Config {
    /// Where this gateway runs; decides a few defaults, such as how long it drains.
    pub environment: Environment,
    /// The address it listens on, who may reach it there, and how it stops.
    pub server: ServerSection,
    /// Who may call, and how callers show who they are.
    pub auth: AuthSection,
    /// Where secrets are that are written as `${secret:NAME}`.
    pub secrets: SecretsSection,
    /// The admin API.
    pub admin: AdminSection,
    /// How people connect servers to their accounts there.
    pub connect: ConnectSection,
    /// What callers may do.
    pub policy: PolicySection,
    /// What is switched on and off while the gateway runs.
    pub flags: FlagsSection,
    /// Servers, policies and flags that are changed while the gateway runs.
    pub registry: RegistrySection,
    /// What is done about definitions of tools that nobody has agreed to.
    pub pinning: PinningSection,
    /// Where what must outlive the gateway is kept.
    pub storage: StorageSection,
    /// How several gateways tell each other what has changed.
    pub messaging: MessagingSection,
    /// What is written to the log.
    pub log: LogSection,
    /// Upper bounds on what clients and servers may use.
    pub limits: LimitsSection,
    /// When a server that keeps failing is left alone for a while. A server may have a section of
    /// its own.
    pub breaker: BreakerSection,
    /// Which calls are made again when a server fails them.
    pub retry: RetrySection,
    /// Which answers are given again without asking the server. A server may have a section of its
    /// own.
    pub cache: CacheSection,
    /// Sessions of clients that speak 2025-11-25 or earlier.
    pub session: SessionSection,
    /// Where the gateway may connect to.
    pub outbound: OutboundSection,
    /// The merged list of tools, resources and prompts.
    pub catalog: CatalogSection,
    /// Extensions of the protocol that pass through, for servers that do not say otherwise.
    pub extensions: Vec<Extension>,
    /// The MCP servers behind the gateway.
    pub servers: Vec<Upstream>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            environment: Environment::default(),
            server: ServerSection::default(),
            auth: AuthSection::default(),
            secrets: SecretsSection::default(),
            admin: AdminSection::default(),
            connect: ConnectSection::default(),
            policy: PolicySection::default(),
            flags: FlagsSection::default(),
            registry: RegistrySection::default(),
            pinning: PinningSection::default(),
            storage: StorageSection::default(),
            messaging: MessagingSection::default(),
            log: LogSection::default(),
            limits: LimitsSection::default(),
            breaker: BreakerSection::default(),
            retry: RetrySection::default(),
            cache: CacheSection::default(),
            session: SessionSection::default(),
            outbound: OutboundSection::default(),
            catalog: CatalogSection::default(),
            extensions: Extension::ALL.to_vec(),
            servers: Vec::new(),
        }
    }
}

impl Config {
    /// This configuration with one server more.
    pub fn with_server(mut self, server: Upstream) -> Self {
        self.servers.push(server);
        self
    }

    /// The servers that are switched on.
    pub fn enabled_servers(&self) -> impl Iterator<Item = &Upstream> {
        self.servers.iter().filter(|server| server.enabled)
    }

    /// How long the gateway still accepts work after SIGTERM: as configured, else nothing in
    /// development and 5 s elsewhere, the time load balancers need to notice.
    pub fn drain_delay(&self) -> Period {
        self.server
            .shutdown
            .drain_delay
            .unwrap_or(match self.environment {
                Environment::Development => Period::from_secs(0),
                Environment::Staging | Environment::Production => Period::from_secs(5),
            })
    }

    /// The total deadline of a call to `server`: its own, else the general one.
    pub fn call_timeout(&self, server: &Upstream) -> Period {
        server.timeout.unwrap_or(self.limits.call_timeout)
    }

    /// When `server` is left alone for a while: as its own section says, else the general one.
    pub fn breaker<'a>(&'a self, server: &'a Upstream) -> &'a BreakerSection {
        server.breaker.as_ref().unwrap_or(&self.breaker)
    }

    /// What is kept of `server`'s answers: as its own section says, else the general one.
    pub fn cache(&self, server: &Upstream) -> CacheSection {
        self.cache.for_server(server.cache.as_ref())
    }

    /// What is done about definitions of `server`'s tools that nobody has agreed to: its own, else
    /// the general one.
    pub fn pinning_mode(&self, server: &Upstream) -> PinningMode {
        server.pinning.unwrap_or(self.pinning.mode)
    }

    /// The extensions that may pass between clients and `server`.
    pub fn extensions<'a>(&'a self, server: &'a Upstream) -> &'a [Extension] {
        server.extensions.as_deref().unwrap_or(&self.extensions)
    }

    /// What keys are kept in must outlive the gateway.
    /// What is no reason to stop, and an operator should know.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        servers::warnings(&self.servers)
    }

    fn check_api_keys(&self, findings: &mut Findings) {
        if self.auth.api_keys.enabled && !self.storage.is_on() {
            findings.report(
                "auth.api_keys",
                "API keys need a place where they are kept",
                storage::NAME_ONE,
            );
        }
    }

    /// Nobody unknown administers anything.
    fn check_admin(&self, findings: &mut Findings) {
        if self.admin.port.is_none() {
            return;
        }
        if !self.auth.is_on() {
            findings.report(
                "admin.port",
                "the admin API needs authentication, which is missing",
                "configure auth, for a start with auth.api_keys.enabled",
            );
        }
        let server = &self.server;
        if !self.admin.host.is_loopback()
            && !server.tls.is_on()
            && server.tls_terminated_by.is_none()
        {
            findings.report(
                "admin.host",
                "credentials of administrators would cross the network in the clear",
                "listen on 127.0.0.1, or configure server.tls, or say in server.tls_terminated_by what speaks TLS in front of it",
            );
        }
        if !self.storage.is_on() {
            findings.report(
                "admin.port",
                "the admin API needs a place where things are kept",
                storage::NAME_ONE,
            );
        }
    }

    /// What people grant is theirs alone, and must outlive the gateway.
    fn check_connect(&self, findings: &mut Findings) {
        let issuers: Vec<&str> = self.auth.issuers.iter().map(|one| &*one.issuer).collect();
        self.connect.check(&issuers, findings);
        let needs = |server: &(usize, &Upstream)| {
            let credentials = server.1.credentials.as_ref();
            server.1.enabled
                && credentials.is_some_and(|one| one.kind == CredentialsKind::AuthorizationCode)
        };
        let Some((index, _)) = self.servers.iter().enumerate().find(needs) else {
            return;
        };
        let resource = self.auth.resource.as_deref();
        self.connect.check_host(resource, &self.server, findings);
        let at = format!("servers[{index}].credentials.kind");
        if self.connect.logins.is_empty() {
            findings.report(
                &at,
                "nobody can grant access who can't log in",
                "name in connect.logins the client that the gateway is at one of auth.issuers",
            );
        }
        if !self.storage.is_on() {
            findings.report(
                &at,
                "what people grant needs a place where it is kept",
                storage::NAME_ONE,
            );
        }
        if self.storage.keys.is_empty() {
            findings.report(
                &at,
                "the tokens that people grant are kept encrypted, and there is no key",
                "set storage.keys: [{ id: first, secret: ${secret:NAME} }]; make the secret with: openssl rand -base64 32",
            );
        }
    }

    fn check_certificates(&self, findings: &mut Findings) {
        if !self.auth.certificates.is_empty() && self.server.tls.client_auth == ClientAuth::None {
            findings.report(
                "auth.certificates",
                "no client is asked for a certificate, so none could be known by it",
                "set server.tls.client_auth to optional or required, and server.tls.client_ca",
            );
        }
    }

    /// Checks what the types can't say.
    pub(crate) fn check(&self, findings: &mut Findings) {
        self.server.check(findings);
        self.secrets.check(findings);
        self.auth.check(findings);
        self.policy.check(findings);
        self.flags.check(findings);
        self.storage.check(findings);
        self.messaging.check(findings);
        RegistrySection::check(self, findings);
        PinningSection::check(self, findings);
        self.admin.check(findings);
        self.check_admin(findings);
        self.check_connect(findings);
        self.check_api_keys(findings);
        self.limits.check(findings);
        self.breaker.check("breaker", findings);
        self.retry.check(findings);
        self.cache.check(findings);
        self.session.check(findings);
        OutboundSection::check(self, findings);
        self.catalog.check(findings);
        extension::check(&self.extensions, "extensions", findings);
        servers::check(&self.servers, findings);
        self.check_certificates(findings);
        production::check(self, findings);
    }
}

/// A bound written in this crate; zero, which none is, becomes one.
pub(crate) const fn nonzero(number: u32) -> std::num::NonZeroU32 {
    match std::num::NonZeroU32::new(number) {
        Some(number) => number,
        None => std::num::NonZeroU32::MIN,
    }
}
