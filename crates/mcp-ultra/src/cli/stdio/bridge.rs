//! Which way each message goes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::HeaderMap;
use mcp_ultra_protocol::{
    Body, ByteString, Id, Message, Notification, Request, Response, WireError, json::Object, meta,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{legacy::Session, output::Output, schemas::Schemas};
use crate::client::{ClientError, Reply, Transport};

/// How long a gateway that is not there is tried for before the client is told.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The bridge. Clones share everything.
#[derive(Clone)]
pub(super) struct Bridge {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) transport: Transport,
    pub(super) output: Output,
    /// The legacy session, once there is one.
    pub(super) session: Mutex<Session>,
    /// Held while a session is being opened anew.
    pub(super) reopening: tokio::sync::Mutex<()>,
    pub(super) schemas: Schemas,
    /// Modern requests that wait for their answer.
    pub(super) waiting: Mutex<HashMap<Id, CancellationToken>>,
    /// Requests that are answered before the bridge ends.
    tasks: TaskTracker,
    /// Ends what would never end by itself.
    pub(super) ended: CancellationToken,
}

impl Bridge {
    pub(super) fn new(transport: Transport, output: Output) -> Self {
        Self {
            shared: Arc::new(Shared {
                transport,
                output,
                session: Mutex::default(),
                reopening: tokio::sync::Mutex::default(),
                schemas: Schemas::default(),
                waiting: Mutex::default(),
                tasks: TaskTracker::new(),
                ended: CancellationToken::new(),
            }),
        }
    }

    /// Returns once the client reads no more.
    pub(super) async fn closed(&self) {
        self.shared.output.closed().await;
    }

    /// Takes a line from the client.
    ///
    /// Returns at once, except for the two messages of the legacy handshake: what comes after
    /// them needs the session.
    pub(super) async fn line(&self, line: Vec<u8>) {
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() {
            return;
        }
        match Body::parse(trimmed.to_vec()) {
            Ok(Body::Single(Message::Request(request))) => self.request(request).await,
            Ok(Body::Single(Message::Notification(notification))) => {
                self.notification(notification).await;
            }
            Ok(Body::Single(Message::Response(response))) => {
                self.spawn(|bridge| async move { bridge.legacy_deliver(response.text).await });
            }
            Ok(Body::Batch(messages)) => {
                // The line was just read as UTF-8.
                let Ok(text) = ByteString::try_from(trimmed.to_vec()) else {
                    return;
                };
                self.spawn(|bridge| async move { bridge.legacy_batch(text, messages).await });
            }
            Err(error) => {
                let answer = Response::error(error.id(), &error.to_wire());
                self.shared.output.write(&answer.text).await;
            }
        }
    }

    async fn request(&self, request: Request) {
        let modern = meta::RequestMeta::of_params(request.params.as_deref())
            .ok()
            .filter(|meta| meta.is_modern)
            .map(|meta| meta.protocol_version.unwrap_or_default().into_owned());
        if let Some(version) = modern.filter(|_| request.method != "initialize") {
            let cancelled = self.shared.ended.child_token();
            self.shared
                .waiting
                .lock()
                .insert(request.id.clone(), cancelled.clone());
            let endless = request.method == "subscriptions/listen";
            let bridge = self.clone();
            let work = async move {
                let id = request.id.clone();
                // Closing the stream is how a modern request is cancelled over HTTP.
                let work = Box::pin(bridge.modern_request(request, version));
                let _ = cancelled.run_until_cancelled(work).await;
                bridge.shared.waiting.lock().remove(&id);
            };
            if endless {
                tokio::spawn(work);
            } else {
                self.shared.tasks.spawn(work);
            }
        } else if request.method == "initialize" {
            Box::pin(self.legacy_initialize(request)).await;
        } else {
            self.spawn(|bridge| async move { Box::pin(bridge.legacy_request(request)).await });
        }
    }

    async fn notification(&self, notification: Notification) {
        if notification.method == "notifications/cancelled"
            && let Some(id) = cancelled_id(&notification)
            && let Some(cancelled) = self.shared.waiting.lock().remove(&id)
        {
            cancelled.cancel();
            return;
        }
        if notification.method == "notifications/initialized" {
            Box::pin(self.legacy_initialized(notification.text)).await;
        } else if self.shared.session.lock().is_open() {
            self.spawn(|bridge| async move { bridge.legacy_deliver(notification.text).await });
        }
        // A modern client sends no other notification over HTTP (2026-07-28, Streamable HTTP,
        // Sending Messages).
    }

    fn spawn<F>(&self, work: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shared.tasks.spawn(work(self.clone()));
    }

    /// Sends a message; where nobody listens, again and again for a while. Only a connection that
    /// never came to be is tried again: nothing was sent on it.
    pub(super) async fn post(
        &self,
        headers: HeaderMap,
        text: &ByteString,
    ) -> Result<Reply, ClientError> {
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self
                .shared
                .transport
                .post(headers.clone(), text.clone())
                .await
            {
                Err(ClientError::Connect { .. }) if start.elapsed() + pause < PATIENCE => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
    }

    /// Tells the client that its request came to nothing.
    pub(super) async fn fail(&self, id: &Id, error: &ClientError) {
        let mut said = chain(error);
        if matches!(error, ClientError::Connect { .. }) {
            said.push_str(
                ". Is the gateway running? The bridge tries again with the next request.",
            );
        }
        eprintln!("mcp-ultra stdio: {said}");
        let answer = Response::error(Some(id), &WireError::internal(said));
        self.shared.output.write(&answer.text).await;
    }

    /// Ends: waits for answers as long as `drain` says, then closes everything.
    pub(super) async fn finish(&self, drain: Option<Duration>, goodbye: Duration) {
        self.shared.tasks.close();
        if let Some(drain) = drain {
            let _ = tokio::time::timeout(drain, self.shared.tasks.wait()).await;
        }
        self.shared.ended.cancel();
        let _ = tokio::time::timeout(goodbye, self.legacy_end()).await;
    }
}

fn cancelled_id(notification: &Notification) -> Option<Id> {
    let params = notification.params.as_ref()?;
    let raw = Object::parse(params).ok()?.get("requestId")?;
    Id::from_raw(params.slice_ref(raw))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}
