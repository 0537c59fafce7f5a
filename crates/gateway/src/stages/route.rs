//! Public name to upstream and original name, from the snapshot.

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_domain::{
    Principal,
    catalog::{Item, Kind, Templates},
    policy::{Annotations, Resource, Target},
};
use mcp_ultra_protocol::{
    Method, WireError,
    json::{self, Object},
    seal::Purpose,
};

use crate::{
    Gateway,
    call::{Call, Routed, Subject},
    pipeline::Refusal,
    snapshot::Snapshot,
    stages::authorize::Permitted,
    upstream::Upstream,
};

/// What a caller of `tasks/*` must have declared (Tasks extension, Capabilities).
pub(crate) const TASKS_CAPABILITY: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// What a name leads to.
struct Found {
    upstream: Arc<Upstream>,
    original: ByteString,
    item: Option<Arc<Item>>,
    subject: Subject,
}

impl Found {
    /// An item of the catalog.
    fn listed(snapshot: &Snapshot, kind: Kind, public: &str) -> Option<Self> {
        let at = snapshot.catalog.position(kind, public)?;
        let listed = snapshot.catalog.items(kind).get(at)?;
        Some(Self {
            upstream: snapshot.upstreams[listed.source].clone(),
            original: listed.item.original.clone(),
            item: Some(listed.item.clone()),
            subject: Subject::Listed(kind, at),
        })
    }

    /// Something of an upstream that is not in the catalog.
    fn unlisted(upstream: Arc<Upstream>, original: &str, target: Target, public: &str) -> Self {
        let labels = &upstream.settings().labels;
        let class = labels.classes.of(original);
        let name = ByteString::from(public.to_owned());
        let resource = Resource::new(target, name, labels.server.clone(), class);
        Self {
            original: original.to_owned().into(),
            item: None,
            subject: Subject::Unlisted(Box::new(resource)),
            upstream,
        }
    }
}

/// Finds the upstream of a call.
pub(crate) fn call(
    gateway: &Gateway,
    snapshot: &Snapshot,
    call: Box<Call>,
) -> Result<Box<Routed>, Refusal> {
    let found = match call.method {
        Method::ToolsCall => {
            name(snapshot, Kind::Tool, named(&call, "name")?).ok_or_else(|| unknown(&call))?
        }
        Method::PromptsGet => {
            name(snapshot, Kind::Prompt, named(&call, "name")?).ok_or_else(|| unknown(&call))?
        }
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            let uri = named(&call, "uri")?;
            resource(snapshot, uri).ok_or_else(|| unknown(&call))?
        }
        Method::Complete => referred(snapshot, &reference(&call)?).ok_or_else(|| unknown(&call))?,
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            if !call.caller.declares("tasks") {
                return Err(WireError::missing_capability(TASKS_CAPABILITY).into());
            }
            let principal = &call.caller.principal;
            task(gateway, snapshot, principal, named(&call, "taskId")?)
                .ok_or_else(|| unknown(&call))?
        }
        other => return Err(WireError::method_not_found(other.as_str()).into()),
    };
    let Found {
        upstream,
        original,
        item,
        subject,
    } = found;
    Ok(Box::new(Routed {
        call,
        upstream,
        original,
        item,
        subject,
    }))
}

/// What the caller is told of a name that leads nowhere, and of one that it may not call: nobody
/// learns which of them it is.
pub(crate) fn unknown(call: &Call) -> WireError {
    let name = call.name.as_deref().unwrap_or_default();
    match call.method {
        Method::ToolsCall => unknown_name(Kind::Tool, name),
        Method::PromptsGet => unknown_name(Kind::Prompt, name),
        Method::Complete => match reference(call) {
            Ok(Reference::Prompt(name)) => unknown_name(Kind::Prompt, &name),
            Ok(Reference::Resource(_)) => {
                WireError::invalid_params("params.ref: no such resource or template")
            }
            Err(error) => error,
        },
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            WireError::invalid_params("Unknown task")
        }
        _ => WireError::resource_not_found(name, call.caller.era()),
    }
}

fn unknown_name(kind: Kind, public: &str) -> WireError {
    let shown: String = public.chars().take(100).collect();
    let what = if kind == Kind::Tool { "tool" } else { "prompt" };
    WireError::invalid_params(format!("Unknown {what}: {shown}"))
}

/// What the call names, which stands in `params` under `key`.
fn named<'c>(call: &'c Call, key: &str) -> Result<&'c ByteString, WireError> {
    call.name
        .as_ref()
        .ok_or_else(|| WireError::invalid_params(format!("params needs the string \"{key}\"")))
}

fn string(params: &Object<'_>, key: &str) -> Result<String, WireError> {
    params
        .get_str(key)
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| WireError::invalid_params(format!("params needs the string \"{key}\"")))
}

