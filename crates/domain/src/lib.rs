//! Rules without I/O: principals, catalog, limits, clock, and the ports to what is outside.
//!
//! [`ports`] are the traits of what the rules need from outside, each with an in-memory version;
//! real stores implement them elsewhere. Nothing here opens a socket, reads a file or asks the
//! operating system for the time.

mod announcement;
mod api_key;
mod authorization;
mod block;
pub mod breaker;
pub mod cache;
pub mod catalog;
mod clock;
pub mod flags;
mod grant;
pub mod limits;
pub mod pinning;
pub mod policy;
pub mod ports;
mod principal;
pub mod registry;
pub mod retry;
pub mod scan;

pub use announcement::{Announcement, holder};
pub use api_key::{API_KEY_ISSUER, ApiKey, KeyEnded, KeySecret, MOST_SECRETS};
pub use authorization::AuthorizationDetail;
pub use block::Block;
pub use clock::{Clock, ManualClock, SystemClock};
pub use grant::Grant;
pub use principal::{Attributes, DEFAULT_TENANT, Login, Principal, PrincipalKind, Withdrawal};
