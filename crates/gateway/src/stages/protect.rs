//! Personal data in the arguments of a call.

use super::authorize::Permitted;
use crate::call::Routed;

/// What may leave the gateway. Only this stage makes one, and only of what policy has agreed to;
/// [`super::forward`] accepts nothing else.
#[derive(Debug)]
pub(crate) struct Protected<T>(T);

impl Protected<Permitted<Routed>> {
    pub(crate) fn into_inner(self) -> Routed {
        self.0.into_inner()
    }
}

/// Without data classes configured, arguments leave as they came.
pub(crate) fn arguments(call: Permitted<Routed>) -> Protected<Permitted<Routed>> {
    Protected(call)
}
