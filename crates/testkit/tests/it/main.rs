//! The testkit tried on itself: its client against its servers.

#![expect(
    clippy::expect_used,
    reason = "a test says what it expects; clippy excuses only #[test] functions themselves"
)]

mod driver;
mod eras;
mod fixture_legacy;
mod fixture_modern;
mod hostile;
mod stdio;
mod stores_fault;
mod stores_nats;
mod stores_pgbouncer;
mod stores_postgres;
mod stores_redis;
mod stores_standby;
