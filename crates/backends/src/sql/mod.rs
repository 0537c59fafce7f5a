//! Relational stores. Times are kept as milliseconds since the Unix epoch, sets as JSON arrays.
//!
//! [`Database`] is the way in: SQLite, in a file of its own, for a single gateway and the command
//! line beside it; PostgreSQL for several. Each port is implemented once, in `stores/`, for both:
//! statements are plain SQL with `$1` that means the same to both engines, and each is run on both
//! by the contract suite, which is what checks it. What the engines do differently (how a
//! transaction begins, who waits for whom, whose rows are seen) is below `transaction`.
//!
//! The tables are made by [`migrations`]; those of SQLite when it is opened, those of PostgreSQL by
//! `mcp-ultra migrate`.

mod columns;
mod database;
mod error;
pub mod migrations;
mod postgres;
mod row;
mod sqlite;
mod stores;
mod text;
mod transaction;
mod value;

pub use database::Database;
pub use error::OpenError;
