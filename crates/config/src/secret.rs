//! `${secret:NAME}`: which secrets a configuration needs, and the values it is loaded with.
//!
//! This crate does not read them: [`SecretsPlan::of`] says which there are and where to look,
//! whoever loads the configuration fetches them and hands them over in
//! [`Sources::secrets`](crate::Sources).

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    error::ConfigError,
    load::{MissingReferences, Sources, findings_problems, merged, refused_problems},
    node::{Node, Value},
    read::read,
    reference::{Lookup, Part, parts},
    sections::SecretsSection,
    validate::Findings,
};

/// What the variables with secrets begin with: `crm#token` is `MCP_ULTRA_SECRET_CRM_TOKEN`.
pub const SECRET_VARIABLE_PREFIX: &str = "MCP_ULTRA_SECRET_";

/// The longest name of a secret.
const LONGEST_NAME: usize = 200;

/// The values of secrets by name. Debug shows none of them.
#[derive(Clone, Debug, Default)]
pub struct SecretValues(BTreeMap<SecretName, Result<SecretString, String>>);

impl SecretValues {
    /// Adds a value.
    pub fn insert(&mut self, name: SecretName, value: SecretString) {
        self.0.insert(name, Ok(value));
    }

    /// Says why there is no value.
    pub fn insert_missing(&mut self, name: SecretName, why: String) {
        self.0.insert(name, Err(why));
    }

    pub(crate) fn get(&self, name: &SecretName) -> Option<Result<&str, &str>> {
        let value = self.0.get(name)?.as_ref();
        Some(
            value
                .map(ExposeSecret::expose_secret)
                .map_err(String::as_str),
        )
    }
}

/// The name of a secret: a path, and perhaps a key in what is there, such as `teams/crm#token`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    path: String,
    key: Option<String>,
}

impl SecretName {
    /// Reads a name. Paths never lead upwards.
    pub fn parse(text: &str) -> Option<Self> {
        let (path, key) = match text.split_once('#') {
            Some((path, key)) => (path, Some(key)),
            None => (text, None),
        };
        let key_fits = key.is_none_or(is_segment);
        (text.len() <= LONGEST_NAME && is_path(path) && key_fits).then(|| Self {
            path: path.to_owned(),
            key: key.map(str::to_owned),
        })
    }

    /// What stands before `#`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands after `#`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The environment variable that may hold it.
    pub fn variable(&self) -> String {
        let upper = |c: char| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
            _ => '_',
        };
        let name = self.to_string();
        let name: String = name.chars().map(upper).collect();
        format!("{SECRET_VARIABLE_PREFIX}{name}")
    }
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)?;
        match &self.key {
            Some(key) => write!(f, "#{key}"),
            None => Ok(()),
        }
    }
}

/// Whether the text is segments between slashes.
pub(crate) fn is_path(text: &str) -> bool {
    text.split('/').all(is_segment)
}

