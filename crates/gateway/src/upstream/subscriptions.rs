//! Subscriptions to resources with legacy upstreams. They belong to the holder of a session and
//! not to the session: where an upstream has lost that, they are made again in the next one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mcp_ultra_protocol::{Era, Method, Notification, Outcome, json};
use parking_lot::Mutex;

use super::{Behalf, Holder, OnBehalf, Outgoing, Session, Upstream, UpstreamError};

/// How long an upstream may take to answer to what no caller waits for: the end of a subscription,
/// or one that is made again.
const ASK_TIME: Duration = Duration::from_secs(30);
/// How many sessions are opened at once for the sake of their subscriptions.
const AT_ONCE: usize = 8;

/// What one holder is subscribed to.
#[derive(Default)]
pub(super) struct Subscriptions {
    watched: Mutex<HashMap<String, Arc<Watched>>>,
    /// On whose behalf a session is opened for them.
    behalf: Mutex<Option<Behalf>>,
}

/// A resource that is watched, or is about to be.
#[derive(Debug, Default)]
struct Watched {
    /// How many callers want it: they may share the session. Changed by who asks.
    callers: AtomicUsize,
    /// Held while the upstream is told, so that it hears of beginnings and ends in their order.
    asking: tokio::sync::Mutex<()>,
}

impl Watched {
    fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriptions")
            .field("watched", &self.watched)
            .finish_non_exhaustive()
    }
}

impl Subscriptions {
    /// Whether nobody wants anything, or is about to.
    pub(super) fn is_empty(&self) -> bool {
        let mut watched = self.watched.lock();
        watched.retain(|_, one| is_needed(one));
        watched.is_empty()
    }

    pub(super) fn clear(&self) {
        self.watched.lock().clear();
        self.behalf.lock().take();
    }

    /// On whose behalf they were made; `None` where there are none.
    pub(super) fn behalf(&self) -> Option<Behalf> {
        if self.is_empty() {
            return None;
        }
        self.behalf.lock().clone()
    }

    fn enter(&self, uri: &str, behalf: &dyn OnBehalf) -> Arc<Watched> {
        match &mut *self.behalf.lock() {
            // The token of before may have ended.
            Some(known) => known.subject = behalf.lasting_subject(),
            none => *none = Some(behalf.known()),
        }
        let mut watched = self.watched.lock();
        watched.entry(uri.to_owned()).or_default().clone()
    }

    fn find(&self, uri: &str) -> Option<Arc<Watched>> {
        self.watched.lock().get(uri).cloned()
    }

    fn leave(&self, uri: &str, one: Arc<Watched>) {
        drop(one);
        let mut watched = self.watched.lock();
        if watched.get(uri).is_some_and(|one| !is_needed(one)) {
            watched.remove(uri);
        }
    }

    /// Makes all of them in `session`, which takes the place of one that was lost. Nobody waits
    /// for it: calls need not.
    pub(super) fn renew(&self, session: &Session) {
        let Some(behalf) = self.behalf() else { return };
        let wanted: Vec<_> = {
            let watched = self.watched.lock();
            let wanted = watched.iter().filter(|(_, one)| one.callers() > 0);
            wanted
                .map(|(uri, one)| (uri.clone(), one.clone()))
                .collect()
        };
        if wanted.is_empty() {
            return;
        }
        let session = session.clone();
        tokio::spawn(async move {
            for (uri, one) in wanted {
                let _asking = one.asking.lock().await;
                if one.callers() > 0 && !session.is_closed() {
                    renew_one(&session, &behalf, &uri).await;
                }
            }
        });
    }
}

/// Whether somebody wants the resource, or is about to.
fn is_needed(one: &Arc<Watched>) -> bool {
    one.callers() > 0 || Arc::strong_count(one) > 1
}

async fn renew_one(session: &Session, behalf: &Behalf, uri: &str) {
    match ask(session, uri, true).await {
        Ok(Outcome::Result(_)) => {
            // What has changed in between was told to nobody.
            let params = format!("{{\"uri\":{}}}", json::quote(uri));
            let update = Notification::new("notifications/resources/updated", Some(&params));
            (behalf.sink)(update);
        }
        Ok(Outcome::Error(error)) => {
            tracing::warn!(%error, "an upstream that has lost a session refuses one of its subscriptions");
        }
        Err(error) => {
            tracing::warn!(%error, "a subscription of a lost session could not be made again");
        }
    }
}

