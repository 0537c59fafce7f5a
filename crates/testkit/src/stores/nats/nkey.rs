//! A user that proves who it is by a signature in place of a password: an Ed25519 key as NATS spells it,
//! in base32 with a prefix for its kind and a check sum.
//!
//! <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth>

use aws_lc_rs::{
    encoding::AsBigEndian as _,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::stores::StoreError;

/// The kind "seed", the first five bits of what begins with `S`.
const SEED: u8 = 18 << 3;
/// The kind "user", the first five bits of what begins with `U`.
const USER: u8 = 20 << 3;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The key of a user.
pub struct NKey {
    pair: Ed25519KeyPair,
    seed: String,
    public: String,
}

impl NKey {
    pub(super) fn new() -> Result<Self, StoreError> {
        let failed = |_| StoreError::Tool {
            program: "a new Ed25519 key".to_owned(),
            output: "the library has none".to_owned(),
        };
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        let secret = pair.seed().and_then(|seed| seed.as_be_bytes());
        let secret = secret.map_err(failed)?;
        let seed = [&[SEED | USER >> 5, USER << 3], secret.as_ref()].concat();
        let public = [&[USER], pair.public_key().as_ref()].concat();
        Ok(Self {
            seed: spelled(seed),
            public: spelled(public),
            pair,
        })
    }

    /// The secret, as a client takes it: `SU…`.
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The public part, as a server takes it: `U…`.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The signature of a server's nonce, as CONNECT has it.
    pub fn sign(&self, nonce: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(nonce.as_bytes()))
    }
}

/// Base32 without padding, of the bytes and their CRC-16 (XMODEM), its low byte first.
fn spelled(mut bytes: Vec<u8>) -> String {
    bytes.extend(check_sum(&bytes).to_le_bytes());
    let bit = |index: usize| {
        let byte = bytes.get(index / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - index % 8) & 1)
    };
    let digits = (0..(bytes.len() * 8).div_ceil(5)).map(|digit| {
        let value = (0..5).fold(0, |value, offset| value << 1 | bit(digit * 5 + offset));
        char::from(BASE32[value])
    });
    digits.collect()
}

fn check_sum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ u16::from(byte) << 8, |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{NKey, check_sum};

    #[test]
    fn the_check_sum_is_that_of_xmodem() {
        assert_eq!(check_sum(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_key_says_what_it_is() {
        let key = NKey::new().expect("a key");
        assert!(key.seed().starts_with("SU") && key.seed().len() == 58);
        assert!(key.public().starts_with('U') && key.public().len() == 56);
    }
}
