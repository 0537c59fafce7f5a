use std::collections::BTreeMap;

use async_trait::async_trait;
use mcp_ultra_config::{SECRET_VARIABLE_PREFIX, SecretName};
use secrecy::{ExposeSecret, SecretString};

use super::{Found, Source, SourceError};

/// Variables of this process, which never change while it runs.
pub(super) struct Environment(BTreeMap<String, SecretString>);

impl Environment {
    pub(super) fn new(environment: &BTreeMap<String, String>) -> Self {
        let ours = environment
            .iter()
            .filter(|(name, value)| name.starts_with(SECRET_VARIABLE_PREFIX) && !value.is_empty());
        Self(
            ours.map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect(),
        )
    }
}

#[async_trait]
impl Source for Environment {
    fn name(&self) -> &'static str {
        "environment"
    }

    async fn read(&self, name: &SecretName) -> Result<Option<Found>, SourceError> {
        let value = self.0.get(&name.variable());
        Ok(value.map(|value| Found {
            value: value.expose_secret().into(),
            version: None,
            changed: None,
        }))
    }
}
