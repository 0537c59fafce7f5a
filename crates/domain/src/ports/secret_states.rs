use std::{sync::Arc, time::Duration};

/// How a secret is doing. Never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretState {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long ago it was last read from where it comes from.
    pub read_ago: Duration,
    /// It could not be read since: its last value is in use.
    pub failing: bool,
}

/// What is known of the secrets that the gateway uses, for metrics.
pub trait SecretStates: Send + Sync {
    /// All of them.
    fn states(&self) -> Vec<SecretState>;
}

/// No secrets, as where the configuration refers to none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl SecretStates for NoSecrets {
    fn states(&self) -> Vec<SecretState> {
        Vec::new()
    }
}
