//! What is to be told: one after the other, each until the stream has it.

use std::sync::{Arc, atomic::Ordering};

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        Context,
        context::{PublishError, PublishErrorKind},
    },
};
use mcp_ultra_domain::Announcement;
use tokio::sync::mpsc;

use super::{
    Shared,
    wire::{self, Told},
};

/// What waits to be told. What is being told when a connection is lost is told again on the next
/// one, under the number that it has: the stream, or else whoever hears it, knows it by that.
pub(super) struct Outbox {
    replica: String,
    queue: mpsc::Receiver<Announcement>,
    /// The number of what was told last.
    number: u64,
    /// What has its number, and is not known to be in the stream.
    open: Option<Told>,
    shared: Arc<Shared>,
}

impl Outbox {
    pub(super) fn new(
        replica: &str,
        queue: mpsc::Receiver<Announcement>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            replica: replica.to_owned(),
            queue,
            number: 0,
            open: None,
            shared,
        }
    }

    /// Tells what is there and what comes, until there will be nothing more.
    pub(super) async fn run(
        &mut self,
        context: &Context,
        subject: &str,
    ) -> Result<(), PublishError> {
        loop {
            if self.open.is_none() {
                let Some(next) = self.next().await else {
                    return Ok(());
                };
                self.number += 1;
                self.open = Some(next);
            }
            if let Some(told) = &self.open {
                publish(context, subject, &self.replica, self.number, told).await?;
                if let Told::Announced(announcement) = told {
                    self.shared.tally.sent(announcement);
                }
            }
            self.open = None;
        }
    }

    /// What is told next. That something was not, once all has been told that was waiting then.
    async fn next(&mut self) -> Option<Told> {
        if let Ok(next) = self.queue.try_recv() {
            return Some(Told::Announced(next));
        }
        if self.shared.overflown.swap(false, Ordering::AcqRel) {
            return Some(Told::Everything);
        }
        self.queue.recv().await.map(Told::Announced)
    }
}

async fn publish(
    context: &Context,
    subject: &str,
    replica: &str,
    number: u64,
    told: &Told,
) -> Result<(), PublishError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, format!("{replica}:{number}"));
    let message = wire::encode(replica, number, told);
    if message.len() > wire::LONGEST {
        // Of an identifier that no gateway makes; it would be refused for ever.
        tracing::error!(
            bytes = message.len(),
            "an announcement is too long to be made"
        );
        return Ok(());
    }
    let sent = context.publish_with_headers(subject.to_owned(), headers, message.into());
    match sent.await?.await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
            tracing::error!(%error, "an announcement is longer than the server takes");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
