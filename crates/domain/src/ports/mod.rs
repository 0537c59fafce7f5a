//! What the rules need from outside, as traits, each with an in-memory version.

mod announcements;
mod block_store;
mod breaker_board;
mod cache_store;
mod dependency;
mod grant_store;
mod idempotency;
mod key_store;
mod limit_store;
mod pin_store;
mod registry_store;
mod rendezvous;
mod replay_store;
mod secret_states;
mod session_store;
mod upstream_session_store;

pub use announcements::{
    AnnouncementState, AnnouncementTally, Announcements, Hear, Heard, KindTally,
    MemoryAnnouncements, MemoryReplica,
};
pub use block_store::{BlockStore, BlockStoreError, MemoryBlockStore};
pub use breaker_board::{BreakerBoard, BreakerNews, Decision, NoBoard, Posted};
pub use cache_store::{CacheFound, CacheStore, MemoryCacheStore};
pub use dependency::Dependency;
pub use grant_store::{GrantStore, GrantStoreError, MemoryGrantStore};
pub use idempotency::{Claim, IdempotencyError, IdempotencyStore, MemoryIdempotencyStore};
pub use key_store::{KeyStore, KeyStoreError, MemoryKeyStore};
pub use limit_store::{
    Due, LeasedLimitStore, Leases, LimitStore, LimitsKey, MemoryLimitStore, Tracked,
};
pub use pin_store::{MemoryPinStore, PinStore, PinStoreError};
pub use registry_store::{MemoryRegistryStore, RegistryStore, RegistryStoreError};
pub use rendezvous::{
    Guests, LONGEST_GREETING, Line, MemoryRendezvous, MemoryVenue, NotMet, Rendezvous,
    WAITING_MESSAGES,
};
pub use replay_store::{MemoryReplayStore, ProofId, ReplayStore, ReplayStoreError};
pub use secret_states::{NoSecrets, SecretState, SecretStates};
pub use session_store::{
    LiveSessions, MemorySessionStore, SESSION_VALID_FOR, SessionState, SessionStore, StoreError,
};
pub use upstream_session_store::{
    KeptSession, MemoryUpstreamSessionStore, SessionTerms, SessionsUnknown, UpstreamSessionStore,
};
