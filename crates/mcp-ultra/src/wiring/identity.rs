//! From the section `auth` to what identifies callers.

use std::{path::PathBuf, sync::Arc};

use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{AuthSection, CallerKind, ClaimPaths, Config, Period, SigningAlgorithm};
use mcp_ultra_domain::{Clock, DEFAULT_TENANT, PrincipalKind};
use mcp_ultra_edge::{
    identity::{
        self, Algorithm, ApiKeySettings, CertificateRule, DpopSettings, Identity, IdentitySettings,
        IssuerSettings, KeyTimes, NoSanPattern,
    },
    outbound::{Outbound, OutboundConfig, OutboundConfigError},
};

use super::shared::Shared;

/// What identifies callers, where `auth` asks for it. Issuers are spoken to over a client of its
/// own, made by `outbound`: they have authorities of their own.
pub(super) fn identity(
    config: &Config,
    outbound: OutboundConfig,
    certificates: Vec<CertificateRule>,
    clock: Arc<dyn Clock>,
    storage: Option<&Database>,
    shared: &Shared,
) -> Result<Option<Identity>, OutboundConfigError> {
    let auth = &config.auth;
    let Some(resource) = auth.resource.clone().filter(|_| auth.is_on()) else {
        return Ok(None);
    };
    let outbound = Outbound::new(&OutboundConfig {
        extra_ca_file: auth.ca_file.as_ref().map(PathBuf::from),
        pool_max_idle_per_host: 1,
        ..outbound
    })?;
    let mut settings = settings(auth, resource, shared);
    settings.certificates = certificates;
    settings.api_keys = storage
        .filter(|_| auth.api_keys.enabled)
        .map(|store| ApiKeySettings {
            store: Arc::new(store.clone()),
            recheck: auth.api_keys.recheck.get(),
            max_age: auth.api_keys.max_age.get(),
        });
    let identity = Identity::new(settings, &outbound, clock);
    Ok(Some(match storage {
        Some(store) => identity.with_blocks(Arc::new(store.clone())),
        None => identity,
    }))
}

/// Who clients are by their certificates.
pub(super) fn certificates(auth: &AuthSection) -> Result<Vec<CertificateRule>, NoSanPattern> {
    let rule = |rule: &mcp_ultra_config::CertificateRule| {
        Ok(CertificateRule {
            san: rule.san.parse()?,
            kind: match rule.kind {
                CallerKind::User => PrincipalKind::User,
                CallerKind::Agent => PrincipalKind::Agent,
                CallerKind::Workload => PrincipalKind::Workload,
            },
            tenant: rule
                .tenant
                .clone()
                .unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            roles: rule.roles.clone(),
            scopes: rule.scopes.clone(),
        })
    };
    auth.certificates.iter().map(rule).collect()
}

fn settings(auth: &AuthSection, resource: String, shared: &Shared) -> IdentitySettings {
    let issuers = auth.issuers.iter().map(|issuer| IssuerSettings {
        issuer: issuer.issuer.clone(),
        audiences: issuer.audiences.clone(),
        jwks_uri: issuer.jwks_uri.clone(),
        algorithms: issuer.algorithms.iter().copied().map(algorithm).collect(),
        claims: paths(auth.claims_of(&issuer.issuer)),
    });
    let secret = auth
        .jwt_secret
        .as_ref()
        .map(|secret| identity::SharedSecret {
            secret: secret.expose().as_bytes().to_vec(),
            issuer: auth.jwt_issuer.clone(),
            claims: paths(&auth.claims),
        });
    IdentitySettings {
        resource,
        issuers: issuers.collect(),
        secret,
        api_keys: None,
        certificates: Vec::new(),
        required_scopes: auth.required_scopes.clone(),
        login: identity::LoginRule {
            acr_values: auth.acr_values.clone(),
            max_age: auth.max_age.map(Period::get),
        },
        supported_scopes: auth
            .scopes_supported
            .clone()
            .unwrap_or_else(|| auth.required_scopes.clone()),
        clock_skew: auth.clock_skew.get(),
        times: KeyTimes {
            refresh: auth.jwks.refresh.get(),
            max_age: auth.jwks.max_age.get(),
            retry: auth.jwks.retry.get(),
            timeout: auth.jwks.timeout.get(),
        },
        cached_tokens: usize::try_from(auth.cached_tokens.get()).unwrap_or(usize::MAX),
        dpop: DpopSettings {
            required: auth.dpop.required,
            max_age: auth.dpop.max_age.get(),
            used: shared.used(
                "proof",
                usize::try_from(auth.dpop.max_proofs.get()).unwrap_or(usize::MAX),
            ),
        },
    }
}

/// Where claims are, in the words of `edge`.
pub(crate) fn paths(claims: &ClaimPaths) -> identity::ClaimPaths {
    let ClaimPaths {
        tenant,
        roles,
        scopes,
        kind,
    } = claims.clone();
    identity::ClaimPaths {
        tenant,
        roles,
        scopes,
        kind,
    }
}

fn algorithm(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
        SigningAlgorithm::Rs384 => Algorithm::Rs384,
        SigningAlgorithm::Rs512 => Algorithm::Rs512,
        SigningAlgorithm::Ps256 => Algorithm::Ps256,
        SigningAlgorithm::Ps384 => Algorithm::Ps384,
        SigningAlgorithm::Ps512 => Algorithm::Ps512,
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Es384 => Algorithm::Es384,
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
    }
}
