//! What the gateway itself needs, besides the servers behind it.

use std::time::Duration;

use crate::breaker::{Forced, Status};

/// Something that the gateway needs and that it leaves alone while it keeps failing.
pub trait Dependency: Send + Sync {
    /// Its name in metrics and in the admin API.
    fn name(&self) -> &'static str;

    /// How its breaker is, and for how long it is open from now, where it is.
    fn breaker(&self) -> (Status, Option<Duration>);

    /// An operator decides whether it is left alone, or no more. Where it is forced closed it may still
    /// be away.
    fn force(&self, forced: Option<Forced>);
}
