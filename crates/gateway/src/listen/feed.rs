use std::{sync::Arc, time::Duration};

use mcp_ultra_protocol::{Era, Notification, Version, json, json::Object, meta};

use super::filter::{RESOURCES, TASKS};
use crate::upstream::{Event, Exchange, Hello, OnBehalf, Outgoing, Role, Upstream, UpstreamError};

/// The longest wait before a broken feed is opened again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long an upstream may take to acknowledge a subscription.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// What an upstream agreed to tell of, in its own names.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub resources: Vec<String>,
    pub tasks: Vec<String>,
}

/// What a feed has heard.
pub(crate) enum Heard {
    /// The upstream has told of something.
    Notification(Notification),
    /// The stream had broken off and is open again: what changed meanwhile was told to nobody.
    Again,
}

/// A `subscriptions/listen` stream from a modern upstream.
pub(crate) struct Feed<B> {
    upstream: Arc<Upstream>,
    behalf: B,
    params: String,
    role: Role,
    exchange: Option<Exchange>,
    pause: Duration,
}

/// The `params` of `subscriptions/listen`; `filter` is the text of its `notifications`.
fn listen_params(hello: &Hello, filter: &str) -> String {
    format!(
        "{{\"_meta\":{{\"{}\":\"{}\",\"{}\":{},\"{}\":{}}},\"notifications\":{filter}}}",
        meta::PROTOCOL_VERSION,
        Version::LATEST,
        meta::CLIENT_INFO,
        hello.client_info,
        meta::CLIENT_CAPABILITIES,
        hello.capabilities
    )
}

impl<B> Feed<B> {
    /// Whose it is.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

impl<B: OnBehalf> Feed<B> {
    /// Opens a feed of the upstream's resources `uris` and tasks `tasks`. Returns those that it
    /// agreed to.
    ///
    /// # Errors
    /// [`UpstreamError`] where the upstream can't be reached or does not know the method.
    pub(crate) async fn of_resources(
        upstream: Arc<Upstream>,
        behalf: B,
        uris: &[String],
        tasks: &[String],
    ) -> Result<(Self, Agreed), UpstreamError> {
        let mut members = Vec::new();
        for (key, names) in [(RESOURCES, uris), (TASKS, tasks)] {
            if !names.is_empty() {
                let quoted: Vec<String> = names.iter().map(|name| json::quote(name)).collect();
                members.push(format!("\"{key}\":[{}]", quoted.join(",")));
            }
        }
        let filter = format!("{{{}}}", members.join(","));
        let params = listen_params(&behalf.hello(), &filter);
        let mut feed = Self {
            upstream,
            behalf,
            params,
            role: Role::Stream,
            exchange: None,
            pause: Duration::from_secs(1),
        };
        let agreed = feed.connect().await?;
        Ok((feed, agreed))
    }

    /// Opens a feed of changed lists; `filter` is the text of the `notifications` filter. It does
    /// not keep a process alive that nothing else needs.
    ///
    /// # Errors
    /// As [`Feed::of_resources`].
    pub(crate) async fn of_lists(
        upstream: Arc<Upstream>,
        behalf: B,
        filter: &str,
    ) -> Result<Self, UpstreamError> {
        let params = listen_params(&behalf.hello(), filter);
        let mut feed = Self {
            upstream,
            behalf,
            params,
            role: Role::Background,
            exchange: None,
            pause: Duration::from_secs(1),
        };
        feed.connect().await?;
        Ok(feed)
    }

    /// Sends the request and reads the acknowledgement: the resources that were agreed to.
    async fn connect(&mut self) -> Result<Agreed, UpstreamError> {
        tokio::time::timeout(OPEN_TIME, self.subscribe())
            .await
            .unwrap_or(Err(UpstreamError::Timeout(OPEN_TIME.as_secs())))
    }

    async fn subscribe(&mut self) -> Result<Agreed, UpstreamError> {
        let outgoing = Outgoing {
            method: "subscriptions/listen",
            role: self.role,
            params: Some(self.params.clone().into()),
            ..Outgoing::default()
        };
        let mut exchange = self
            .upstream
            .call(Era::Modern, &self.behalf, outgoing)
            .await?;
        let acknowledged = loop {
            match exchange.next().await? {
                Event::Notification(notification)
                    if notification.method == "notifications/subscriptions/acknowledged" =>
                {
                    break notification;
                }
                Event::Response(_) => {
                    return Err(UpstreamError::Protocol(
                        "it does not offer subscriptions/listen".into(),
                    ));
                }
                _ => {}
            }
        };
        self.exchange = Some(exchange);
        Ok(agreed(&acknowledged).unwrap_or_default())
    }

    /// What is heard next. A feed that breaks is opened again for as long as it is read.
    pub(crate) async fn next(&mut self) -> Heard {
        if let Some(notification) = self.next_of_open().await {
            // It works: one that merely opens is not asked again and again.
            self.pause = Duration::from_secs(1);
            return Heard::Notification(notification);
        }
        loop {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(MAX_PAUSE);
            match self.connect().await {
                Ok(_) => return Heard::Again,
                Err(error) => {
                    tracing::debug!(upstream = %self.upstream.name(), %error, "a notification stream could not be opened again");
                }
            }
        }
    }

    /// The next notification of the stream that is open; `None` where it has ended.
    pub(crate) async fn next_of_open(&mut self) -> Option<Notification> {
        while let Some(exchange) = &mut self.exchange {
            match exchange.next().await {
                Ok(Event::Notification(notification)) => return Some(notification),
                Ok(Event::Request(_) | Event::TooLarge(_)) => {}
                Ok(Event::Response(_)) | Err(_) => self.exchange = None,
            }
        }
        None
    }

    /// Whether the stream has ended, and nothing of it is left to be read.
    pub(crate) fn is_over(&self) -> bool {
        self.exchange.as_ref().is_none_or(Exchange::is_closed)
    }

    /// Ends the feed.
    pub(crate) async fn close(self) {
        if let Some(exchange) = self.exchange {
            exchange.cancel("nobody listens any more").await;
        }
    }
}

fn agreed(acknowledged: &Notification) -> Option<Agreed> {
    let params = Object::parse(acknowledged.params.as_ref()?).ok()?;
    let filter = params.get_object("notifications").ok()??;
    let names = |key: &str| {
        let elements = filter.get(key).and_then(json::elements);
        elements
            .unwrap_or_default()
            .into_iter()
            .filter_map(|raw| json::as_str(raw).map(std::borrow::Cow::into_owned))
            .collect()
    };
    Some(Agreed {
        resources: names(RESOURCES),
        tasks: names(TASKS),
    })
}
