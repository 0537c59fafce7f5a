//! Which limit holds for whom ([`Rules`]), and what is said when one is reached ([`Exceeded`]);
//! and the places that all tenants have together ([`CallPlaces`]).
//!
//! What has been counted is in a [`LimitStore`](mcp_ultra_domain::ports::LimitStore). Limits are
//! asked for in three places: `http::guard`, `stages::admit` and `stages::meter`.

mod exceeded;
mod places;
mod rules;

pub(crate) use exceeded::Exceeded;
pub(crate) use places::{CallPlace, CallPlaces, NoPlace};
pub(crate) use rules::{Rules, Subject};
