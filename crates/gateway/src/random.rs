//! Randomness for ids and jitter, from the cryptographic source that seals tokens.

use aws_lc_rs::rand;

/// A random number.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    // Without system randomness sealing fails first, loudly; jitter may then be zero.
    let _ = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// 128 random bits in hexadecimal.
pub(crate) fn identifier() -> String {
    format!("{:016x}{:016x}", number(), number())
}
