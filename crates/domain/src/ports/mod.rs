//! What the rules need from outside, as traits, each with an in-memory version.

mod key_store;
mod limit_store;
mod replay_store;
mod session_store;

pub use key_store::{KeyStore, KeyStoreError, MemoryKeyStore};
pub use limit_store::{LimitStore, MemoryLimitStore, Tracked};
pub use replay_store::{MemoryReplayStore, ProofId, ReplayStore, ReplayStoreError};
pub use session_store::{MemorySessionStore, SessionState, SessionStore, StoreError};
