//! The ports of the domain on real stores. The only crate that contains SQL or knows Redis or NATS.
//!
//! - [`nats`]: what replicas tell each other, over `JetStream`
//! - [`redis`]: what replicas share and may lose
//! - [`secrets`]: a mounted folder, the environment, the Vault API
//! - [`sql`]: relational stores; SQLite, in a file of its own, for a single gateway, or PostgreSQL for several
//!
//! Each port has one suite of contract tests (`tests/it`), which runs against every store that
//! implements it and against the in-memory version of the domain.

pub mod nats;
pub mod redis;
pub mod secrets;
pub mod sql;
mod tls_files;
