use std::{collections::HashMap, sync::Arc, time::Duration};

use mcp_ultra_domain::{
    cache::Outdated,
    catalog::{Kind, Offer, Raw, ServerCapabilities},
};
use mcp_ultra_protocol::Era;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Unread,
    calm::Calm,
    lending::{self, Patience},
    read,
};
use crate::{
    Gateway, aside,
    listen::{self, Feed, Heard, changed_list},
    random,
    upstream::{Behalf, Holder, Upstream, UpstreamError},
};

/// The first and the longest wait before a failed upstream is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The least time between two readings for any reason.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two readings because of a short `ttlMs`.
const LEAST_REFRESH: Duration = Duration::from_secs(30);

/// One keeper an upstream.
#[derive(Default)]
pub(crate) struct Keepers {
    keepers: Mutex<HashMap<Arc<str>, Arc<Keeper>>>,
}

struct Keeper {
    upstream: Arc<Upstream>,
    wake: Notify,
    /// What may be offered of the lists may be another part of them now.
    judge: Notify,
    /// Lists whose change the upstream has told of: told on even where nothing differs, since the
    /// caller may see more than the catalog does.
    told: Mutex<Vec<Kind>>,
    stop: CancellationToken,
}

/// Why a keeper goes on.
enum Woken {
    /// The lists have to be read again.
    Read,
    /// They have to be judged again.
    Judge,
    /// It is not needed any more.
    Stop,
}

impl Keepers {
    /// Keeps `upstream`, in place of one of the same name.
    pub(crate) fn keep(&self, gateway: &Arc<Gateway>, upstream: Arc<Upstream>) {
        upstream.hear(listen::sink(gateway, &upstream, &Holder::Catalog, None));
        let keeper = Arc::new(Keeper {
            wake: Notify::new(),
            judge: Notify::new(),
            told: Mutex::default(),
            stop: CancellationToken::new(),
            upstream,
        });
        let old = self
            .keepers
            .lock()
            .insert(keeper.upstream.name().clone(), keeper.clone());
        if let Some(old) = old {
            old.stop.cancel();
        }
        tokio::spawn(keeper.run(gateway.clone()));
    }

    /// Keeps the upstream of that name no more.
    pub(crate) fn drop(&self, name: &str) {
        if let Some(keeper) = self.keepers.lock().remove(name) {
            keeper.stop.cancel();
        }
    }

    /// Stops all keepers.
    pub(crate) fn stop(&self) {
        for (_, keeper) in self.keepers.lock().drain() {
            keeper.stop.cancel();
        }
    }

    /// An upstream has told that one of its lists changed.
    pub(crate) fn list_changed(&self, name: &str, kind: Kind) {
        if let Some(keeper) = self.keepers.lock().get(name) {
            keeper.tell(kind);
            keeper.wake.notify_one();
        }
    }

    /// Pins have changed: the lists that were read are judged again.
    pub(crate) fn judge_again(&self) {
        for keeper in self.keepers.lock().values() {
            keeper.judge.notify_one();
        }
    }

    /// The lists of these upstreams are judged again.
    fn judge(&self, upstreams: &[Arc<str>]) {
        let keepers = self.keepers.lock();
        for keeper in upstreams.iter().filter_map(|name| keepers.get(name)) {
            keeper.judge.notify_one();
        }
    }

    /// A call has failed in a way that looks as if the upstream were down, or another than it was
    /// when it was read.
    pub(crate) fn suspect(&self, name: &str) {
        if let Some(keeper) = self.keepers.lock().get(name) {
            keeper.wake.notify_one();
        }
    }
}

