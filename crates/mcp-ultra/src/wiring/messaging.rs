//! From the section `messaging` to what gateways tell each other by.

use std::sync::Arc;

use aws_lc_rs::rand;
use mcp_ultra_backends::nats::{Nats, NatsError};
use mcp_ultra_config::MessagingSection;
use mcp_ultra_domain::ports::{Announcements, MemoryAnnouncements, Rendezvous};

/// Nothing can be told.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum MessagingError {
    /// The section names something that is not there.
    #[error(transparent)]
    #[diagnostic(help("check the files that messaging.nats.tls names, and who may read them"))]
    Nats(#[from] NatsError),
    /// The system has no randomness to tell this gateway from others by.
    #[error("the system gives no randomness, by which gateways are told apart")]
    Randomness,
}

/// The other gateways, if there are any.
pub(crate) struct Messaging {
    nats: Option<Arc<Nats>>,
    alone: Arc<dyn Announcements>,
}

impl Messaging {
    /// Begins to connect; who is configured alone tells nobody anything.
    pub(crate) fn start(section: &MessagingSection) -> Result<Self, MessagingError> {
        let nats = section.nats.as_ref().map(|settings| {
            let replica = format!("{:016x}{:016x}", filled()?, filled()?);
            Ok::<_, MessagingError>(Arc::new(Nats::start(settings, &replica, number)?))
        });
        Ok(Self {
            nats: nats.transpose()?,
            alone: Arc::new(MemoryAnnouncements::default().replica()),
        })
    }

    /// Where changes are announced and heard of.
    pub(crate) fn announcements(&self) -> Arc<dyn Announcements> {
        match &self.nats {
            Some(nats) => nats.clone(),
            None => self.alone.clone(),
        }
    }

    /// The NATS itself.
    pub(super) fn nats(&self) -> Option<Arc<Nats>> {
        self.nats.clone()
    }

    /// How the others are reached, where there may be any.
    pub(super) fn rendezvous(&self) -> Option<Arc<dyn Rendezvous>> {
        let nats = self.nats.clone()?;
        Some(nats)
    }

    /// Tells what is still to be told. Whether the others know all of it, if there are any.
    pub(crate) async fn close(&self) -> bool {
        match &self.nats {
            Some(nats) => nats.close().await,
            None => true,
        }
    }
}

fn filled() -> Result<u64, MessagingError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| MessagingError::Randomness)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Jitter may be zero once there is no randomness.
pub(super) fn number() -> u64 {
    filled().unwrap_or_default()
}
