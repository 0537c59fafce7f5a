//! Randomness for names and jitter.

use aws_lc_rs::rand;

/// A random number.
pub(super) fn number() -> u64 {
    let mut bytes = [0; 8];
    // Without system randomness TLS fails first, loudly; jitter may then be zero.
    let _ = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
