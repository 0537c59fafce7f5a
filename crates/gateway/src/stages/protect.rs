//! Personal data in the arguments of a call.

use super::authorize::Permitted;
use crate::call::Routed;

/// What may leave the gateway. Only this stage makes one, and only of what policy has agreed to;
/// [`super::forward`] accepts nothing else.
#[derive(Debug)]
pub(crate) struct Protected<T>(T);

impl Protected<Permitted<Box<Routed>>> {
    /// What may leave.
    pub(crate) fn get(&self) -> &Routed {
        self.0.get()
    }

    #[expect(
        clippy::unnecessary_box_returns,
        reason = "it stays where it is from stage to stage"
    )]
    pub(crate) fn into_inner(self) -> Box<Routed> {
        self.0.into_inner()
    }
}

/// Without data classes configured, arguments leave as they came.
pub(crate) fn arguments(call: Permitted<Box<Routed>>) -> Protected<Permitted<Box<Routed>>> {
    Protected(call)
}