impl Keeper {
    async fn run(self: Arc<Self>, gateway: Arc<Gateway>) {
        let mut failures = 0_u32;
        let mut feed: Option<Feed<Behalf>> = None;
        // The stream was opened after the lists were read last.
        let mut opened = false;
        // As they were read last.
        let mut lists: Option<Raw> = None;
        let mut calm = Calm::default();
        let mut patience = Patience::default();
        if self.take_kept(&gateway).await.is_none() {
            return;
        }
        loop {
            let began = Instant::now();
            let found = tokio::select! {
                () = self.stop.cancelled() => return,
                found = self.find(&gateway, &mut feed) => found,
            };
            lending::note(&self.upstream, found.as_ref().err());
            let longest = gateway.settings().refresh;
            let withdraws = patience.is_over(found.as_ref().err(), longest);
            let pause = match found {
                Ok((era, raw)) => {
                    let Some((offer, scanned)) = self.offer(&gateway, &raw).await else {
                        return;
                    };
                    calm.read(scanned, Instant::now());
                    if let Some(shared) = gateway.shared_cache() {
                        shared.keep_lists(&self.upstream, &raw);
                    }
                    let listens = feed.is_some() || era == Era::Legacy;
                    let capabilities = raw.capabilities.clone();
                    lists = gateway.is_pinned(self.upstream.name()).then_some(raw);
                    if failures > 0 {
                        tracing::info!(upstream = %self.upstream.name(), "the upstream answers again");
                    }
                    failures = 0;
                    let pause = self.refresh_after(&gateway, &offer);
                    self.publish(&gateway, Ok(offer));
                    if self.upstream.take_new() {
                        gateway.servers_changed();
                        listen::renew(&gateway, &self.upstream);
                    }
                    if !listens {
                        feed = tokio::select! {
                            () = self.stop.cancelled() => return,
                            feed = self.open_feed(&gateway, &capabilities) => feed,
                        };
                        // Once in a round: a stream that ends at once must not make it read on and on.
                        opened = feed.is_some() && !opened;
                        if opened {
                            // What has changed between the reading and the opening was told to
                            // nobody. At once, since a child process is running now and is not
                            // started again for it later.
                            continue;
                        }
                    }
                    opened = false;
                    pause
                }
                Err(error) => {
                    failures += 1;
                    let remedy = self.upstream.settings().remedy(&error);
                    if failures == 1 {
                        tracing::warn!(upstream = %self.upstream.name(), %error, remedy, "the upstream could not be read; it is tried again");
                    }
                    // Both its era and its session may be what is wrong.
                    self.upstream.forget_eras();
                    self.upstream.close(&Holder::Catalog).await;
                    if self.upstream.settings().shared {
                        self.upstream.close_unused().await;
                    }
                    feed = None;
                    let reason = error.to_string();
                    self.publish(
                        &gateway,
                        Err(Unread {
                            reason,
                            remedy,
                            withdraws,
                        }),
                    );
                    Some(backoff(failures))
                }
            };
            let until = pause.map(|pause| Instant::now() + pause);
            loop {
                match self.wait(&gateway, until, &mut feed).await {
                    Woken::Stop => return,
                    Woken::Read => break,
                    Woken::Judge => {
                        // Nothing was kept while nothing was pinned.
                        let Some(raw) = &lists else { break };
                        self.judge_again(&gateway, raw).await;
                    }
                }
            }
            // Neither an upstream that tells of changes without end nor calls that fail one after
            // the other make it read without a pause.
            let earliest = calm.earliest().map_or(began + LEAST_PAUSE, |earliest| {
                earliest.max(began + LEAST_PAUSE)
            });
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep_until(earliest) => break,
                    () = self.judge.notified() => {
                        if let Some(raw) = &lists {
                            self.judge_again(&gateway, raw).await;
                        }
                    }
                }
            }
        }
    }

    /// Offers what another gateway has read before, until the upstream has been read, which may take a
    /// while. `None` where it is not needed any more.
    async fn take_kept(&self, gateway: &Arc<Gateway>) -> Option<()> {
        let Some(shared) = gateway.shared_cache() else {
            return Some(());
        };
        let kept = tokio::select! {
            () = self.stop.cancelled() => return None,
            kept = shared.lists(&self.upstream) => kept,
        };
        let Some(raw) = kept else { return Some(()) };
        let (offer, _) = self.offer(gateway, &raw).await?;
        tracing::debug!(upstream = %self.upstream.name(), "the lists of the upstream are those that another gateway has read");
        gateway.publish_kept(&self.upstream, offer);
        Some(())
    }

    /// A list has changed: told on once, however often it is told.
    fn tell(&self, kind: Kind) {
        let mut told = self.told.lock();
        if !told.contains(&kind) {
            told.push(kind);
        }
    }

    /// Reads the lists, after it is known whose grant that is done with.
    async fn find(
        &self,
        gateway: &Arc<Gateway>,
        feed: &mut Option<Feed<Behalf>>,
    ) -> Result<(Era, Raw), UpstreamError> {
        if lending::choose(&self.upstream).await? {
            *feed = None;
        }
        let found = self.read(gateway).await?;
        // The process that it came from may have been replaced by another one.
        if self.upstream.is_stdio() && feed.as_ref().is_some_and(Feed::is_over) {
            *feed = None;
        }
        Ok(found)
    }

    async fn read(&self, gateway: &Arc<Gateway>) -> Result<(Era, Raw), UpstreamError> {
        let limit = gateway.settings().list_timeout;
        let behalf = self.upstream.own_behalf();
        // A child process may have to be unpacked and started first.
        let limit = if self.upstream.is_stdio() {
            limit + self.upstream.settings().start_timeout
        } else {
            limit
        };
        tokio::time::timeout(limit, read::all(&self.upstream, &behalf))
            .await
            .unwrap_or(Err(UpstreamError::Timeout(limit.as_secs())))
    }

    /// What of the lists is offered, and how many definitions were new; `None` where it is not
    /// needed any more.
    async fn offer(&self, gateway: &Gateway, raw: &Raw) -> Option<(Offer, usize)> {
        let rules = gateway.settings().pinning.clone();
        let (name, stop) = (self.upstream.name(), &self.stop);
        let verdict = gateway.pinning.judge(name, raw, &rules, stop).await?;
        gateway.keepers.judge(&verdict.again);
        let (upstream, scanned) = (self.upstream.clone(), verdict.scanned);
        let work = aside::done(verdict.offered.size(), move || {
            let labels = &upstream.settings().labels;
            Offer::new(&verdict.offered, upstream.naming(), labels)
        });
        let (offer, unusable) = work.await?;
        for (kind, reason) in unusable {
            tracing::warn!(upstream = %self.upstream.name(), list = kind.list_key(), %reason, "a definition is left out");
        }
        Some((offer, scanned))
    }

    async fn judge_again(&self, gateway: &Gateway, raw: &Raw) {
        if let Some((offer, _)) = self.offer(gateway, raw).await {
            gateway.publish_again(&self.upstream, offer);
        }
    }

    async fn open_feed(&self, gateway: &Arc<Gateway>, capabilities: &str) -> Option<Feed<Behalf>> {
        let can = ServerCapabilities::parse(capabilities);
        let wanted: Vec<&str> = [
            (can.tools_changed, r#""toolsListChanged":true"#),
            (can.prompts_changed, r#""promptsListChanged":true"#),
            (can.resources_changed, r#""resourcesListChanged":true"#),
        ]
        .into_iter()
        .filter(|(declared, _)| *declared)
        .map(|(_, member)| member)
        .collect();
        if wanted.is_empty() {
            return None;
        }
        let filter = format!("{{{}}}", wanted.join(","));
        let opening = Feed::of_lists(self.upstream.clone(), self.upstream.own_behalf(), &filter);
        match tokio::time::timeout(gateway.settings().list_timeout, opening).await {
            Ok(Ok(feed)) => Some(feed),
            Ok(Err(error)) => {
                tracing::debug!(upstream = %self.upstream.name(), %error, "changed lists are found by asking");
                None
            }
            Err(_) => None,
        }
    }

    /// When to read the lists again; a child process tells when they change, and is not started
    /// for it.
    fn refresh_after(&self, gateway: &Gateway, offer: &Offer) -> Option<Duration> {
        if self.upstream.is_stdio() {
            return None;
        }
        let longest = gateway.settings().refresh;
        let hinted = offer
            .ttl_ms
            .filter(|ttl| *ttl > 0)
            .map(Duration::from_millis);
        let pause = hinted.map_or(longest, |hinted| {
            hinted.clamp(LEAST_REFRESH.min(longest), longest)
        });
        Some(jittered(pause))
    }

    fn publish(&self, gateway: &Arc<Gateway>, found: Result<Offer, Unread>) {
        let told = std::mem::take(&mut *self.told.lock());
        gateway.publish(&self.upstream, found, &told);
    }

    /// Waits until there is something to do.
    async fn wait(
        &self,
        gateway: &Gateway,
        until: Option<Instant>,
        feed: &mut Option<Feed<Behalf>>,
    ) -> Woken {
        let pause = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(pause);
        loop {
            let next = async {
                match feed {
                    // A child process is not started for it: it tells again when the next one is
                    // read.
                    Some(feed) if self.upstream.is_stdio() => {
                        feed.next_of_open().await.map(Heard::Notification)
                    }
                    Some(feed) => Some(feed.next().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return Woken::Stop,
                () = &mut pause => return Woken::Read,
                () = self.wake.notified() => return Woken::Read,
                () = self.judge.notified() => return Woken::Judge,
                // Another process than the one that was read, and nothing listens to it yet.
                () = self.upstream.shared_process_started() => return Woken::Read,
                heard = next => match heard {
                    Some(Heard::Notification(notification)) => {
                        if let Some(kind) = changed_list(&notification.method) {
                            gateway.list_outdated(self.upstream.name(), kind);
                            self.tell(kind);
                            return Woken::Read;
                        }
                    }
                    Some(Heard::Again) => {
                        gateway.outdate(self.upstream.name(), Outdated::All);
                        return Woken::Read;
                    }
                    None => *feed = None,
                },
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    jittered(RETRY.0.saturating_mul(factor).min(RETRY.1))
}

/// `pause` give or take a tenth, so that many gateways do not ask at the same moment.
fn jittered(pause: Duration) -> Duration {
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let spread = (millis / 5).max(1);
    Duration::from_millis(millis - millis / 10 + random::number() % spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        for (failures, least, most) in [(1, 900, 1100), (3, 3600, 4400), (40, 27_000, 33_000)] {
            let millis = backoff(failures).as_millis();
            assert!((least..=most).contains(&millis), "{failures}: {millis}");
        }
    }
}
