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
    keys.map(|key| (key.number(), key.secret.expose().as_bytes()))
}
