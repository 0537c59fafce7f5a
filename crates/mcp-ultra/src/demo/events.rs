//! What has changed: told to everybody who listens, in either era.

use mcp_ultra_protocol::{ByteString, Notification, json};
use tokio::sync::broadcast;

/// How many changes a slow listener may be behind before it misses some.
const BACKLOG: usize = 256;

/// A change that a client may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The resource with this URI reads differently now.
    Resource(String),
    /// The list of resources is another one.
    ResourceList,
}

/// Spreads changes.
#[derive(Debug)]
pub(super) struct Events {
    sender: broadcast::Sender<Change>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
        }
    }

    /// Tells everybody who listens now.
    pub(super) fn tell(&self, change: Change) {
        // An error means that nobody listens.
        let _ = self.sender.send(change);
    }

    /// Hears every change from now on.
    pub(super) fn hear(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    /// How many are listening.
    #[cfg(test)]
    pub(super) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

impl Change {
    /// The notification that tells it; `meta` is the JSON text of its `_meta`, where it has one.
    pub(super) fn notification(&self, meta: Option<&str>) -> ByteString {
        let meta = meta.map(|meta| format!("\"_meta\":{meta}"));
        match self {
            Self::Resource(uri) => {
                let uri = format!("\"uri\":{}", json::quote(uri));
                let members: Vec<String> = meta.into_iter().chain([uri]).collect();
                let params = format!("{{{}}}", members.join(","));
                Notification::new("notifications/resources/updated", Some(&params)).text
            }
            Self::ResourceList => {
                let params = meta.map(|meta| format!("{{{meta}}}"));
                Notification::new("notifications/resources/list_changed", params.as_deref()).text
            }
        }
    }
}
