//! What the gateway answers itself: handshakes, lists, subscriptions.

use std::{fmt::Write, sync::Arc, time::Duration};

use bytestring::ByteString;
use mcp_ultra_domain::{
    catalog::{Item, Kind, State},
    flags::Feature,
};
use mcp_ultra_protocol::{
    Era, Method, Version, WireError,
    json::{self, Object},
    meta,
    seal::Purpose,
};

use super::{authorize, meter, route};
use crate::{
    Gateway,
    access::{Listing, Viewer},
    call::Call,
    listen,
    pipeline::refuse,
    reply::Reply,
    session::Negotiated,
    snapshot::Snapshot,
};

/// Whether the gateway answers `method` itself.
pub(crate) fn answers(method: Method) -> bool {
    matches!(
        method,
        Method::Initialize
            | Method::Ping
            | Method::Discover
            | Method::Listen
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::ResourceTemplatesList
            | Method::SetLevel
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
    )
}

/// Answers a call of a method that [`answers`].
pub(crate) async fn answer(
    gateway: &Arc<Gateway>,
    snapshot: &Arc<Snapshot>,
    call: Box<Call>,
    reply: Reply,
) {
    match call.method {
        Method::Initialize => initialize(gateway, snapshot, &call, reply).await,
        Method::Ping => reply.result("{}").await,
        Method::Discover => reply.result(&discover(gateway, snapshot, &call)).await,
        Method::Listen if !reply.streams() => {
            let error = WireError::invalid_request(
                "subscriptions/listen is answered by a stream: Accept must list text/event-stream",
            );
            reply.error_with_status(&error, 406).await;
        }
        Method::Listen => Box::pin(listen::open(gateway, snapshot, call, reply)).await,
        Method::ToolsList => list(gateway, snapshot, Kind::Tool, &call, reply).await,
        Method::PromptsList => list(gateway, snapshot, Kind::Prompt, &call, reply).await,
        Method::ResourcesList => list(gateway, snapshot, Kind::Resource, &call, reply).await,
        Method::ResourceTemplatesList => {
            list(gateway, snapshot, Kind::Template, &call, reply).await;
        }
        Method::SetLevel => set_level(gateway, &call, reply).await,
        Method::ResourcesSubscribe => subscribe(gateway, snapshot, call, reply, true).await,
        Method::ResourcesUnsubscribe => subscribe(gateway, snapshot, call, reply, false).await,
        other => {
            reply
                .error(&WireError::method_not_found(other.as_str()))
                .await;
        }
    }
}

async fn initialize(gateway: &Gateway, snapshot: &Snapshot, call: &Call, reply: Reply) {
    let caller = &call.caller;
    let (rules, now) = (&snapshot.rules, gateway.clock.now());
    if !rules.has(Feature::LegacySessions, &caller.principal, now) {
        let flag = Feature::LegacySessions.key();
        tracing::debug!(flag, "no session is opened: a flag says so");
        // As a server answers that speaks 2026-07-28 alone.
        let error = WireError::method_not_found(Method::Initialize.as_str());
        return reply.error_with_status(&error, 404).await;
    }
    let mut negotiated = Negotiated::new(
        gateway,
        caller.version,
        &caller.capabilities,
        caller.client_info.as_ref(),
    );
    let Some(token) = negotiated.seal(gateway, &caller.principal) else {
        return reply
            .error(&WireError::internal("the session could not be sealed"))
            .await;
    };
    let opened = gateway
        .sessions
        .open(gateway, &negotiated, &caller.principal)
        .await;
    if let Err(full) = opened {
        let (error, status) = full.error();
        return reply.error_with_status(&error, status.as_u16()).await;
    }
    let (viewer, now) = (Viewer::of(call), gateway.clock.now());
    let instructions = instructions_member(snapshot, &viewer, now);
    let result = format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"serverInfo\":{}{instructions}}}",
        caller.version,
        capabilities(snapshot, &viewer, now, Era::Legacy),
        crate::identity(),
    );
    reply.opened(&result, token).await;
}

fn discover(gateway: &Gateway, snapshot: &Snapshot, call: &Call) -> String {
    let (viewer, now) = (Viewer::of(call), gateway.clock.now());
    let versions: Vec<String> = Version::ALL
        .iter()
        .map(|version| json::quote(version.as_str()))
        .collect();
    let (ttl, scope) = hints(gateway, snapshot);
    // As of lists: see `list`.
    let fixed = snapshot.has_fixed_upstreams_for(&viewer.principal);
    let ttl = if fixed { ttl } else { 0 };
    format!(
        "{{\"resultType\":\"complete\",\"supportedVersions\":[{}],\"capabilities\":{}{},\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\",\"_meta\":{}}}",
        versions.join(","),
        capabilities(snapshot, &viewer, now, Era::Modern),
        instructions_member(snapshot, &viewer, now),
        server_meta(snapshot, &viewer, now),
    )
}

