use std::{fmt::Write, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use mcp_ultra_domain::KeySecret;
use secrecy::SecretString;

/// What the secrets of API keys begin with, so that people and scanners know what they have found.
pub const API_KEY_PREFIX: &str = "mcpu_";

const LOOKUP: usize = 16;
const RANDOM: usize = 64;
const CHECK: usize = 8;

/// The system gives no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no randomness")]
pub struct NoRandomness;

/// What is shown once, and what is kept of it.
#[derive(Debug)]
pub struct IssuedSecret {
    /// The secret itself: for its holder alone.
    pub token: SecretString,
    /// What the store keeps.
    pub kept: KeySecret,
}

/// Makes a secret of an API key: `mcpu_`, 16 digits that it is found by, `_`, 64 digits of 256
/// random bits, and 8 check digits, all hexadecimal. The check digits keep typing errors and
/// most guesses from the store. The random part is as long as its digest, so the digest needs no
/// salt and no slow hash.
///
/// # Errors
/// [`NoRandomness`]
pub fn issue(now: Duration) -> Result<IssuedSecret, NoRandomness> {
    let lookup = random::<{ LOOKUP / 2 }>()?;
    let body = format!("{lookup}_{}", random::<{ RANDOM / 2 }>()?);
    let token = format!("{API_KEY_PREFIX}{body}{}", check(&body));
    let kept = KeySecret::new(lookup, hash(&token), now);
    Ok(IssuedSecret {
        token: token.into(),
        kept,
    })
}

/// A new identifier of an API key.
///
/// # Errors
/// [`NoRandomness`]
pub fn new_key_id() -> Result<String, NoRandomness> {
    Ok(format!("key_{}", random::<12>()?))
}

/// A secret as it was presented.
pub(super) struct Presented<'t> {
    pub(super) lookup: &'t str,
    pub(super) digest: [u8; 32],
}

/// Whether the token says that it is the secret of an API key.
pub(super) fn is_one(token: &str) -> bool {
    token.starts_with(API_KEY_PREFIX)
}

/// Reads a secret; `None` where no such one was ever issued.
pub(super) fn read(token: &str) -> Option<Presented<'_>> {
    let rest = token.strip_prefix(API_KEY_PREFIX)?;
    let (body, checked) = rest.split_at_checked(LOOKUP + 1 + RANDOM)?;
    let (lookup, random) = body.split_once('_')?;
    let digits = |text: &str| {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.bytes().all(digit)
    };
    let fits = lookup.len() == LOOKUP && digits(lookup) && digits(random) && checked == check(body);
    fits.then(|| Presented {
        lookup,
        digest: hash(token),
    })
}

fn hash(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

fn check(body: &str) -> String {
    hexadecimal(&hash(body)[..CHECK / 2])
}

fn random<const BYTES: usize>() -> Result<String, NoRandomness> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn what_is_issued_can_be_read_and_is_not_kept() {
        let issued = issue(Duration::from_secs(7)).unwrap();
        let token = issued.token.expose_secret();
        assert_eq!(token.len(), 94);
        let presented = read(token).unwrap();
        assert_eq!(presented.lookup, issued.kept.lookup);
        assert_eq!(presented.digest, issued.kept.digest);
        assert!(!format!("{:?}", issued.kept).contains(&token[22..]));
        assert!(!format!("{issued:?}").contains(&token[22..]));
        let other = issue(Duration::ZERO).unwrap();
        assert_ne!(other.kept.lookup, issued.kept.lookup);
        assert_ne!(new_key_id(), new_key_id());
    }

    proptest! {
        #[test]
        fn nothing_else_is_read(at in 0_usize..94, with in "[ -~é]") {
            let token = issue(Duration::ZERO).unwrap().token;
            let token = token.expose_secret();
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            prop_assert_eq!(read(&changed).is_some(), changed == token);
            prop_assert!(read(&token[..at]).is_none());
            let longer = format!("{token}{with}");
            prop_assert!(read(&longer).is_none());
        }

        #[test]
        fn no_text_panics(text in "(mcpu_)?\\PC{0,100}") {
            prop_assert!(read(&text).is_none());
        }
    }
}
