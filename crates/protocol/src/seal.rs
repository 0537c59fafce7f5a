//! Sealed tokens: session ids, cursors, task ids and `requestState` that a client carries for
//! the gateway without being able to read or change them; what a browser carries while a person
//! connects a server to their account; the tokens of grants at rest; and what replicas send each other.
//!
//! A token is `base64url(key id ‖ nonce ‖ ciphertext ‖ tag)` under AES-256-GCM-SIV (RFC 8452),
//! whose security does not end when a random nonce repeats. What a token is for, and whom it is
//! for, is bound as associated data: a cursor is no session id, and a token of one principal
//! does not open for another.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf, rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The longest token in characters: session ids go into a header of every request.
pub const MAX_TOKEN: usize = 1024;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `Mcp-Session-Id`.
    Session,
    /// `nextCursor` and `cursor`.
    Cursor,
    /// `taskId`.
    Task,
    /// `requestState`.
    RequestState,
    /// The tokens of a grant, at rest.
    Grant,
    /// The link by which a person connects a server to their account there.
    ConnectLink,
    /// That the person has agreed to go on from the page behind that link.
    ConnectConsent,
    /// `state` of an authorization request.
    ConnectState,
    /// What a browser keeps while a person is at an authorization server.
    ConnectFlow,
    /// What replicas of a gateway send each other.
    Replica,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session\0",
            Self::Cursor => b"cursor\0",
            Self::Task => b"task\0",
            Self::RequestState => b"request-state\0",
            Self::Grant => b"grant\0",
            Self::ConnectLink => b"connect-link\0",
            Self::ConnectConsent => b"connect-consent\0",
            Self::ConnectState => b"connect-state\0",
            Self::ConnectFlow => b"connect-flow\0",
            Self::Replica => b"replica\0",
        }
    }
}

/// A token that does not open: forged, changed, for another purpose or principal, or sealed
/// under a key that is gone. Which of these it was is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// A key could not be made: the random source or the cipher failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealing key could not be set up")]
pub struct KeyError;

/// Seals and opens tokens. The first key seals; all of them open, so that keys can be rotated.
pub struct Sealer {
    keys: ArcSwap<Vec<Arc<Key>>>,
}

/// The id of a key and the key.
type Key = (u8, RandomizedNonceKey);

/// Keys that no longer seal, until they are [dropped](Sealer::drop_keys).
pub struct Retired(Vec<Arc<Key>>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("keys", &self.keys.load().len())
            .finish()
    }
}

impl Sealer {
    /// A sealer with a key of this process alone: tokens end with it.
    ///
    /// # Errors
    /// [`KeyError`] where the system has no randomness.
    pub fn random() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| KeyError)?;
        Self::from_secrets([(0, &secret[..])])
    }

    /// A sealer whose keys are derived from `secrets` (key id, secret of any length), the first
    /// of which seals. Replicas with the same secrets open each other's tokens.
    ///
    /// # Errors
    /// [`KeyError`] where there is no secret, or one is shorter than 16 bytes.
    pub fn from_secrets<'s>(
        secrets: impl IntoIterator<Item = (u8, &'s [u8])>,
    ) -> Result<Self, KeyError> {
        let keys = ArcSwap::from_pointee(keys(secrets)?);
        Ok(Self { keys })
    }

    /// Seals with other keys from now on. Those before still open, until they are dropped.
    ///
    /// # Errors
    /// As [`Sealer::from_secrets`]; nothing has changed then.
    pub fn rotate<'s>(
        &self,
        secrets: impl IntoIterator<Item = (u8, &'s [u8])>,
    ) -> Result<Retired, KeyError> {
        let mut all = keys(secrets)?;
        let before = self.keys.load_full();
        all.extend(before.iter().cloned());
        self.keys.store(Arc::new(all));
        Ok(Retired(before.to_vec()))
    }

    /// Ends keys: what they sealed opens no more.
    pub fn drop_keys(&self, retired: &Retired) {
        self.keys.rcu(|keys| {
            let stays = |key: &&Arc<Key>| !retired.0.iter().any(|old| Arc::ptr_eq(old, key));
            keys.iter().filter(stays).cloned().collect::<Vec<_>>()
        });
    }

    /// Seals `content` for `purpose` and `holder` (the principal, or empty).
    ///
    /// # Errors
    /// [`KeyError`] where the system has no randomness.
    pub fn seal(&self, purpose: Purpose, holder: &str, content: &[u8]) -> Result<String, KeyError> {
        let keys = self.keys.load();
        let (id, key) = keys.first().map(|key| &**key).ok_or(KeyError)?;
        let mut sealed = content.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(associated(purpose, holder)), &mut sealed)
            .map_err(|_| KeyError)?;
        let mut token = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        token.push(*id);
        token.extend_from_slice(nonce.as_ref());
        token.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens a token that was sealed for `purpose` and `holder`.
    ///
    /// # Errors
    /// [`InvalidToken`] for every other one.
    pub fn open(
        &self,
        purpose: Purpose,
        holder: &str,
        token: &str,
    ) -> Result<Vec<u8>, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (id, rest) = bytes.split_first().ok_or(InvalidToken)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(InvalidToken)?;
        if sealed.len() < MAX_TAG_LEN {
            return Err(InvalidToken);
        }
        let mut content = sealed.to_vec();
        let keys = self.keys.load();
        for (_, key) in keys.iter().map(|key| &**key).filter(|key| key.0 == *id) {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| InvalidToken)?;
            let aad = Aad::from(associated(purpose, holder));
            if let Ok(opened) = key.open_in_place(nonce, aad, &mut content) {
                return Ok(opened.to_vec());
            }
            content.copy_from_slice(sealed);
        }
        Err(InvalidToken)
    }
}

