use mcp_ultra_config::Config;
use mcp_ultra_protocol::seal::{KeyError, Sealer};

/// What seals session ids and cursors: the configured keys, else one of this process alone.
pub(super) fn sealer(config: &Config) -> Result<Sealer, KeyError> {
    if config.session.keys.is_empty() {
        return Sealer::random();
    }
    Sealer::from_secrets(sealing_secrets(config))
}

pub(super) fn sealing_secrets(config: &Config) -> impl Iterator<Item = (u8, &[u8])> {
    let keys = config.session.keys.iter();
    keys.map(|key| (key_id(&key.id), key.secret.expose().as_bytes()))
}

/// One byte of the key's name: enough to try the likely key first; keys that share it are all
/// tried.
fn key_id(name: &str) -> u8 {
    name.bytes()
        .fold(7, |hash, byte| hash.wrapping_mul(31) ^ byte)
}
