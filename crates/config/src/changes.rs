//! What differs between two configurations, and what of it can be applied while running.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    explain::flatten,
    sections::{Config, Upstream},
};

/// Sections, and parts of sections, whose changes are applied without a restart.
const LIVE: [&str; 16] = [
    "cache",
    "catalog",
    "extensions",
    "flags",
    "limits.concurrency",
    "limits.overrides",
    "limits.quotas",
    "limits.rates",
    "log.level",
    "pinning",
    "policy",
    "registry.allow_stdio",
    "registry.secrets",
    "server.trusted_proxies",
    "servers",
    "session.keys",
];
/// What its keys sealed is opened for a while longer.
const KEYS: &str = "session.keys";

/// The difference between a running configuration and a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Servers that are new or newly switched on.
    pub servers_added: Vec<String>,
    /// Servers that are gone or switched off.
    pub servers_removed: Vec<String>,
    /// Servers that stay under their name but are configured differently.
    pub servers_changed: Vec<String>,
    /// Paths of other changed values that are applied at once, such as `log.level`.
    pub live: Vec<String>,
    /// Paths of changed values that only a restart applies.
    pub restart: Vec<String>,
}

impl Changes {
    /// What changes from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let (new, passwords) = new.with_passwords_of(old);
        let mut changes = Self::between_all_else(old, &new);
        changes
            .live
            .extend(passwords.into_iter().map(str::to_owned));
        changes
    }

    fn between_all_else(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        changes.compare_servers(old, new);
        for path in changed_paths(old, new) {
            let section = path.split(['.', '[']).next().unwrap_or(&path);
            if section == "servers" {
                continue;
            }
            if is_live(&path) {
                changes.live.push(path);
            } else {
                changes.restart.push(path);
            }
        }
        // Masked values look alike.
        let named = |list: &[String], path: &str| list.iter().any(|name| name.starts_with(path));
        if old.session.keys != new.session.keys && !named(&changes.live, KEYS) {
            changes.live.push(KEYS.to_owned());
        }
        let secret = "auth.jwt_secret";
        if old.auth.jwt_secret != new.auth.jwt_secret {
            changes.restart.retain(|path| path != secret);
            // Another value takes over; whether there is one at all decides who is asked.
            let both = old.auth.jwt_secret.is_some() && new.auth.jwt_secret.is_some();
            let list = if both {
                &mut changes.live
            } else {
                &mut changes.restart
            };
            list.push(secret.to_owned());
        }
        let keys = "storage.keys";
        if old.storage.keys != new.storage.keys && !named(&changes.restart, keys) {
            changes.restart.push(keys.to_owned());
        }
        let postgres = "storage.postgres";
        if old.storage.postgres != new.storage.postgres && !named(&changes.restart, postgres) {
            changes.restart.push(postgres.to_owned());
        }
        let redis = "storage.redis";
        if old.storage.redis != new.storage.redis && !named(&changes.restart, redis) {
            changes.restart.push(redis.to_owned());
        }
        let nats = "messaging.nats";
        if old.messaging != new.messaging && !named(&changes.restart, nats) {
            changes.restart.push(nats.to_owned());
        }
        // What is seen is read at start; client secrets, which are masked, are taken over.
        if old.connect != new.connect && !named(&changes.restart, "connect") {
            changes.live.push("connect.logins".to_owned());
        }
        let vault = "secrets.vault";
        if old.secrets.vault != new.secrets.vault && !named(&changes.restart, vault) {
            changes.restart.push(vault.to_owned());
        }
        changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something differs that only a restart applies.
    pub fn needs_restart(&self) -> bool {
        !self.restart.is_empty()
    }

    fn compare_servers(&mut self, old: &Config, new: &Config) {
        let by_name = |config: &'_ Config| -> BTreeMap<String, Upstream> {
            config
                .enabled_servers()
                .map(|server| (server.name.clone(), server.clone()))
                .collect()
        };
        let (before, after) = (by_name(old), by_name(new));
        self.servers_removed = before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .cloned()
            .collect();
        for (name, server) in after {
            match before.get(&name) {
                None => self.servers_added.push(name),
                Some(known) if *known != server => self.servers_changed.push(name),
                Some(_) => {}
            }
        }
    }
}

