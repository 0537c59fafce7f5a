//! TLS of a listener: certificate, key, and whose certificates clients may have, all of which are
//! read again while connections are served.
//!
//! - `settings`: everything that is configured
//! - `load`: from files to what rustls needs
//! - `handshake`: from an accepted socket to a stream, within bounds
//! - `certificate`: what is known of a client by its certificate
//! - `error`: why files are refused
//!
//! Connections keep what they were opened with; a new certificate is for new ones. Sessions to
//! resume end with a reload, so that a client that was taken out of the authorities or put on the
//! revocation list is looked at again.

mod certificate;
mod error;
mod handshake;
mod load;
mod settings;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use mcp_ultra_domain::Clock;
use tokio::sync::Semaphore;

pub(crate) use self::handshake::{Failed, Secured};
use self::load::Loaded;
pub use self::{
    certificate::{PeerCertificate, San, SanKind},
    error::TlsError,
    settings::{ClientAuthorities, TlsSettings, TlsVersion},
};

/// A certificate is said to end soon when this much of its time is left, or a quarter of it if that
/// is less: some live for a day only.
const SOON: Duration = Duration::from_hours(14 * 24);

/// The TLS of one or more listeners.
pub struct ServerTls {
    settings: TlsSettings,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
    /// Handshakes that may be under way.
    places: Semaphore,
    applied: AtomicU64,
    refused: AtomicU64,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: one of them can't be used.
    pub fn new(settings: TlsSettings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::read(&settings)?;
        Ok(Arc::new(Self {
            places: Semaphore::new(settings.max_handshakes.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            clock,
            current: ArcSwap::from_pointee(loaded),
            applied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Reads the files again, and uses what they hold for new connections; tells whether anything
    /// differs.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: they can't be used, or the new certificate has ended. The old one stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let read = Loaded::read(&self.settings).and_then(|loaded| {
            if loaded.digest != self.current.load().digest && loaded.not_after <= self.clock.now() {
                return Err(TlsError::Ended(self.settings.certificate.clone()));
            }
            Ok(loaded)
        });
        let loaded = read.inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        if loaded.digest == self.current.load().digest {
            return Ok(false);
        }
        self.current.store(Arc::new(loaded));
        self.applied.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let clients = self.settings.clients.as_ref();
        let authorities = clients.map(|clients| clients.authorities.clone());
        let revoked = clients.and_then(|clients| clients.revocations.clone());
        [self.settings.certificate.clone(), self.settings.key.clone()]
            .into_iter()
            .chain(authorities)
            .chain(revoked)
            .collect()
    }

    /// When the certificate ends, since the Unix epoch.
    pub fn not_after(&self) -> Duration {
        self.current.load().not_after
    }

    /// How long the certificate still lasts, where that is not long.
    pub fn ends_soon(&self) -> Option<Duration> {
        let current = self.current.load();
        let lifetime = current.not_after.saturating_sub(current.not_before);
        let left = current.not_after.saturating_sub(self.clock.now());
        (left < SOON.min(lifetime / 4)).then_some(left)
    }

    /// `Strict-Transport-Security`, where it is to be sent.
    pub(crate) fn hsts(&self) -> Option<HeaderValue> {
        let seconds = self.settings.hsts.as_secs();
        let below = if self.settings.hsts_include_subdomains {
            "; includeSubDomains"
        } else {
            ""
        };
        HeaderValue::try_from(format!("max-age={seconds}{below}"))
            .ok()
            .filter(|_| seconds > 0)
    }

    /// How often new files were taken over, and how often they were refused.
    pub fn reloads(&self) -> (u64, u64) {
        (
            self.applied.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }
}
