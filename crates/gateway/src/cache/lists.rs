//! The lists of servers, as gateways keep them for each other: one that starts has them at once, also
//! where the server can't be read just then. They are read all the same, and judged as if they had just
//! been.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_config::CredentialsKind;
use mcp_ultra_domain::catalog::{Kind, Raw};
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::upstream::Upstream;

/// How long they are kept: a server that could not be read for longer is forgotten.
const LASTS: Duration = Duration::from_hours(24);
/// Lists of more bytes are not kept.
const LARGEST: usize = 4 * 1024 * 1024;
/// Whose key they are sealed by: no tenant has such a name.
const NOBODY: &str = "\0lists";

/// As they are written.
#[derive(Serialize)]
struct Writing<'r> {
    capabilities: &'r str,
    instructions: Option<&'r str>,
    definitions: Vec<(usize, &'r str)>,
    ttl_ms: Option<u64>,
    private: bool,
}

/// As they are read.
#[derive(Deserialize)]
struct Written {
    capabilities: String,
    instructions: Option<String>,
    definitions: Vec<(usize, String)>,
    ttl_ms: Option<u64>,
    private: bool,
}

impl Shared {
    /// The lists of a server, as some gateway has read them last.
    pub(crate) async fn lists(&self, upstream: &Upstream) -> Option<Raw> {
        let (group, name) = self.place_of_lists(upstream)?;
        let found = self.store().find(&group, &[&name], &[]).await?;
        let sealed = found.values.into_iter().next()??;
        let opened = self.vault.open(NOBODY, &name, &sealed)?;
        read(&opened)
    }

    /// Keeps what was read of a server. Nobody waits for it.
    pub(crate) fn keep_lists(self: &Arc<Self>, upstream: &Upstream, raw: &Raw) {
        let Some((group, name)) = self.place_of_lists(upstream) else {
            return;
        };
        if raw.size() > LARGEST {
            return;
        }
        let Some(sealed) = written(raw).and_then(|text| self.vault.seal(NOBODY, &name, &text))
        else {
            return;
        };
        let shared = self.clone();
        tokio::spawn(async move { shared.store().keep(&group, &name, &sealed, LASTS).await });
    }

    /// `None` where they are read with what a caller has granted.
    fn place_of_lists(&self, upstream: &Upstream) -> Option<(String, String)> {
        let settings = upstream.settings();
        let is_own = settings
            .credentials_kind()
            .is_none_or(|kind| kind == CredentialsKind::ClientCredentials);
        let name = || {
            let asked_with = settings.asked_with();
            self.vault
                .name(&[b"lists", settings.fingerprint(), &asked_with])
        };
        is_own.then(|| (self.group(upstream.name()), name()))
    }
}

fn written(raw: &Raw) -> Option<Vec<u8>> {
    let definitions = raw.definitions.iter();
    let writing = Writing {
        capabilities: &raw.capabilities,
        instructions: raw.instructions.as_deref(),
        definitions: definitions
            .map(|(kind, text)| (*kind as usize, &**text))
            .collect(),
        ttl_ms: raw.ttl_ms,
        private: raw.private,
    };
    serde_json::to_vec(&writing).ok()
}

fn read(bytes: &[u8]) -> Option<Raw> {
    let written: Written = serde_json::from_slice(bytes).ok()?;
    let definitions = written.definitions.into_iter().map(|(kind, text)| {
        let kind = Kind::ALL
            .into_iter()
            .find(|known| *known as usize == kind)?;
        Some((kind, ByteString::from(text)))
    });
    Some(Raw {
        capabilities: written.capabilities.into(),
        instructions: written.instructions,
        definitions: definitions.collect::<Option<_>>()?,
        ttl_ms: written.ttl_ms,
        private: written.private,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let raw = Raw {
            capabilities: r#"{"tools":{}}"#.into(),
            instructions: Some("use \"it\"".into()),
            definitions: Kind::ALL
                .map(|kind| {
                    (
                        kind,
                        format!("{{ \"name\" : \"{}\" }}", kind.list_key()).into(),
                    )
                })
                .into(),
            ttl_ms: Some(7),
            private: true,
        };
        let again = read(&written(&raw).unwrap()).unwrap();
        assert_eq!(format!("{raw:?}"), format!("{again:?}"));
        for bad in [
            &b""[..],
            b"{}",
            br#"{"capabilities":"","definitions":[[9,"x"]],"private":false}"#,
        ] {
            assert!(read(bad).is_none());
        }
    }
}
