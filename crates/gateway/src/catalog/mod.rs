//! Keeps the catalog: one keeper an upstream reads its lists, and again when they change; what
//! they find is merged into a new snapshot.

mod board;
mod calm;
mod keeper;
mod lending;
mod read;

pub(crate) use board::{Board, Unread};
pub(crate) use keeper::Keepers;
