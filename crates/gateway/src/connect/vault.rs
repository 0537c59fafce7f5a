//! The tokens of grants at rest.

use std::time::Duration;

use mcp_ultra_domain::Grant;
use mcp_ultra_protocol::seal::{KeyError, Purpose, Sealer};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The tokens of a grant. Each is shown by nothing.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    /// Who has issued them: they are shown to nobody else (RFC 9700, 4.4).
    pub issuer: String,
    /// The client that they were issued to.
    pub client: String,
    /// What they are good for (RFC 8707), as it was asked; where no resource was named, the URL that
    /// they are sent to.
    pub resource: String,
    /// The access token.
    pub access: SecretString,
    /// When it was asked for, since the Unix epoch, in whole milliseconds.
    pub asked: Duration,
    /// How long it is good from there, where that was said.
    pub lifetime: Option<Duration>,
    /// The refresh token, where there is one.
    pub refresh: Option<SecretString>,
    /// The scopes that the person was asked for, separated by spaces. `None` where that is not
    /// known: grants of before it was kept.
    pub wanted: Option<String>,
}

/// As they are sealed.
#[derive(Serialize)]
struct Writing<'t> {
    issuer: &'t str,
    client: &'t str,
    resource: &'t str,
    access: &'t str,
    asked: u64,
    lifetime: Option<u64>,
    refresh: Option<&'t str>,
    wanted: Option<&'t str>,
}

/// As they are opened.
#[derive(Deserialize)]
struct Written {
    issuer: String,
    client: String,
    resource: String,
    access: SecretString,
    asked: u64,
    lifetime: Option<u64>,
    refresh: Option<SecretString>,
    #[serde(default)]
    wanted: Option<String>,
}

/// Seals and opens the tokens of grants. What is sealed for one principal and server opens for no
/// other, also where somebody exchanges rows of the store.
#[derive(Debug)]
pub(crate) struct Vault {
    sealer: Sealer,
}

/// Whose tokens they are.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub tenant: &'a str,
    pub principal: &'a str,
    pub server: &'a str,
}

impl<'a> Of<'a> {
    pub(crate) fn grant(grant: &'a Grant) -> Self {
        Self {
            tenant: &grant.tenant,
            principal: &grant.principal,
            server: &grant.server,
        }
    }

    /// One text of three parts that no other three parts give.
    fn holder(self) -> String {
        let Self {
            tenant,
            principal,
            server,
        } = self;
        format!(
            "{}:{tenant}:{}:{principal}:{server}",
            tenant.len(),
            principal.len()
        )
    }
}

impl Vault {
    /// A vault whose keys are made from `secrets`: the first seals, all open.
    pub(crate) fn new<'s>(
        secrets: impl IntoIterator<Item = (u8, &'s [u8])>,
    ) -> Result<Self, KeyError> {
        let sealer = Sealer::from_secrets(secrets)?;
        Ok(Self { sealer })
    }

    /// Seals.
    pub(crate) fn seal(&self, of: Of<'_>, tokens: &Tokens) -> Result<String, KeyError> {
        let written = Writing {
            issuer: &tokens.issuer,
            client: &tokens.client,
            resource: &tokens.resource,
            access: tokens.access.expose_secret(),
            asked: millis(tokens.asked),
            lifetime: tokens.lifetime.map(|lifetime| lifetime.as_secs()),
            refresh: tokens.refresh.as_ref().map(ExposeSecret::expose_secret),
            wanted: tokens.wanted.as_deref(),
        };
        let text = Zeroizing::new(serde_json::to_vec(&written).map_err(|_| KeyError)?);
        self.sealer.seal(Purpose::Grant, &of.holder(), &text)
    }

    /// Opens; `None` for what was sealed with a key that is not known, for another, or changed.
    pub(crate) fn open(&self, of: Of<'_>, sealed: &str) -> Option<Tokens> {
        let opened = self.sealer.open(Purpose::Grant, &of.holder(), sealed);
        let opened = Zeroizing::new(opened.ok()?);
        let written: Written = serde_json::from_slice(&opened).ok()?;
        Some(Tokens {
            issuer: written.issuer,
            client: written.client,
            resource: written.resource,
            access: written.access,
            asked: Duration::from_millis(written.asked),
            lifetime: written.lifetime.map(Duration::from_secs),
            refresh: written.refresh,
            wanted: written.wanted,
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: Of<'static> = Of {
        tenant: "acme",
        principal: "user:ana",
        server: "tickets",
    };

    fn tokens() -> Tokens {
        Tokens {
            issuer: "https://as.example.com".into(),
            client: "gateway".into(),
            resource: "https://tickets.example.com/mcp".into(),
            access: "the-access-token".into(),
            asked: Duration::from_secs(1000),
            lifetime: Some(Duration::from_mins(1)),
            refresh: Some("the-refresh-token".into()),
            wanted: Some("tickets:read".into()),
        }
    }

    fn vault(keys: &[u8]) -> Vault {
        let secrets: Vec<[u8; 32]> = keys.iter().map(|key| [*key; 32]).collect();
        Vault::new(keys.iter().copied().zip(secrets.iter().map(|s| &s[..]))).unwrap()
    }

    #[test]
    fn tokens_open_for_whom_they_were_sealed() {
        let vault = vault(&[1]);
        let sealed = vault.seal(ANA, &tokens()).unwrap();
        let opened = vault.open(ANA, &sealed).unwrap();
        assert_eq!(opened.access.expose_secret(), "the-access-token");
        let refresh = opened.refresh.unwrap();
        assert_eq!(refresh.expose_secret(), "the-refresh-token");
        assert_eq!(opened.lifetime, Some(Duration::from_mins(1)));
        assert_eq!(opened.wanted.as_deref(), Some("tickets:read"));
        let others = [
            Of {
                tenant: "other",
                ..ANA
            },
            Of {
                principal: "user:bea",
                ..ANA
            },
            Of {
                server: "mail",
                ..ANA
            },
            Of {
                principal: "user:ana:tickets",
                server: "",
                ..ANA
            },
            Of {
                tenant: "acme:8",
                principal: "user",
                ..ANA
            },
        ];
        for other in others {
            assert!(vault.open(other, &sealed).is_none());
        }
    }

    /// As they were sealed before it was kept what a person was asked for.
    #[test]
    fn tokens_of_before_open_too() {
        let vault = vault(&[1]);
        let text = br#"{"issuer":"i","client":"c","resource":"r","access":"a","asked":1,"lifetime":null,"refresh":null}"#;
        let sealed = vault.sealer.seal(Purpose::Grant, &ANA.holder(), text);
        let opened = vault.open(ANA, &sealed.unwrap()).unwrap();
        assert_eq!((opened.wanted, opened.client.as_str()), (None, "c"));
    }

    #[test]
    fn keys_are_rotated_and_end() {
        let first = vault(&[1]).seal(ANA, &tokens()).unwrap();
        let both = vault(&[2, 1]);
        assert!(both.open(ANA, &first).is_some());
        let second = both.seal(ANA, &tokens()).unwrap();
        let only = vault(&[2]);
        assert!(only.open(ANA, &first).is_none(), "the key is gone");
        assert!(only.open(ANA, &second).is_some());
        assert!(Vault::new([(3, &b"short"[..])]).is_err());
    }

    #[test]
    fn nothing_sealed_or_shown_has_a_token_in_it() {
        let vault = vault(&[1]);
        let tokens = tokens();
        let shown = format!("{tokens:?} {vault:?} {}", vault.seal(ANA, &tokens).unwrap());
        assert!(!shown.contains("the-access") && !shown.contains("the-refresh"));
    }
}
