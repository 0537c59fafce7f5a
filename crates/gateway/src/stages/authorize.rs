//! May this principal make this call?

use crate::call::Routed;

/// What policy has agreed to. Only this stage makes one.
#[derive(Debug)]
pub(crate) struct Permitted<T>(T);

impl<T> Permitted<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

/// Without a policy every principal may call what is listed, which is why the gateway listens on
/// loopback unless it is told otherwise.
pub(crate) fn call(routed: Box<Routed>) -> Permitted<Box<Routed>> {
    Permitted(routed)
}
