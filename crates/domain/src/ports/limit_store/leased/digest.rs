use std::{hash::Hasher as _, net::IpAddr};

use aws_lc_rs::hmac;
use siphasher::sip::SipHasher24;

use crate::limits::Key;

/// Makes the same 64 bits of a key at all processes that have the same secret: a hash
/// (`SipHash-2-4`) under it, so that nobody else can tell or choose them.
#[derive(Clone)]
pub struct LimitsKey(SipHasher24);

impl LimitsKey {
    /// A key that is derived from `secret`.
    pub fn new(secret: &[u8]) -> Self {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&derive, b"mcp-ultra limits");
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(derived.as_ref()) {
            *to = *from;
        }
        Self(SipHasher24::new_with_key(&key))
    }

    /// The bits of `key`. What is hashed is written down here and changes with no compiler: replicas
    /// of two versions run side by side.
    pub(super) fn of(&self, key: &Key<'_>) -> u64 {
        let mut hasher = self.0;
        let mut text = |text: &str| {
            hasher.write(&(text.len() as u64).to_le_bytes());
            hasher.write(text.as_bytes());
        };
        match key {
            Key::Address(IpAddr::V4(address)) => {
                text("a4");
                hasher.write(&address.octets());
            }
            Key::Address(IpAddr::V6(address)) => {
                text("a6");
                hasher.write(&address.octets());
            }
            Key::Tenant(tenant) => ["t", tenant].into_iter().for_each(text),
            Key::Principal(principal) => ["p", principal].into_iter().for_each(text),
            Key::Tool {
                tenant,
                server,
                tool: Some(tool),
            } => ["l", tenant, server, tool].into_iter().for_each(text),
            Key::Tool {
                tenant,
                server,
                tool: None,
            } => ["u", tenant, server].into_iter().for_each(text),
            Key::Server { tenant, server } => ["s", tenant, server].into_iter().for_each(text),
        }
        hasher.finish()
    }
}
