//! What the rules need from outside, as traits, each with an in-memory version.

mod session_store;

pub use session_store::{MemorySessionStore, SessionState, SessionStore, StoreError};
