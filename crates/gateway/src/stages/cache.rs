//! Answers that are given again without asking the server.
//!
//! Whoever comes here may make the call: the policies have been asked for this very one. So what is
//! decided here is only whether the answer to another call is the answer to this one.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use mcp_ultra_config::CredentialsKind;
use mcp_ultra_domain::{
    cache::{Freshness, Kind},
    catalog::Effect,
};
use mcp_ultra_protocol::{Era, Method};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{authorize::Permitted, protect::Protected};
use crate::{
    Gateway,
    cache::{Asked, Entry, Flight, Found, Joined, Keep, Keys, Landed, Worth, Wrote},
    call::Routed,
    era::InFlight,
    metrics::CacheLevel,
    reply::Reply,
    snapshot::Snapshot,
};

/// How often one waits for others who ask for the same, before it asks for itself.
const WAITS: usize = 2;

/// What has become of a call.
pub(crate) enum Looked {
    /// It was answered by what is kept.
    Given,
    /// Its client is gone.
    Cancelled,
    /// The server has to be asked.
    Ask(Reply),
}

/// Answers a call by what is kept, if anything is; else its answer may be kept.
pub(crate) async fn call(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: &Protected<Permitted<Box<Routed>>>,
    reply: Reply,
) -> Looked {
    let routed = call.get();
    let settings = gateway.settings();
    let Some(freshness) = settings.cache.of(routed.upstream.name()) else {
        return Looked::Ask(reply);
    };
    let Some(kind) = kept_as(freshness, routed) else {
        return Looked::Ask(writing(gateway, freshness, routed, reply));
    };
    let freshness = *freshness;
    let what = What {
        kind,
        freshness,
        largest: settings.cache.largest,
        shared: settings.cache.shared,
    };
    drop(settings);
    let Some(asked) = asked(snapshot, routed, kind) else {
        return Looked::Ask(reply);
    };
    let known = gateway.cache.find(&asked, gateway.clock.now());
    if let Some(entry) = fresh(gateway, known.as_ref()) {
        return give(gateway, kind, CacheLevel::Memory, entry, reply).await;
    }
    // Boxed: whoever looks further waits for others.
    Box::pin(look(gateway, routed, what, asked, known, reply)).await
}

/// What holds for the answer to a call.
#[derive(Clone, Copy)]
struct What {
    kind: Kind,
    freshness: Freshness,
    largest: usize,
    shared: bool,
}

/// As what its answer may be kept; `None` where it may not be.
fn kept_as(freshness: &Freshness, routed: &Routed) -> Option<Kind> {
    let call = &routed.call;
    let kind = Kind::of(call.method)?;
    // What it answers to input is meant for that alone (2026-07-28, Caching, Cache Key).
    if call.continues {
        return None;
    }
    let unasked = freshness.keeps_unasked(kind);
    let may_be = match kind {
        // A server of an earlier revision says nothing.
        Kind::Resource => {
            unasked || routed.upstream.known_era_for(Era::Modern) != Some(Era::Legacy)
        }
        Kind::Prompt | Kind::Completion => unasked,
        Kind::Tool => unasked && reads_alone(routed),
    };
    (may_be && !is_granted(routed)).then_some(kind)
}

/// Whether what somebody has granted still holds is known by using it alone: nothing is kept then.
fn is_granted(routed: &Routed) -> bool {
    let kind = routed.upstream.settings().credentials_kind();
    kind == Some(CredentialsKind::AuthorizationCode)
}

fn reads_alone(routed: &Routed) -> bool {
    let effect = routed.item.as_ref().map(|item| item.effect);
    effect == Some(Effect::ReadOnly)
}

/// The way back of a call that may change something: what its caller could see that by is outdated
/// before it has the answer. Nothing of that is done where nothing can have been kept.
fn writing(gateway: &Arc<Gateway>, freshness: &Freshness, routed: &Routed, reply: Reply) -> Reply {
    use Method::{TasksCancel, TasksGet, TasksUpdate, ToolsCall};

    let upstream = &routed.upstream;
    // What a task has changed is known by asking for it.
    let is_of_tool = matches!(
        routed.call.method,
        ToolsCall | TasksGet | TasksUpdate | TasksCancel
    );
    let may_change = freshness.writes_outdate && is_of_tool && !reads_alone(routed);
    // A server of an earlier revision says nothing.
    let says =
        || upstream.has_resources() && upstream.known_era_for(Era::Modern) != Some(Era::Legacy);
    if !may_change || !(freshness.keeps_any_unasked() || says()) || is_granted(routed) {
        return reply;
    }
    // Also where nothing was kept yet: somebody may ask for something while this is under way.
    reply.writing(Box::new(Wrote {
        gateway: gateway.clone(),
        server: upstream.name().clone(),
        principal: routed.call.caller.principal.clone(),
    }))
}