fn associated(purpose: Purpose, holder: &str) -> Vec<u8> {
    [purpose.label(), holder.as_bytes()].concat()
}

fn keys<'s>(secrets: impl IntoIterator<Item = (u8, &'s [u8])>) -> Result<Vec<Arc<Key>>, KeyError> {
    let keys = secrets
        .into_iter()
        .map(|(id, secret)| Ok(Arc::new((id, derive(secret)?))))
        .collect::<Result<Vec<_>, KeyError>>()?;
    if keys.is_empty() {
        Err(KeyError)
    } else {
        Ok(keys)
    }
}

fn derive(secret: &[u8]) -> Result<RandomizedNonceKey, KeyError> {
    if secret.len() < 16 {
        return Err(KeyError);
    }
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"mcp-ultra sealed tokens")
        .extract(secret)
        .expand(&[b"v1"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| KeyError)?;
    RandomizedNonceKey::new(&AES_256_GCM_SIV, &key).map_err(|_| KeyError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_opens_for_its_purpose_and_holder_only() {
        let sealer = Sealer::random().unwrap();
        let token = sealer.seal(Purpose::Cursor, "ana", b"position 7").unwrap();
        assert_eq!(
            sealer.open(Purpose::Cursor, "ana", &token).unwrap(),
            b"position 7"
        );
        assert_eq!(
            sealer.open(Purpose::Session, "ana", &token),
            Err(InvalidToken)
        );
        assert_eq!(
            sealer.open(Purpose::Cursor, "bia", &token),
            Err(InvalidToken)
        );
        let other = Sealer::random().unwrap();
        assert_eq!(
            other.open(Purpose::Cursor, "ana", &token),
            Err(InvalidToken)
        );
    }

    #[test]
    fn keys_rotate_without_losing_tokens() {
        let (old, new) = (
            &b"an old secret of enough length"[..],
            &b"a new secret of enough length"[..],
        );
        let token = Sealer::from_secrets([(1, old)])
            .unwrap()
            .seal(Purpose::Session, "", b"s")
            .unwrap();
        let rotated = Sealer::from_secrets([(2, new), (1, old)]).unwrap();
        assert_eq!(rotated.open(Purpose::Session, "", &token).unwrap(), b"s");
        let token = rotated.seal(Purpose::Session, "", b"t").unwrap();
        let only_new = Sealer::from_secrets([(2, new)]).unwrap();
        assert_eq!(only_new.open(Purpose::Session, "", &token).unwrap(), b"t");
    }

    #[test]
    fn keys_rotate_in_place_and_end_when_they_are_dropped() {
        let [one, two, three] = [&[1u8; 32][..], &[2; 32], &[3; 32]];
        let sealer = Sealer::from_secrets([(1, one)]).unwrap();
        let opens = |token: &str| sealer.open(Purpose::Session, "", token).is_ok();
        let first = sealer.seal(Purpose::Session, "", b"s").unwrap();
        // The same id: a secret that has another value.
        let retired_one = sealer.rotate([(1, two)]).unwrap();
        let second = sealer.seal(Purpose::Session, "", b"s").unwrap();
        let retired_two = sealer.rotate([(1, three)]).unwrap();
        let third = sealer.seal(Purpose::Session, "", b"s").unwrap();
        assert!(opens(&first) && opens(&second) && opens(&third));
        sealer.drop_keys(&retired_one);
        assert!(!opens(&first) && opens(&second) && opens(&third));
        sealer.drop_keys(&retired_two);
        assert!(!opens(&second) && opens(&third));
        assert!(sealer.rotate([(1, &b"short"[..])]).is_err() && opens(&third));
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(Sealer::from_secrets([(0, &b"short"[..])]).is_err());
        assert!(Sealer::from_secrets([]).is_err());
    }

    proptest! {
        #[test]
        fn any_changed_character_spoils_a_token(at in 0usize..60, with in "[A-Za-z0-9_-]") {
            let sealer = Sealer::from_secrets([(0, &[7u8; 32][..])]).unwrap();
            let token = sealer.seal(Purpose::Task, "p", b"some content of a token").unwrap();
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != token);
            prop_assert_eq!(sealer.open(Purpose::Task, "p", &changed), Err(InvalidToken));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let sealer = Sealer::from_secrets([(0, &[7u8; 32][..])]).unwrap();
            let _ = sealer.open(Purpose::Task, "p", &text);
        }
    }
}
