//! How much of something is too much: rates by GCRA, quotas of a day, numbers in flight.
//!
//! Here are the rules, which are arithmetic; what has been counted is kept by a
//! [`LimitStore`](crate::ports::LimitStore). Which limit holds for whom is the configuration's.

mod key;
pub mod lease;
mod place;
mod quota;
mod rate;

pub use key::{Bound, Key, Scope, client};
pub use place::Place;
pub use quota::{DayCount, day_of};
pub use rate::Rate;
