//! Private stores: PostgreSQL and what else the gateway keeps state in, as real servers of a test's
//! own. Each has a free port on 127.0.0.1, a folder of its own, TLS under an authority of its own and
//! a password; it has answered as the user it is for when it is handed out, and it ends with the test,
//! or with the process of the test, however that ends.
//!
//! The ways in are the stores, one a file. [`Server`] is the process of each, to be killed, paused and
//! restarted. What does not live here: clients of the stores (the tools of their packages are called,
//! nothing else), and what the gateway keeps in them.
//!
//! `scripts/setup all` installs the servers; none of them is started as a service.

mod certificates;
mod error;
mod fault;
mod folder;
mod guard;
pub mod nats;
pub mod pgbouncer;
mod ports;
pub mod postgres;
pub mod redis;
mod server;
pub(crate) mod tool;

/// What other private servers are started by.
pub(crate) mod private {
    pub(crate) use super::{
        folder::{Account, Folder},
        ports::on_a_free_port,
        server::Launch,
    };
}

pub use error::StoreError;
pub use fault::Fault;
pub use nats::Nats;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use redis::Redis;
pub use server::Server;

/// The password of every user that these servers are made with. They are on loopback, for as long as
/// a test takes.
pub const PASSWORD: &str = "password-of-a-test";
