//! From `server.tls` to what a listener speaks TLS with, and keeping that fresh.

use std::{path::PathBuf, sync::Arc, time::Duration};

use mcp_ultra_config::{ClientAuth, Config, TlsVersion};
use mcp_ultra_domain::Clock;
use mcp_ultra_edge::tls::{self, ClientAuthorities, ServerTls, TlsError, TlsSettings};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::watch::{Place, Watch};

/// The files are read again this often whether or not a change was noticed: network file systems
/// tell of none. A certificate that ends soon is warned of as often as [`WARN`] says.
const LOOK: Duration = Duration::from_mins(1);
/// Looks between two warnings.
const WARN: u32 = 60;

/// The TLS of the configuration, if it has any.
pub(super) fn of(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<ServerTls>>, TlsError> {
    let section = &config.server.tls;
    let (Some(certificate), Some(key)) = (&section.certificate, &section.key) else {
        return Ok(None);
    };
    let authorities = section
        .client_ca
        .as_ref()
        .filter(|_| section.client_auth != ClientAuth::None);
    let settings = TlsSettings {
        certificate: PathBuf::from(certificate),
        key: PathBuf::from(key),
        clients: authorities.map(|authorities| ClientAuthorities {
            authorities: PathBuf::from(authorities),
            revocations: section.client_crl.as_ref().map(PathBuf::from),
            required: section.client_auth == ClientAuth::Required,
        }),
        min_version: match section.min_version {
            TlsVersion::Tls12 => tls::TlsVersion::Tls12,
            TlsVersion::Tls13 => tls::TlsVersion::Tls13,
        },
        handshake_timeout: config.limits.handshake_timeout.get(),
        max_handshakes: usize::try_from(config.limits.handshakes.get()).unwrap_or(usize::MAX),
        hsts: section.hsts.get(),
        hsts_include_subdomains: section.hsts_include_subdomains,
    };
    ServerTls::new(settings, clock).map(Some)
}

/// Reads the files again when they change, and on SIGHUP, until the task is dropped. Files that
/// can't be used are refused: the old ones stay.
pub(super) async fn keep_fresh(tls: Arc<ServerTls>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let files = tls.files();
    let files = files.iter().filter_map(|file| Place::of_file(file));
    let mut watch = Watch::new("the certificate", files.collect());
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = 0;
    // Files that stay bad are said to be so once.
    let mut said = None;
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            () = watch.changed() => {}
            _ = looks.tick() => {
                if look % WARN == 0 {
                    warn_of_end(&tls);
                }
                look += 1;
            }
        }
        match tls.reload() {
            Ok(false) => said = None,
            Ok(true) => {
                said = None;
                tracing::info!(
                    not_after_s = tls.not_after().as_secs(),
                    "the new certificate is in force for new connections"
                );
                warn_of_end(&tls);
            }
            Err(error) => {
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    tracing::error!(
                        error = text,
                        "the new certificate is refused, the old one stays"
                    );
                }
                said = Some(text);
            }
        }
    }
}

fn warn_of_end(tls: &ServerTls) {
    if let Some(left) = tls.ends_soon() {
        tracing::warn!(
            left_s = left.as_secs(),
            not_after_s = tls.not_after().as_secs(),
            "the certificate of server.tls ends soon: put a new one in its place"
        );
    }
}
