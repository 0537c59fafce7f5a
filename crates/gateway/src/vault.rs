//! How what gateways keep for each other looks outside of this process: sealed by a key of each tenant,
//! under names that say nothing. Both are made from `session.keys`, so that replicas with the same keys
//! know each other's.

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
};

use crate::cache::Parts;

/// What is kept: what is sealed as one opens as no other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Answers of servers.
    Answers,
    /// Sessions with servers.
    Sessions,
}

impl Kind {
    fn salt(self) -> &'static [u8] {
        match self {
            Self::Answers => b"mcp-ultra kept answers",
            Self::Sessions => b"mcp-ultra sessions with servers",
        }
    }
}

/// Seals and opens what is kept. The first key seals and names; all of them open.
pub(crate) struct Vault {
    kind: Kind,
    keys: ArcSwap<Keys>,
}

struct Keys {
    all: Vec<(u8, Prk)>,
    names: hmac::Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    /// `None` without a secret.
    pub(crate) fn new<'s>(
        kind: Kind,
        secrets: impl IntoIterator<Item = (u8, &'s [u8])>,
    ) -> Option<Self> {
        let keys = Keys::new(kind, secrets)?;
        Some(Self {
            kind,
            keys: ArcSwap::from_pointee(keys),
        })
    }

    /// Goes by other secrets from now on: what those before have sealed is not found any more.
    pub(crate) fn rotate<'s>(&self, secrets: impl IntoIterator<Item = (u8, &'s [u8])>) {
        if let Some(keys) = Keys::new(self.kind, secrets) {
            self.keys.store(keys.into());
        }
    }

    /// A name for `parts`, which can't be told from it.
    pub(crate) fn name(&self, parts: &[&[u8]]) -> String {
        let digest = Parts::digest("name", parts);
        let tag = hmac::sign(&self.keys.load().names, &digest);
        hex(&tag.as_ref()[..16])
    }

    /// Seals `content` for a tenant, to be found under `name`. `None` without randomness.
    pub(crate) fn seal(&self, tenant: &str, name: &str, content: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let (id, prk) = keys.all.first()?;
        let mut sealed = content.to_vec();
        let nonce = of_tenant(prk, tenant)?
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .ok()?;
        let mut bytes = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        bytes.push(*id);
        bytes.extend_from_slice(nonce.as_ref());
        bytes.append(&mut sealed);
        Some(bytes)
    }

    /// Opens what was sealed for that tenant and name; `None` for everything else.
    pub(crate) fn open(&self, tenant: &str, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if sealed.len() < MAX_TAG_LEN {
            return None;
        }
        let keys = self.keys.load();
        keys.all.iter().filter(|key| key.0 == *id).find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut content = sealed.to_vec();
            let aad = Aad::from(name.as_bytes());
            let opened = of_tenant(&key.1, tenant)?.open_in_place(nonce, aad, &mut content);
            let length = opened.ok()?.len();
            content.truncate(length);
            Some(content)
        })
    }
}

impl Keys {
    fn new<'s>(kind: Kind, secrets: impl IntoIterator<Item = (u8, &'s [u8])>) -> Option<Self> {
        let salt = Salt::new(HKDF_SHA256, kind.salt());
        let secrets = secrets.into_iter();
        let all: Vec<_> = secrets
            .map(|(id, secret)| (id, salt.extract(secret)))
            .collect();
        let names = derived(&all.first()?.1, &[b"names"])?;
        Some(Self {
            names: hmac::Key::new(hmac::HMAC_SHA256, &names),
            all,
        })
    }
}

fn of_tenant(prk: &Prk, tenant: &str) -> Option<RandomizedNonceKey> {
    let key = derived(prk, &[b"tenant\0", tenant.as_bytes()])?;
    RandomizedNonceKey::new(&AES_256_GCM_SIV, &key).ok()
}

fn derived(prk: &Prk, info: &[&[u8]]) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    let okm = prk.expand(info, HKDF_SHA256).ok()?;
    okm.fill(&mut key).ok()?;
    Some(key)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(keys: &[u8]) -> Vault {
        of(Kind::Answers, keys)
    }

    fn of(kind: Kind, keys: &[u8]) -> Vault {
        let secrets: Vec<[u8; 32]> = keys.iter().map(|key| [*key; 32]).collect();
        let secrets = keys.iter().copied().zip(secrets.iter().map(|s| &s[..]));
        Vault::new(kind, secrets).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_tenant_and_name_alone() {
        let one = vault(&[1]);
        let sealed = one.seal("acme", "n", b"a secret answer").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(one.open("acme", "n", &sealed).unwrap(), b"a secret answer");
        assert_eq!(one.open("other", "n", &sealed), None);
        assert_eq!(one.open("acme", "m", &sealed), None);
        assert_eq!(vault(&[2]).open("acme", "n", &sealed), None);
        let sessions = of(Kind::Sessions, &[1]);
        assert_eq!(sessions.open("acme", "n", &sealed), None);
        let mut same_id = vault(&[2]);
        same_id.keys =
            ArcSwap::from_pointee(Keys::new(Kind::Answers, [(1, &[2_u8; 32][..])]).unwrap());
        assert_eq!(same_id.open("acme", "n", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(one.open("acme", "n", &changed), None, "{at}");
            assert_eq!(one.open("acme", "n", &sealed[..at]), None, "{at}");
        }
    }

    #[test]
    fn replicas_with_the_same_keys_know_each_others_names_and_answers() {
        let (one, other) = (vault(&[1]), vault(&[1, 2]));
        let parts: [&[u8]; 2] = [b"files", b"file:///ana"];
        assert_eq!(one.name(&parts), other.name(&parts));
        assert_ne!(one.name(&parts), vault(&[3]).name(&parts));
        assert_ne!(one.name(&parts), one.name(&[b"files", b"file:///bea"]));
        let sealed = one.seal("t", "n", b"x").unwrap();
        assert_eq!(other.open("t", "n", &sealed).unwrap(), b"x");
        other.rotate([(9, &[9_u8; 32][..])]);
        assert_eq!(other.open("t", "n", &sealed), None);
    }

    #[test]
    fn without_a_key_there_is_none() {
        assert!(Vault::new(Kind::Answers, []).is_none());
    }
}