impl Upstream {
    /// Subscribes to a resource of a legacy upstream, which is told of the first subscription of a
    /// holder and of the end of the last one. The outcome is the upstream's answer, which may take
    /// as long as that to a call.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn subscribe(
        &self,
        behalf: &dyn OnBehalf,
        uri: &str,
    ) -> Result<Outcome, UpstreamError> {
        let holder = self.holder_in_force(behalf.holder());
        let subscriptions = self.pool.subscriptions(&holder)?;
        let one = subscriptions.enter(uri, behalf);
        let asking = async {
            let _asking = one.asking.lock().await;
            let outcome = if one.callers() > 0 {
                Ok(done())
            } else {
                self.ask(behalf, uri).await
            };
            if matches!(outcome, Ok(Outcome::Result(_))) {
                one.callers.fetch_add(1, Ordering::Relaxed);
            }
            outcome
        };
        let outcome = within(self.settings().call_timeout, Box::pin(asking)).await;
        if matches!(outcome, Err(UpstreamError::Timeout(_)))
            && let Some(session) = self.pool.get(&holder)
        {
            tokio::spawn(give_back(session, uri.to_owned(), one.clone()));
        }
        subscriptions.leave(uri, one);
        outcome
    }

    async fn ask(&self, behalf: &dyn OnBehalf, uri: &str) -> Result<Outcome, UpstreamError> {
        let session = self.session(Some(Era::Legacy), behalf).await?;
        match ask(&session, uri, true).await {
            Err(UpstreamError::SessionLost) => {
                self.lost(&session).await;
                let session = self.session(Some(Era::Legacy), behalf).await?;
                ask(&session, uri, true).await
            }
            other => other,
        }
    }

    /// Ends what [`Upstream::subscribe`] began.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn unsubscribe(&self, holder: &Holder, uri: &str) -> Result<Outcome, UpstreamError> {
        let holder = self.holder_in_force(holder.clone());
        // A holder that there is no room for has no subscriptions.
        let Ok(subscriptions) = self.pool.subscriptions(&holder) else {
            return Ok(done());
        };
        let Some(one) = subscriptions.find(uri) else {
            return Ok(done());
        };
        let outcome = {
            let _asking = one.asking.lock().await;
            let callers = one.callers();
            one.callers
                .store(callers.saturating_sub(1), Ordering::Relaxed);
            match self.pool.get(&holder).filter(|_| callers == 1) {
                // Another replica may have the same principal's stream of the same resource open: it
                // goes on until the session ends.
                Some(session) if session.is_shared() && is_of_caller(&holder) => Ok(done()),
                Some(session) => ask(&session, uri, false).await,
                None => Ok(done()),
            }
        };
        subscriptions.leave(uri, one);
        outcome
    }

    /// On whose behalf sessions are missing that subscriptions need.
    pub fn missed(&self) -> Vec<Behalf> {
        self.pool.missed()
    }

    /// Opens sessions again that the upstream has lost, and with them their subscriptions.
    pub async fn restore(&self, missed: &[Behalf]) {
        // Where the upstream does not come up, one attempt at a time is enough.
        let Ok(_alone) = self.restoring.try_lock() else {
            return;
        };
        for some in missed.chunks(AT_ONCE) {
            let opening = some
                .iter()
                .map(|behalf| self.session(Some(Era::Legacy), behalf));
            let opened = futures_util::future::join_all(opening).await;
            // What one of them may not says nothing of the others.
            let of_one = |error: &UpstreamError| matches!(error, UpstreamError::Credentials(_));
            let mut failed = opened.into_iter().filter_map(Result::err);
            if let Some(error) = failed.find(|error| !of_one(error)) {
                tracing::debug!(upstream = %self.name(), %error, "a session with subscriptions could not be opened again");
                return;
            }
        }
    }
}

fn is_of_caller(holder: &Holder) -> bool {
    matches!(holder, Holder::Caller { .. })
}

fn done() -> Outcome {
    Outcome::Result("{}".into())
}

/// Tells the upstream of a subscription, or of its end.
async fn ask(session: &Session, uri: &str, wanted: bool) -> Result<Outcome, UpstreamError> {
    let method = if wanted {
        Method::ResourcesSubscribe
    } else {
        Method::ResourcesUnsubscribe
    };
    let outgoing = Outgoing {
        method: method.as_str(),
        params: Some(format!("{{\"uri\":{}}}", json::quote(uri)).into()),
        ..Outgoing::default()
    };
    let asking = async {
        let mut exchange = session.call(&outgoing).await?;
        Ok(exchange.answer_of_own().await?.outcome)
    };
    within(ASK_TIME, asking).await
}

/// Ends a subscription that the upstream may have agreed to after nobody waited any more, unless
/// somebody else has it by then.
async fn give_back(session: Session, uri: String, one: Arc<Watched>) {
    let _asking = one.asking.lock().await;
    if one.callers() == 0
        && let Err(error) = ask(&session, &uri, false).await
    {
        tracing::debug!(%error, "a subscription that came late could not be ended");
    }
}

async fn within<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or(Err(UpstreamError::Timeout(limit.as_secs())))
}
