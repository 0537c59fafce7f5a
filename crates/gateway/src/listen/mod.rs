//! Notifications that belong to no call: changed lists and updated resources, from the upstreams
//! to the streams that want them.
//!
//! [`stream`] is `subscriptions/listen` of modern clients, with its [`filter`] and what it needs
//! from upstreams ([`watch`], opened by [`opening`]); [`feed`] is the same stream as the gateway reads it from a modern
//! upstream, [`legacy`] the subscriptions and the server-to-client stream of legacy clients.

mod feed;
mod filter;
mod legacy;
mod opening;
mod stream;
mod watch;

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_domain::catalog::Kind;
use mcp_ultra_protocol::{Notification, json::Object};

use crate::{
    Gateway, era,
    session::Live,
    stages::authorize,
    upstream::{Holder, Sink, Upstream},
};

pub(crate) use feed::{Feed, Heard};
pub(crate) use legacy::{
    push_changes, renew, served_elsewhere, subscribe, subscribe_again, take_over, take_over_stored,
    unsubscribe_too,
};
pub(crate) use stream::open;

/// The notification that tells of a changed resource.
pub(crate) const UPDATED: &str = "notifications/resources/updated";

/// Something that changed, for whoever listens.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A list of the catalog.
    List(Kind),
    /// A resource, under its public URI, as one principal's session with a legacy upstream said;
    /// `None` where the session is everyone's.
    Resource {
        principal: Option<Arc<str>>,
        uri: ByteString,
    },
    /// Servers are gone from the configuration, or one that is configured since has been read.
    Servers,
}

/// The notification that tells of a changed list.
pub(crate) fn list_changed(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "notifications/tools/list_changed",
        Kind::Prompt => "notifications/prompts/list_changed",
        Kind::Resource | Kind::Template => "notifications/resources/list_changed",
    }
}

/// The list that a notification tells of.
pub(crate) fn changed_list(method: &str) -> Option<Kind> {
    match method {
        "notifications/tools/list_changed" => Some(Kind::Tool),
        "notifications/prompts/list_changed" => Some(Kind::Prompt),
        "notifications/resources/list_changed" => Some(Kind::Resource),
        _ => None,
    }
}

/// Where the notifications of a new upstream session go that belong to no call. A session that all
/// callers share is nobody's: its updates go to all who watch, and what else names no call, such
/// as a log message, to nobody, whoever has opened it.
pub(crate) fn sink(
    gateway: &Arc<Gateway>,
    upstream: &Arc<Upstream>,
    holder: &Holder,
    session: Option<&Arc<Live>>,
) -> Sink {
    let shared = upstream.settings().shared;
    let session = session.filter(|_| !shared).map(Arc::downgrade);
    let principal = match holder {
        Holder::Caller { principal, .. } if !shared => Some(principal.clone()),
        _ => None,
    };
    // What the catalog's session is told every replica hears in its own.
    let is_heard_by_all = matches!(holder, Holder::Catalog);
    let gateway = Arc::downgrade(gateway);
    let upstream = Arc::downgrade(upstream);
    Arc::new(move |notification: Notification| {
        let (Some(gateway), Some(upstream)) = (gateway.upgrade(), upstream.upgrade()) else {
            return;
        };
        if let Some(kind) = changed_list(&notification.method) {
            if let Some(replicas) = gateway.replicas.as_ref().filter(|_| !is_heard_by_all) {
                replicas.list_changed(upstream.name(), &notification.method);
            }
            gateway.list_outdated(upstream.name(), kind);
            return gateway.keepers.list_changed(upstream.name(), kind);
        }
        let session = session.as_ref().and_then(std::sync::Weak::upgrade);
        if notification.method == UPDATED {
            gateway.resource_outdated(&upstream, &notification);
            let Some(update) = era::public_update(upstream.naming(), &notification) else {
                return;
            };
            match session {
                Some(session) => {
                    let uri = public_uri(&update).unwrap_or_default();
                    if authorize::hears_of_resource(&gateway, &session.viewer(), &uri) {
                        session.push(update.text);
                    }
                }
                None => gateway.announce_update(principal.clone(), &update),
            }
        } else if let Some(session) = session.filter(|_| travels(&notification.method)) {
            let is_log = notification.method == "notifications/message";
            let level = session.log_level();
            if !is_log || era::reaches_level(level.as_deref(), &notification) {
                session.push(notification.text);
            }
        }
    })
}

/// The URI that an update names.
fn public_uri(update: &Notification) -> Option<String> {
    let params = Object::parse(update.params.as_deref()?).ok()?;
    params.get_str("uri").map(std::borrow::Cow::into_owned)
}

/// Whether a notification that belongs to no call in flight means anything to a client: progress
/// and cancellations name requests by ids and tokens that only the upstream knows.
fn travels(method: &str) -> bool {
    !matches!(method, "notifications/progress" | "notifications/cancelled")
}