/// `Mcp-Param-*` of a modern call against its arguments, where the definition is known. A call is
/// permitted first: who may not call a tool does not learn what it asks for.
pub(crate) fn verify_params(permitted: &Permitted<Box<Routed>>) -> Result<(), Refusal> {
    let routed = permitted.get();
    let call = &routed.call;
    let item = routed.item.as_ref();
    let Some(item) = item.filter(|_| call.caller.session.is_none()) else {
        return Ok(());
    };
    for param in &item.params {
        let sent = call
            .headers
            .params
            .iter()
            .find(|(name, _)| name.as_str() == param.header);
        param
            .verify(
                sent.map(|(_, value)| value.as_bytes()),
                call.arguments.as_deref(),
            )
            .map_err(|error| WireError::header_mismatch(format!("Header mismatch: {error}")))?;
    }
    Ok(())
}

fn name(snapshot: &Snapshot, kind: Kind, public: &str) -> Option<Found> {
    if let Some(found) = Found::listed(snapshot, kind, public) {
        return Some(found);
    }
    // An upstream may offer more than it lists, or may not have been listed yet.
    let (upstream, original) = by_naming(snapshot, kind, |upstream| {
        upstream.naming().original_name(public)
    })?;
    let target = match kind {
        Kind::Tool => Target::Tool(Annotations::default()),
        _ => Target::Prompt,
    };
    Some(Found::unlisted(upstream, original, target, public))
}

/// The upstream whose prefix leads to the name; without such a one, the only upstream in identity
/// mode that may have things of this kind.
fn by_naming<'p>(
    snapshot: &Snapshot,
    kind: Kind,
    original: impl Fn(&Upstream) -> Option<&'p str>,
) -> Option<(Arc<Upstream>, &'p str)> {
    let mut identity = None;
    let mut several = false;
    for (upstream, source) in snapshot.upstreams.iter().zip(snapshot.catalog.sources()) {
        let Some(original) = original(upstream) else {
            continue;
        };
        if !upstream.naming().is_identity() {
            return Some((upstream.clone(), original));
        }
        if source
            .offer
            .as_ref()
            .is_none_or(|offer| offer.capabilities.lists(kind))
        {
            several |= identity.is_some();
            identity = Some((upstream.clone(), original));
        }
    }
    identity.filter(|_| !several)
}

fn resource(snapshot: &Snapshot, public: &str) -> Option<Found> {
    if let Some(found) = Found::listed(snapshot, Kind::Resource, public) {
        return Some(found);
    }
    let found = |at: usize, original: &str, templates| {
        let upstream = snapshot.upstreams[at].clone();
        let offer = snapshot.catalog.sources()[at].offer.as_ref();
        let templates_of = |uri: &str| offer.map(|offer| offer.templates_of(uri));
        let resource =
            upstream
                .settings()
                .labels
                .resource(original, upstream.naming(), templates, |uri| {
                    templates_of(uri).unwrap_or_default()
                });
        Found {
            original: original.to_owned().into(),
            item: None,
            subject: Subject::Unlisted(Box::new(resource)),
            upstream,
        }
    };
    let mut possible = None;
    for (at, source) in snapshot.catalog.sources().iter().enumerate() {
        let upstream = &snapshot.upstreams[at];
        let original = upstream.naming().original_uri(public);
        let (Some(original), Some(offer)) = (original, &source.offer) else {
            continue;
        };
        let templates = offer.templates_of(public);
        // The first one that expands to it; without such a one, that a server might find for it.
        let owns = |template: &ByteString| {
            let listed = snapshot.catalog.find(Kind::Template, template);
            listed.is_some_and(|listed| listed.source == at)
        };
        if templates.exact.iter().any(owns) {
            return Some(found(at, original, templates));
        }
        if possible.is_none() && templates.possible.iter().any(owns) {
            possible = Some((at, original, templates));
        }
    }
    if let Some((at, original, templates)) = possible {
        return Some(found(at, original, templates));
    }
    let (upstream, original) = by_naming(snapshot, Kind::Resource, |upstream| {
        upstream.naming().original_uri(public)
    })?;
    let mut upstreams = snapshot.upstreams.iter();
    let at = upstreams.position(|known| Arc::ptr_eq(known, &upstream))?;
    let templates = templates(snapshot, at, public)?;
    Some(found(at, original, templates))
}

/// The upstream's templates that a URI is of. With a policy there is nothing of an upstream that
/// has not been listed yet: nobody knows what may be forbidden of it.
fn templates(snapshot: &Snapshot, at: usize, public: &str) -> Option<Templates> {
    match &snapshot.catalog.sources()[at].offer {
        Some(offer) => Some(offer.templates_of(public)),
        None => snapshot.rules.policies().is_none().then(Templates::default),
    }
}

/// What the resource under a public URI is for policy; `None` where it leads nowhere.
pub(crate) fn subject_of_uri(snapshot: &Snapshot, public: &str) -> Option<Subject> {
    resource(snapshot, public).map(|found| found.subject)
}

