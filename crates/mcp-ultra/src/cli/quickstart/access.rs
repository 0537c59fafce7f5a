//! `mcp-ultra quickstart --access`: three invented people with API keys and roles, policies, and
//! classes of data, so that each of them sees another catalog.

use std::{fmt::Write, fs, sync::Arc, time::Duration};

use mcp_ultra_backends::sql::Database;
use mcp_ultra_config::{ClassifiedNames, DataClass, Upstream};
use mcp_ultra_control::keys::{KeyError, Keys, NewKey};
use mcp_ultra_domain::{Clock, DEFAULT_TENANT, PrincipalKind, SystemClock};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::wiring::{ServeError, storage::StorageError};

const POLICIES: &str = include_str!("access.cedar");

/// What holds data of persons in the demo server.
const PERSONAL: [&str; 9] = [
    "find_customer",
    "get_customer",
    "export_customers",
    "update_address",
    "add_note",
    "notes://*",
    "customer://*",
    "summarise*",
    "*reply*",
];

/// A name, and the role of whoever bears it.
const PEOPLE: [(&str, &str); 3] = [
    ("ana", "support"),
    ("bruno", "analyst"),
    ("clara", "privacy"),
];

/// How long the keys last: a demonstration is over by then.
const LIFETIME: Duration = Duration::from_hours(24);

/// What the flag sets up. Its folder goes with it.
pub(super) struct Access {
    folder: TempDir,
    people: Vec<Person>,
}

/// Someone invented, and how they call.
struct Person {
    name: &'static str,
    role: &'static str,
    key: String,
}

impl Access {
    /// Writes the policies and makes the keys, in a folder of their own.
    pub(super) async fn prepare() -> Result<Self, ServeError> {
        let folder = tempfile::Builder::new()
            .prefix("mcp-ultra-quickstart-")
            .tempdir()
            .map_err(ServeError::System)?;
        fs::write(folder.path().join("access.cedar"), POLICIES).map_err(ServeError::System)?;
        let file = folder.path().join("keys.sqlite");
        let store = Database::open_sqlite(&file).await;
        let store = store.map_err(StorageError::File)?;
        let people = keys(&store).await;
        store.close().await;
        Ok(Self {
            folder,
            people: people?,
        })
    }

    /// The sections of the configuration that it needs.
    pub(super) fn sections(&self) -> String {
        let file = |name: &str| serde_json::json!(self.folder.path().join(name)).to_string();
        format!(
            "auth: {{ resource: \"http://127.0.0.1/mcp\", api_keys: {{ enabled: true }} }}\n\
             storage: {{ sqlite: {} }}\n\
             policy: {{ files: [{}] }}\n",
            file("keys.sqlite"),
            file("access.cedar"),
        )
    }

    /// Says what of the demo server is about persons.
    pub(super) fn classify(server: &mut Upstream) {
        server.data_classes = vec![ClassifiedNames {
            names: PERSONAL.map(str::to_owned).into(),
            class: DataClass::Personal,
        }];
    }

    /// How to call it.
    pub(super) fn how(&self, program: &str, endpoint: &str) -> String {
        let mut text = String::from(
            "Nobody without a key is answered. Three have one, valid for a day, and each sees another catalog:\n\n",
        );
        for Person { name, role, key } in &self.people {
            // A formatting error of a String does not exist.
            let _ = writeln!(
                text,
                "  {name}, {role}\n    MCP_ULTRA_TOKEN={key} {program} tools list --target {endpoint}"
            );
        }
        let policies = self.folder.path().join("access.cedar");
        let _ = writeln!(
            text,
            "\nThe policies are in {}, and are read again when you change them.",
            policies.display()
        );
        text
    }
}

async fn keys(store: &Database) -> Result<Vec<Person>, ServeError> {
    let failed = |error: KeyError| ServeError::System(std::io::Error::other(error));
    let keys = Keys::new(
        Arc::new(store.clone()),
        Arc::new(SystemClock),
        Arc::new(|_| ()),
    );
    let mut people = Vec::new();
    for (name, role) in PEOPLE {
        let new = NewKey {
            tenant: DEFAULT_TENANT.to_owned(),
            name: name.to_owned(),
            kind: PrincipalKind::User,
            roles: vec![role.to_owned()],
            scopes: Vec::new(),
            expires: Some(SystemClock.now().saturating_add(LIFETIME)),
        };
        let id = keys.new_id().map_err(failed)?;
        let made = keys.create(id, new).await.map_err(failed)?;
        people.push(Person {
            name,
            role,
            key: made.token.expose_secret().to_owned(),
        });
    }
    Ok(people)
}
