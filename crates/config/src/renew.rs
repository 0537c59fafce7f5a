//! Passwords of stores, which are taken over while the gateway runs: whoever rotates them wants no
//! restart for it.

use crate::{sections::Config, text::Secret};

impl Config {
    /// This configuration with the passwords of stores that `other` has, where both name the store; and
    /// the paths of those that differ.
    #[must_use]
    pub fn with_passwords_of(&self, other: &Self) -> (Self, Vec<&'static str>) {
        let mut config = self.clone();
        let mut differ = Vec::new();
        let mut take = |path, own: &mut Option<Secret>, other: &Option<Secret>| {
            if own != other {
                own.clone_from(other);
                differ.push(path);
            }
        };
        if let (Some(own), Some(other)) = (&mut config.storage.postgres, &other.storage.postgres) {
            take(
                "storage.postgres.password",
                &mut own.password,
                &other.password,
            );
        }
        if let (Some(own), Some(other)) = (&mut config.storage.redis, &other.storage.redis) {
            take("storage.redis.password", &mut own.password, &other.password);
            if let (Some(own), Some(other)) = (&mut own.sentinel, &other.sentinel) {
                let path = "storage.redis.sentinel.password";
                take(path, &mut own.password, &other.password);
            }
        }
        if let (Some(own), Some(other)) = (&mut config.messaging.nats, &other.messaging.nats) {
            let path = "messaging.nats.password";
            take(path, &mut own.password, &other.password);
            take("messaging.nats.nkey", &mut own.nkey, &other.nkey);
        }
        (config, differ)
    }
}
