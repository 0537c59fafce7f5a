use std::{fmt, sync::Arc};

use crate::ports::LimitStore;

/// A place among what may happen at the same time; given back when dropped.
pub struct Place {
    store: Arc<dyn LimitStore>,
    id: u64,
}

impl Place {
    /// A place that `store` has given out under `id`.
    pub fn new(store: Arc<dyn LimitStore>, id: u64) -> Self {
        Self { store, id }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.store.leave(self.id);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}