fn is_segment(text: &str) -> bool {
    // Hidden files are how Kubernetes keeps what is mounted, `..data` among them.
    !text.is_empty()
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Which secrets a configuration refers to, and where they are.
#[derive(Clone, Debug, Default)]
pub struct SecretsPlan {
    /// Where they are.
    pub section: SecretsSection,
    /// Their names.
    pub names: BTreeSet<SecretName>,
}

#[derive(Deserialize)]
struct Only {
    #[serde(default)]
    secrets: SecretsSection,
}

impl SecretsPlan {
    /// What `sources` refer to. Nothing but the section `secrets` is checked.
    ///
    /// # Errors
    /// [`ConfigError`] for text that is no YAML and for faults of that section.
    pub fn of(sources: &Sources) -> Result<Self, ConfigError> {
        let mut tree = merged(sources)?.tree;
        let mut names = BTreeSet::new();
        if let Value::Map(entries) = &mut tree.value {
            for entry in entries.iter().filter(|entry| entry.key != "secrets") {
                collect(&entry.node, &mut names);
            }
            entries.retain(|entry| entry.key == "secrets");
        }
        let nothing = SecretValues::default();
        let lookup = Lookup {
            environment: &sources.environment,
            secrets: &nothing,
            missing: sources.missing,
        };
        let (only, refused) = read::<Only>(&mut tree, &lookup);
        let mut problems = refused_problems(refused, sources);
        if let Some(Only { secrets: section }) = only {
            let mut findings = Findings::new(sources.missing == MissingReferences::Accept);
            section.check(&mut findings);
            problems.extend(findings_problems(findings, &tree, sources));
            if problems.is_empty() {
                return Ok(Self { section, names });
            }
        }
        Err(ConfigError::new(problems))
    }
}

fn collect(node: &Node, names: &mut BTreeSet<SecretName>) {
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|entry| collect(&entry.node, names)),
        Value::List(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Str(text) | Value::Loose(text) | Value::Typed(_, text) => {
            // What is malformed is reported when the value is read.
            for part in parts(text).unwrap_or_default() {
                if let Part::Reference(reference) = part
                    && let Some(name) = reference.strip_prefix("secret:")
                {
                    names.extend(SecretName::parse(name));
                }
            }
        }
        Value::Null | Value::Removed => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_lead_out_of_the_folder() {
        for good in ["crm", "crm-token", "a/b/c", "crm#token", "a.b_c#k.pem"] {
            let name = SecretName::parse(good).expect(good);
            assert_eq!(name.to_string(), good);
        }
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "..data/x",
            ".x",
            "a#",
            "a#b/c",
            "a#..",
            "a b",
            "a%2f",
            "é",
        ] {
            assert!(SecretName::parse(bad).is_none(), "{bad}");
        }
        let name = SecretName::parse("teams/crm#token").expect("name");
        assert_eq!(name.variable(), "MCP_ULTRA_SECRET_TEAMS_CRM_TOKEN");
    }

    #[test]
    fn a_configuration_names_its_secrets_and_is_loaded_with_them() {
        let text = "session: { keys: [{ id: a, secret: '${secret:seal}' }] }\nservers:\n  - name: crm\n    url: http://127.0.0.1/\n    headers: { Authorization: 'Bearer ${secret:crm#token}' }\n";
        let mut sources = Sources {
            file: Some(crate::SourceFile {
                name: "a.yaml".into(),
                text: text.into(),
            }),
            ..Sources::default()
        };
        let plan = SecretsPlan::of(&sources).expect("plan");
        let names: Vec<_> = plan.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["crm#token", "seal"]);
        let error = crate::load(&sources).expect_err("missing").to_string();
        assert!(
            error.contains("a.yaml:1:") && error.contains("`seal`"),
            "{error}"
        );
        for name in plan.names {
            sources
                .secrets
                .insert(name, "canary-0123456789-0123456789-0123".into());
        }
        let loaded = crate::load(&sources).expect("loaded");
        let header = &loaded.config.servers[0].headers["Authorization"];
        assert_eq!(header.expose(), "Bearer canary-0123456789-0123456789-0123");
        assert_eq!(header.shown(), "Bearer ${secret:crm#token}");
        assert!(!format!("{loaded:?} {sources:?}").contains("canary"));
        assert!(!format!("{:?}", loaded.explain()).contains("canary"));
    }

    #[test]
    fn a_vault_is_spoken_to_safely_and_logged_in_to_one_way() {
        for bad in [
            "address: http://vault.example.com, token: x",
            "address: https://v.example",
            "address: https://v.example, token: x, kubernetes: { role: r }",
            "address: https://v.example, token: x, mount: ../sys",
            "address: https://v.example, token: '${secret:x}'",
        ] {
            let text = format!("secrets: {{ vault: {{ {bad} }} }}\n");
            let file = crate::SourceFile::from_bytes("a.yaml", text.into_bytes()).expect("file");
            let sources = Sources {
                file: Some(file),
                ..Sources::default()
            };
            SecretsPlan::of(&sources).expect_err(bad);
        }
    }
}