/// Looks further where `known` is all that is at hand, and of no use.
async fn look(
    gateway: &Arc<Gateway>,
    routed: &Routed,
    what: What,
    asked: Asked,
    known: Option<Arc<Entry>>,
    reply: Reply,
) -> Looked {
    let (kind, cache) = (what.kind, &gateway.cache);
    let begun = Instant::now();
    let worth = cache.worth(&asked);
    let mut flight = None;
    if worth != Worth::Nothing {
        // What was everyone's before is asked for once for everyone.
        let was_public = known.as_ref().is_some_and(|entry| entry.is_public);
        match join(gateway, routed, &asked, was_public, begun, &reply).await {
            Company::Alone => {}
            Company::First(first) => flight = Some(first),
            Company::Given(entry) => {
                return give(gateway, kind, CacheLevel::Flight, &entry, reply).await;
            }
            Company::Cancelled => return Looked::Cancelled,
        }
    }
    // Before it is looked once more: what was kept in between is found, and what changes from here on
    // is known to have changed.
    let moment = cache.moment(&asked.server);
    let known = cache.find(&asked, gateway.clock.now());
    if let Some(entry) = fresh(gateway, known.as_ref()) {
        land(flight, entry);
        return give(gateway, kind, CacheLevel::Memory, entry, reply).await;
    }
    let shared = cache
        .shared
        .as_ref()
        .filter(|_| what.shared && flight.is_some());
    let mut place = None;
    if let Some(shared) = shared {
        // Of what is left, half is for the server.
        let left = routed
            .upstream
            .settings()
            .call_timeout
            .saturating_sub(begun.elapsed());
        let patience = (worth == Worth::WaitingForAll).then_some(left / 2);
        let finding = shared.find(&asked, moment, || gateway.clock.now(), patience);
        match unless_cancelled(routed, &reply, finding).await {
            Some(Found::Kept(entry)) => {
                cache.keep(&asked, &entry, gateway.clock.now());
                land(flight, &entry);
                return give(gateway, kind, CacheLevel::Redis, &entry, reply).await;
            }
            Some(Found::Missing(missing)) => place = missing,
            None => return Looked::Cancelled,
        }
    }
    gateway.metrics.cache_missed(kind);
    Looked::Ask(reply.keeping(Box::new(Keep {
        gateway: gateway.clone(),
        asked,
        freshness: what.freshness,
        largest: what.largest,
        era: routed.call.caller.era(),
        since: gateway.clock.now(),
        waited: begun.elapsed(),
        moment,
        hints: OnceLock::new(),
        spoiled: AtomicBool::new(false),
        flight: Mutex::new(flight),
        stale: known,
        place,
    })))
}

fn land(flight: Option<Flight>, entry: &Arc<Entry>) {
    if let Some(flight) = flight {
        flight.land(Landed::Kept(entry.clone()));
    }
}

/// With whom one asks.
enum Company {
    /// Nobody waits for the answer.
    Alone,
    /// Those who ask for the same wait for it.
    First(Flight),
    /// Somebody has asked, and this is the answer.
    Given(Arc<Entry>),
    /// The client has cancelled meanwhile.
    Cancelled,
}

/// Waits for those who ask for the same, or has them wait.
async fn join(
    gateway: &Gateway,
    routed: &Routed,
    asked: &Asked,
    was_public: bool,
    begun: Instant,
    reply: &Reply,
) -> Company {
    let common = asked.keys.common.filter(|_| was_public);
    let key = common.unwrap_or(asked.keys.own);
    for _ in 0..WAITS {
        let waiting = match gateway.cache.flights.join(key) {
            Joined::First(flight) => return Company::First(flight),
            Joined::Waits(waiting) => waiting,
        };
        // As long as the call may take.
        let limit = routed.upstream.settings().call_timeout;
        let patience = limit.saturating_sub(begun.elapsed());
        let landed = tokio::time::timeout(patience, waiting.landed());
        match unless_cancelled(routed, reply, landed).await {
            Some(Ok(Landed::Kept(entry))) if is_for(gateway, asked, &key, &entry) => {
                return Company::Given(entry);
            }
            Some(Ok(Landed::Lost)) => {}
            Some(_) => return Company::Alone,
            None => return Company::Cancelled,
        }
    }
    Company::Alone
}

fn asked(snapshot: &Snapshot, routed: &Routed, kind: Kind) -> Option<Asked> {
    Some(Asked {
        keys: Keys::of(snapshot, routed)?,
        principal: routed.call.caller.principal.clone(),
        server: routed.upstream.name().clone(),
        kind,
        resource: (kind == Kind::Resource).then(|| routed.original.clone()),
        fingerprint: *routed.upstream.settings().fingerprint(),
        headers: routed.upstream.settings().asked_with(),
        tags: OnceLock::new(),
    })
}

fn fresh<'e>(gateway: &Gateway, known: Option<&'e Arc<Entry>>) -> Option<&'e Arc<Entry>> {
    known.filter(|entry| entry.is_fresh(gateway.clock.now()))
}

/// Whether the answer that others were waited for is this caller's too.
fn is_for(gateway: &Gateway, asked: &Asked, key: &crate::cache::Key, entry: &Entry) -> bool {
    let now = gateway.clock.now();
    let is_own = *key == asked.keys.own;
    let is_everyones = entry.is_public && asked.keys.common.is_some();
    (is_own || is_everyones) && entry.is_fresh(now) && gateway.cache.holds(asked, entry, now)
}

/// Gives what is kept. What each caller may see of it is decided here once results are protected.
async fn give(
    gateway: &Gateway,
    kind: Kind,
    level: CacheLevel,
    entry: &Arc<Entry>,
    reply: Reply,
) -> Looked {
    let now = gateway.clock.now();
    let age = entry.age(now);
    gateway.metrics.cache_hit(level, kind, age);
    tracing::debug!(
        kind = kind.as_str(),
        level = level.as_str(),
        age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        "answered by what is kept"
    );
    let (first, rest) = entry.pieces(now);
    reply.result_of(&[&first, rest]).await;
    Looked::Given
}

/// Waits, unless the client cancels, as it may while a server is asked.
async fn unless_cancelled<T>(
    routed: &Routed,
    reply: &Reply,
    waiting: impl Future<Output = T>,
) -> Option<T> {
    let Ok(mark) = InFlight::begin(routed, reply) else {
        // It is refused where the server is asked.
        return Some(waiting.await);
    };
    tokio::select! {
        biased;
        done = waiting => Some(done),
        () = reply.gone(), if mark.is_none() => None,
        () = InFlight::cancelled(mark.as_ref()) => None,
    }
}