fn instructions_member(snapshot: &Snapshot, viewer: &Viewer, now: Duration) -> String {
    snapshot
        .instructions_for(viewer, now)
        .map(|text| format!(",\"instructions\":{}", json::quote(&text)))
        .unwrap_or_default()
}

/// `_meta` of the gateway's own results: who it is, and which upstreams are not answering.
fn server_meta(snapshot: &Snapshot, viewer: &Viewer, now: Duration) -> String {
    let unavailable = snapshot.unavailable_for(viewer, now);
    let marked = if unavailable.is_empty() {
        String::new()
    } else {
        let names: Vec<String> = unavailable.into_iter().map(json::quote).collect();
        format!(
            ",\"io.github.vertikon.mcp-ultra/unavailable\":[{}]",
            names.join(",")
        )
    };
    format!(
        "{{\"{}\":{}{marked}}}",
        meta::SERVER_INFO,
        crate::identity()
    )
}

/// How long a list is fresh, and for whom: the least of all parts, private if any part is, or if
/// policy filters it.
fn hints(gateway: &Gateway, snapshot: &Snapshot) -> (u64, &'static str) {
    // A list that lacks what an upstream would add is good until that one answers.
    let complete = snapshot
        .catalog
        .sources()
        .iter()
        .all(|source| source.state == State::Ready);
    let ttl = snapshot
        .catalog
        .ttl_ms()
        .filter(|_| complete)
        .unwrap_or_else(|| gateway.settings().list_ttl_ms);
    (
        ttl,
        if snapshot.rules.governs() || snapshot.catalog.is_private() {
            "private"
        } else {
            "public"
        },
    )
}

