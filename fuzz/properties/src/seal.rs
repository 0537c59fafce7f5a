//! Nothing opens but what was sealed, unchanged, for the same purpose and holder.
//!
//! The first byte of the input says which character of a token is changed.

use std::sync::LazyLock;

use mcp_ultra_protocol::seal::{Purpose, Sealer};

static SEALER: LazyLock<Option<Sealer>> =
    LazyLock::new(|| Sealer::from_secrets([(1, &[7_u8; 32][..]), (2, &[9_u8; 32][..])]).ok());

/// The property.
pub fn holds(data: &[u8]) {
    let Some(sealer) = &*SEALER else {
        unreachable!("the secrets are long enough")
    };
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(sealer.open(Purpose::Session, "ana", text).is_err());
    }
    let [at, content @ ..] = data else { return };
    let Ok(token) = sealer.seal(Purpose::Cursor, "ana", content) else {
        return;
    };
    assert_eq!(
        sealer.open(Purpose::Cursor, "ana", &token).as_deref(),
        Ok(content)
    );
    assert!(sealer.open(Purpose::Task, "ana", &token).is_err());
    assert!(sealer.open(Purpose::Cursor, "bia", &token).is_err());

    let at = usize::from(*at) % token.len();
    let other = if token.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    let mut changed = token.clone();
    changed.replace_range(at..=at, other);
    let mut shorter = token.clone();
    shorter.truncate(at);
    for forged in [changed, shorter, format!("{token}A"), format!("{token}=")] {
        assert!(sealer.open(Purpose::Cursor, "ana", &forged).is_err());
    }
}
