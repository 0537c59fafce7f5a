//! Which answers may be given again, to whom, for how long, and what makes them outdated. Rules
//! alone: where answers are kept is `gateway::cache`, and for several gateways the port
//! [`CacheStore`](crate::ports::CacheStore).
//!
//! - [`Kind`]: what was asked for
//! - [`Hints`]: what the server says of an answer
//! - [`Freshness`]: how long it is good
//! - [`Tag`], [`Outdated`]: what marks answers as outdated

mod freshness;
mod hints;
mod kind;
mod tag;

pub use freshness::Freshness;
pub use hints::Hints;
pub use kind::Kind;
pub use tag::{BUCKETS, Outdated, Tag, bucket};