fn capabilities(snapshot: &Snapshot, viewer: &Viewer, now: Duration, era: Era) -> String {
    let union = &snapshot.capabilities;
    let mut parts = Vec::new();
    if union.tools {
        parts.push(format!(
            "\"tools\":{{\"listChanged\":{}}}",
            union.tools_changed
        ));
    }
    if union.prompts {
        parts.push(format!(
            "\"prompts\":{{\"listChanged\":{}}}",
            union.prompts_changed
        ));
    }
    if union.resources {
        parts.push(format!(
            "\"resources\":{{\"subscribe\":{},\"listChanged\":{}}}",
            union.subscribe, union.resources_changed
        ));
    }
    if union.completions {
        parts.push("\"completions\":{}".into());
    }
    if union.logging {
        parts.push("\"logging\":{}".into());
    }
    let extensions: Vec<String> = snapshot
        .extensions_for(viewer, now)
        .iter()
        // The tasks extension is of the modern era only.
        .filter(|(id, _)| era == Era::Modern || !id.ends_with("/tasks"))
        .map(|(id, settings)| format!("{}:{settings}", json::quote(id)))
        .collect();
    if !extensions.is_empty() {
        parts.push(format!("\"extensions\":{{{}}}", extensions.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}

/// A page of the catalog. The cursor is the sealed name of the last item of the page before.
async fn list(gateway: &Gateway, snapshot: &Snapshot, kind: Kind, call: &Call, reply: Reply) {
    let after = match cursor(gateway, kind, call) {
        Ok(after) => after,
        Err(error) => return reply.error(&error).await,
    };
    let era = call.caller.era();
    let mut result = String::new();
    let Some(page) = page(gateway, snapshot, kind, after.as_deref(), call, &mut result) else {
        return reply.error(&invalid_cursor()).await;
    };
    if let Some(next) = &page.next {
        let holder = cursor_holder(kind, call);
        let sealed = gateway
            .sealer
            .seal(Purpose::Cursor, &holder, next.as_bytes());
        if let Ok(sealed) = sealed {
            result.push_str(",\"nextCursor\":");
            result.push_str(&json::quote(&sealed));
        }
    }
    if era == Era::Modern {
        let (ttl, scope) = hints(gateway, snapshot);
        // What depends on the time of day is good for nobody knows how long.
        let ttl = if page.fixed { ttl } else { 0 };
        let _ = write!(
            result,
            ",\"resultType\":\"complete\",\"ttlMs\":{ttl},\"cacheScope\":\"{scope}\""
        );
    }
    result.push_str(",\"_meta\":");
    result.push_str(&server_meta(
        snapshot,
        &Viewer::of(call),
        gateway.clock.now(),
    ));
    result.push('}');
    reply.result(&result).await;
}

/// What is to be said of a page besides its elements.
struct Page {
    /// The public name that the next page follows.
    next: Option<ByteString>,
    /// Whether it is the same until the catalog or the policies change.
    fixed: bool,
}

/// Writes the beginning of a result, with the elements of the page after the item named `after`
/// that the caller may see. `None` where there is no such item.
fn page(
    gateway: &Gateway,
    snapshot: &Snapshot,
    kind: Kind,
    after: Option<&str>,
    call: &Call,
    result: &mut String,
) -> Option<Page> {
    let modern = call.caller.era() == Era::Modern;
    let begin = |result: &mut String, length: usize| {
        result.reserve(length + 400);
        result.push_str("{\"");
        result.push_str(kind.list_key());
        result.push_str("\":[");
    };
    let view = snapshot.view(&call.caller.principal);
    let viewer = Viewer::of(call);
    let listing = match &view {
        None => Listing::Whole,
        Some(view) => {
            let size = gateway.settings().page_size;
            view.page(snapshot, kind, after, size, &viewer.circumstances(gateway))?
        }
    };
    match listing {
        Listing::Whole => {
            let page = snapshot.catalog.page(kind, after)?;
            let items = if modern { &page.modern } else { &page.legacy };
            begin(result, items.len());
            result.push_str(items);
            result.push(']');
            Some(Page {
                next: page.next.clone(),
                fixed: true,
            })
        }
        Listing::Some { items, more, fixed } => {
            let text = |item: &Item| {
                if modern {
                    item.modern.clone()
                } else {
                    item.legacy.clone()
                }
            };
            begin(result, items.iter().map(|item| text(item).len() + 1).sum());
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    result.push(',');
                }
                result.push_str(&text(item));
            }
            result.push(']');
            let last = items.last().filter(|_| more);
            Some(Page {
                next: last.map(|item| item.public.clone()),
                fixed,
            })
        }
    }
}

/// A cursor is good for one kind of list and one principal.
fn cursor_holder(kind: Kind, call: &Call) -> String {
    format!("{}\0{}", kind.list_key(), call.caller.principal.id())
}

fn cursor(gateway: &Gateway, kind: Kind, call: &Call) -> Result<Option<String>, WireError> {
    let Some(params) = call.request.params.as_deref() else {
        return Ok(None);
    };
    let params = Object::parse(params)
        .map_err(|error| WireError::invalid_request(format!("params: {error}")))?;
    let Some(raw) = params.get("cursor") else {
        return Ok(None);
    };
    let token = json::as_str(raw).ok_or_else(invalid_cursor)?;
    let name = gateway
        .sealer
        .open(Purpose::Cursor, &cursor_holder(kind, call), &token)
        .map_err(|_| invalid_cursor())?;
    String::from_utf8(name)
        .map(Some)
        .map_err(|_| invalid_cursor())
}

fn invalid_cursor() -> WireError {
    WireError::invalid_params("Invalid cursor: the list has changed since; start again without one")
}

async fn set_level(gateway: &Gateway, call: &Call, reply: Reply) {
    let level = call
        .request
        .params
        .as_deref()
        .and_then(|params| Object::parse(params).ok())
        .and_then(|params| params.get_str("level").map(std::borrow::Cow::into_owned))
        .filter(|level| meta::log_rank(level).is_some());
    let (Some(level), Some(session)) = (level, &call.caller.session) else {
        let error = WireError::invalid_params(
            "\"level\" must be one of debug, info, notice, warning, error, critical, alert, emergency",
        );
        return reply.error(&error).await;
    };
    session.set_log_level(&level);
    if let Err(error) = gateway.store.set_log_level(&session.id, &level).await {
        return reply.error(&WireError::internal(error.to_string())).await;
    }
    // Upstream sessions get it with their next call.
    reply.result("{}").await;
}

async fn subscribe(
    gateway: &Arc<Gateway>,
    snapshot: &Snapshot,
    call: Box<Call>,
    reply: Reply,
    wanted: bool,
) {
    let Some(session) = call.caller.session.clone() else {
        return;
    };
    let routed = match route::call(gateway, snapshot, call) {
        Ok(routed) => routed,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    let uri = routed
        .upstream
        .naming()
        .public_uri(&routed.original)
        .into_owned();
    // What somebody had before it was forbidden can be given back.
    let permitted = if !wanted && session.subscriptions().contains(&uri) {
        authorize::ending(routed)
    } else {
        match authorize::call(gateway, snapshot, routed) {
            Ok(permitted) => permitted,
            Err(refusal) => return refuse(reply, refusal).await,
        }
    };
    // An end is free, and so is what the session has already: nothing goes to the server for it.
    let is_new = wanted && !session.subscriptions().contains(&uri);
    let _place = match is_new.then(|| meter::call(gateway, &permitted)).transpose() {
        Ok(place) => place,
        Err(refusal) => return refuse(reply, refusal).await,
    };
    if let Err(error) = listen::subscribe(gateway, &session, &permitted, &uri, wanted).await {
        return reply.error(&error).await;
    }
    if let Err(error) = gateway.store.subscribe(&session.id, &uri, wanted).await {
        return reply.error(&WireError::internal(error.to_string())).await;
    }
    // Not before it is stored, or the one that has the stream would take it over again.
    if let Some(replicas) = gateway.replicas.as_ref().filter(|_| !wanted) {
        replicas.unsubscribed(&session, &uri);
    }
    reply.result("{}").await;
}
