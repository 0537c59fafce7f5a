//! The ports of the domain on a [`Database`](super::Database), one a file.
//!
//! What a reader of these should have in mind is PostgreSQL: a transaction that writes sees what
//! others have committed before each of its statements (read committed). So either one statement
//! decides and writes (compare and set, `ON CONFLICT`), or `Transaction::lock` comes first. Rows
//! are changed in one order everywhere, so that nobody waits for each other.

mod api_keys;
mod blocks;
mod grants;
mod idempotency;
mod registry;
mod tool_pins;