/// What a task is for policy, by its sealed id: the tool that started it.
pub(crate) fn subject_of_task(
    gateway: &Gateway,
    snapshot: &Snapshot,
    principal: &Principal,
    token: &str,
) -> Option<Subject> {
    task(gateway, snapshot, principal, token).map(|found| found.subject)
}

/// What `completion/complete` refers to.
enum Reference {
    Prompt(String),
    Resource(String),
}

fn reference(call: &Call) -> Result<Reference, WireError> {
    let params = call.request.params.as_deref().unwrap_or("{}");
    let params = Object::parse(params)
        .map_err(|error| WireError::invalid_request(format!("params: {error}")))?;
    let invalid =
        || WireError::invalid_params("params.ref must be a prompt or a resource reference");
    let reference = params
        .get_object("ref")
        .ok()
        .flatten()
        .ok_or_else(invalid)?;
    match reference.get_str("type").as_deref() {
        Some("ref/prompt") => Ok(Reference::Prompt(string(&reference, "name")?)),
        Some("ref/resource") => Ok(Reference::Resource(string(&reference, "uri")?)),
        _ => Err(invalid()),
    }
}

fn referred(snapshot: &Snapshot, reference: &Reference) -> Option<Found> {
    match reference {
        Reference::Prompt(public) => name(snapshot, Kind::Prompt, public),
        Reference::Resource(uri) => {
            let template = Found::listed(snapshot, Kind::Template, uri);
            // A template has no definition that a call would be checked against.
            let template = template.map(|found| Found {
                item: None,
                ..found
            });
            template.or_else(|| {
                // What policies say of a template is said of its name: another spelling of it is
                // no way round.
                let mut offers = snapshot.catalog.sources().iter();
                let spells = snapshot.rules.policies().is_some()
                    && offers.any(|source| {
                        let offer = source.offer.as_ref();
                        offer.is_some_and(|offer| offer.spells_template(uri))
                    });
                (!spells).then(|| resource(snapshot, uri)).flatten()
            })
        }
    }
}

/// A task id is a sealed token: `upstream NUL tool NUL id`, with the upstream's own name of the
/// tool that started it, which is empty where none did.
fn task(
    gateway: &Gateway,
    snapshot: &Snapshot,
    principal: &Principal,
    token: &str,
) -> Option<Found> {
    let content = gateway
        .sealer
        .open(Purpose::Task, principal.id(), token)
        .ok()?;
    let content = String::from_utf8(content).ok()?;
    let (upstream, rest) = content.split_once('\0')?;
    let (tool, id) = rest.split_once('\0')?;
    let upstream = snapshot.upstream(upstream)?;
    let public = upstream.naming().public_name(tool);
    let subject = match Found::listed(snapshot, Kind::Tool, &public) {
        Some(found) if Arc::ptr_eq(&found.upstream, upstream) => found.subject,
        _ => {
            let target = Target::Tool(Annotations::default());
            Found::unlisted(upstream.clone(), tool, target, &public).subject
        }
    };
    Some(Found {
        upstream: upstream.clone(),
        original: id.to_owned().into(),
        item: None,
        subject,
    })
}

/// The sealed form of an upstream's task id, as the caller of `routed` is told it.
pub(crate) fn seal_task(gateway: &Gateway, routed: &Routed, id: &str) -> String {
    let upstream = routed.upstream.name();
    let tool = match routed.call.method {
        Method::ToolsCall => &*routed.original,
        _ => "",
    };
    let content = format!("{upstream}\0{tool}\0{id}");
    gateway
        .sealer
        .seal(
            Purpose::Task,
            routed.call.caller.principal.id(),
            content.as_bytes(),
        )
        .unwrap_or_default()
}

/// The text of `params` with the names of the upstream in it.
pub(crate) fn original_params(routed: &Routed) -> Result<ByteString, WireError> {
    let text = routed.params();
    if routed.call.name.as_ref() == Some(&routed.original) {
        return Ok(routed.call.request.params.clone().unwrap_or_else(empty));
    }
    let unreadable =
        |error: json::ObjectError| WireError::invalid_request(format!("params: {error}"));
    let key = match routed.call.method {
        Method::Complete => {
            let params = Object::parse(text).map_err(unreadable)?;
            let Some(reference) = params.get_object("ref").map_err(unreadable)? else {
                return Ok(text.to_owned().into());
            };
            let key = if reference.get("uri").is_some() {
                "uri"
            } else {
                "name"
            };
            let reference = reference.edit().set_str(key, &routed.original).finish();
            return Ok(params.edit().set("ref", reference).finish().into());
        }
        Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => "uri",
        method => method.name_key().unwrap_or("name"),
    };
    let params = Object::parse(text).map_err(unreadable)?;
    Ok(params.edit().set_str(key, &routed.original).finish().into())
}

fn empty() -> ByteString {
    ByteString::from_static("{}")
}
