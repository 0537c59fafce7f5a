//! Relational stores. Times are kept as milliseconds since the Unix epoch, sets as JSON arrays.
//!
//! Statements are plain SQL with `$1`, so that they mean the same to every engine; each is run by
//! the contract suite, which is what checks it. The migrations of an engine are in
//! `migrations/<engine>/`, are part of the program and run when a store is opened.

mod columns;
mod sqlite;

pub use sqlite::{OpenError, Sqlite};