/// Whether the path is one of those that are applied at once, or below one.
fn is_live(path: &str) -> bool {
    LIVE.iter().any(|live| {
        let below = path.strip_prefix(live);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

fn changed_paths(old: &Config, new: &Config) -> Vec<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (
        flatten(old).into_iter().collect(),
        flatten(new).into_iter().collect(),
    );
    let paths: BTreeSet<String> = old
        .symmetric_difference(&new)
        .map(|(path, _)| path.clone())
        .collect();
    paths.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ClientAuthMethod, LogLevel, Login, NatsSettings, Period, PostgresSettings, SealingKey,
        Secret, sections::nonzero,
    };

    fn base() -> Config {
        Config::default()
            .with_server(Upstream::stdio("files", "npx", ["-y", "server"]))
            .with_server(Upstream::stdio("notes", "notes", ["serve"]))
    }

    #[test]
    fn nothing_changes_between_equals() {
        assert!(Changes::between(&base(), &base()).is_empty());
    }

    #[test]
    fn servers_log_level_and_catalog_need_no_restart() {
        let mut new = base();
        new.servers.remove(0);
        new.servers[0].shared = true;
        new.servers.push(Upstream::stdio("demo", "demo", [""]));
        new.log.level = LogLevel::Debug;
        new.catalog.page_size = nonzero(5);
        let changes = Changes::between(&base(), &new);
        assert_eq!(changes.servers_removed, ["files"]);
        assert_eq!(changes.servers_changed, ["notes"]);
        assert_eq!(changes.servers_added, ["demo"]);
        assert_eq!(changes.live, ["catalog.page_size", "log.level"]);
        assert!(!changes.needs_restart(), "{changes:?}");
    }

    #[test]
    fn a_port_needs_a_restart_and_a_key_does_not() {
        let mut old = base();
        let mut new = base();
        let key = |secret| SealingKey {
            id: "a".into(),
            secret: Secret::literal(secret),
        };
        old.session.keys.push(key("one"));
        new.session.keys.push(key("two"));
        new.server.port = 9;
        new.server.shutdown.drain_deadline = Period::from_secs(1);
        let changes = Changes::between(&old, &new);
        assert_eq!(
            changes.restart,
            ["server.port", "server.shutdown.drain_deadline"]
        );
        assert_eq!(changes.live, ["session.keys"]);
    }

    #[test]
    fn keys_of_the_store_and_clients_need_a_restart_and_client_secrets_do_not() {
        let with = |secret: &str| {
            let mut config = base();
            config.storage.keys.push(SealingKey {
                id: "a".into(),
                secret: Secret::literal(secret),
            });
            config.connect.logins.push(Login {
                issuer: "https://login.example.com".into(),
                client_id: "gateway".into(),
                client_secret: Secret::literal(secret),
                client_auth: ClientAuthMethod::Basic,
                timeout: Period::from_secs(10),
            });
            config
        };
        let changes = Changes::between(&with("one"), &with("two"));
        assert_eq!(changes.restart, ["storage.keys"]);
        assert_eq!(changes.live, ["connect.logins"]);
        let mut other = with("one");
        other.connect.logins[0].client_id = "web".into();
        let changes = Changes::between(&with("one"), &other);
        assert_eq!(changes.restart, ["connect.logins[0].client_id"]);
        assert!(Changes::between(&with("one"), &with("one")).is_empty());
    }

    #[test]
    fn passwords_of_stores_need_no_restart_and_what_is_beside_them_does() {
        let with = |password: &str| {
            let mut config = base();
            let mut postgres = PostgresSettings::new("db.example.com");
            postgres.password = Some(Secret::literal(password));
            config.storage.postgres = Some(postgres);
            let mut nats = NatsSettings::new(["nats.example.com"]);
            nats.nkey = Some(Secret::literal(password));
            config.messaging.nats = Some(nats);
            config
        };
        let changes = Changes::between(&with("one"), &with("two"));
        assert_eq!(
            changes.live,
            ["storage.postgres.password", "messaging.nats.nkey"]
        );
        assert!(!changes.needs_restart(), "{changes:?}");
        let mut other = with("two");
        if let Some(nats) = &mut other.messaging.nats {
            nats.user = Some("other".into());
        }
        let changes = Changes::between(&with("one"), &other);
        assert_eq!(changes.restart, ["messaging.nats.user"]);
        let changes = Changes::between(&base(), &with("two"));
        assert!(changes.live.is_empty() && changes.needs_restart());
    }

    #[test]
    fn another_jwt_secret_is_taken_over_and_a_first_one_is_not() {
        let with = |secret: &str| {
            let mut config = base();
            config.auth.jwt_secret = Some(Secret::literal(secret));
            config
        };
        let changes = Changes::between(&with("one"), &with("two"));
        assert_eq!(changes.live, ["auth.jwt_secret"]);
        assert!(!changes.needs_restart());
        let changes = Changes::between(&base(), &with("two"));
        assert_eq!(changes.restart, ["auth.jwt_secret"]);
    }

    #[test]
    fn switching_off_is_removing() {
        let mut new = base();
        new.servers[1].enabled = false;
        assert_eq!(Changes::between(&base(), &new).servers_removed, ["notes"]);
        assert_eq!(Changes::between(&new, &base()).servers_added, ["notes"]);
    }

    #[test]
    fn a_changed_secret_is_a_changed_server() {
        let (mut old, mut new) = (base(), base());
        old.servers[0]
            .env
            .insert("KEY".into(), Secret::literal("one"));
        new.servers[0]
            .env
            .insert("KEY".into(), Secret::literal("two"));
        assert_eq!(Changes::between(&old, &new).servers_changed, ["files"]);
    }
}
