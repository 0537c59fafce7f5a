use std::sync::Arc;

/// Who calls: a user, an agent or a workload.
///
/// Sessions, upstream sessions, sealed tokens and parked requests are bound to the
/// [`Principal::id`]: none of one principal is ever used for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    id: Arc<str>,
}

impl Principal {
    /// The principal of a gateway without authentication: everyone is the same one.
    pub fn anonymous() -> Self {
        Self {
            id: Arc::from("anonymous"),
        }
    }

    /// A stable identifier, unique over all principals.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same identifier, for keeping.
    pub fn shared_id(&self) -> Arc<str> {
        self.id.clone()
    }
}
