//! The binary, run as a user runs it, against a small MCP server in this process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute and would forbid it to what they call"
)]

mod chaos;
mod cli;
mod cli_config;
mod cli_connect;
mod cli_flags;
mod cli_policy;
mod cli_quickstart;
mod cli_smoke;
mod cli_stdio;
mod cli_tools;
#[cfg(feature = "real-clients")]
mod conformance;
#[cfg(feature = "real-clients")]
mod conformance_client;
mod demo_http;
mod demo_judge;
mod demo_legacy;
mod demo_modern;
mod demo_stdio;
mod fleet;
mod gateway_admin;
mod gateway_admin_actions;
mod gateway_admin_policy;
mod gateway_announced;
mod gateway_asking;
mod gateway_blocks;
mod gateway_breaker;
mod gateway_breaker_admin;
mod gateway_breaker_dependencies;
mod gateway_breaker_shared;
mod gateway_cache;
mod gateway_connect;
mod gateway_connect_ended;
mod gateway_connect_scopes;
mod gateway_credentials;
mod gateway_cut_off;
mod gateway_ending;
mod gateway_eras;
mod gateway_federation;
mod gateway_flags;
mod gateway_flags_reload;
mod gateway_grants;
mod gateway_hostile_client;
mod gateway_hostile_tokens;
mod gateway_hostile_upstream;
mod gateway_identity;
mod gateway_identity_dpop;
mod gateway_keys;
mod gateway_limits;
mod gateway_limits_shared;
mod gateway_listen;
mod gateway_listen_anew;
mod gateway_lost;
mod gateway_mutated;
#[cfg(feature = "real-clients")]
mod gateway_openbao;
#[cfg(feature = "real-clients")]
mod gateway_openbao_tls;
mod gateway_operations;
mod gateway_passing;
mod gateway_pinning;
mod gateway_pinning_admin;
mod gateway_pinning_forget;
mod gateway_policy;
mod gateway_policy_later;
mod gateway_policy_login;
mod gateway_policy_templates;
mod gateway_postgres;
mod gateway_rates;
mod gateway_rates_subscriptions;
mod gateway_recovery;
mod gateway_redis;
mod gateway_registry;
mod gateway_renewed;
mod gateway_replicas;
mod gateway_retry;
mod gateway_rig;
mod gateway_round_trips;
mod gateway_secrets;
mod gateway_sessions;
mod gateway_sessions_admin;
mod gateway_sessions_of_one;
mod gateway_stdio;
mod gateway_tenants;
mod gateway_tls;
mod gateway_unheard;
mod gateway_upstream_sessions;
#[cfg(feature = "real-clients")]
mod real_clients;
#[cfg(feature = "real-clients")]
mod real_clients_exchange;
#[cfg(feature = "real-clients")]
mod real_clients_installed;
#[cfg(feature = "real-clients")]
mod real_clients_login;
#[cfg(feature = "real-clients")]
mod real_connect;
mod reference;
mod server;
