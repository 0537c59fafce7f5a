//! Public name to upstream and original name, from the snapshot.

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_domain::catalog::{Item, Kind};
use mcp_ultra_protocol::{
    Method, WireError,
    json::{self, Object},
    seal::Purpose,
};

use crate::{
    Gateway,
    call::{Call, Routed},
    pipeline::Refusal,
    snapshot::Snapshot,
    upstream::Upstream,
};

/// What a caller of `tasks/*` must have declared (Tasks extension, Capabilities).
pub(crate) const TASKS_CAPABILITY: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

/// What a name leads to.
struct Found {
    upstream: Arc<Upstream>,
    original: ByteString,
    item: Option<Arc<Item>>,
}

/// Finds the upstream of a call.
pub(crate) fn call(
    gateway: &Gateway,
    snapshot: &Snapshot,
    call: Box<Call>,
) -> Result<Box<Routed>, Refusal> {
    let found = match call.method {
        Method::ToolsCall => name(snapshot, Kind::Tool, named(&call, "name")?)?,
        Method::PromptsGet => name(snapshot, Kind::Prompt, named(&call, "name")?)?,
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            let uri = named(&call, "uri")?;
            resource(snapshot, uri)
                .ok_or_else(|| WireError::resource_not_found(uri, call.caller.era()))?
        }
        Method::Complete => reference(snapshot, &call)?,
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            if !call.caller.declares("tasks") {
                return Err(WireError::missing_capability(TASKS_CAPABILITY).into());
            }
            task(gateway, snapshot, &call, named(&call, "taskId")?)?
        }
        other => return Err(WireError::method_not_found(other.as_str()).into()),
    };
    verify_params(&call, found.item.as_deref())?;
    let Found {
        upstream,
        original,
        item,
    } = found;
    Ok(Box::new(Routed {
        call,
        upstream,
        original,
        item,
    }))
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

/// `Mcp-Param-*` of a modern call against its arguments, where the definition is known.
fn verify_params(call: &Call, item: Option<&Item>) -> Result<(), Refusal> {
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

fn name(snapshot: &Snapshot, kind: Kind, public: &str) -> Result<Found, WireError> {
    if let Some(listed) = snapshot.catalog.find(kind, public) {
        return Ok(Found {
            upstream: snapshot.upstreams[listed.source].clone(),
            original: listed.item.original.clone(),
            item: Some(listed.item.clone()),
        });
    }
    let unknown = || {
        let shown: String = public.chars().take(100).collect();
        let what = if kind == Kind::Tool { "tool" } else { "prompt" };
        WireError::invalid_params(format!("Unknown {what}: {shown}"))
    };
    // An upstream may offer more than it lists, or may not have been listed yet.
    let (upstream, original) = by_naming(snapshot, kind, |upstream| {
        upstream.naming().original_name(public)
    })
    .ok_or_else(unknown)?;
    Ok(Found {
        upstream,
        original: original.to_owned().into(),
        item: None,
    })
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
    if let Some(listed) = snapshot.catalog.find(Kind::Resource, public) {
        return Some(Found {
            upstream: snapshot.upstreams[listed.source].clone(),
            original: listed.item.original.clone(),
            item: Some(listed.item.clone()),
        });
    }
    let template = snapshot
        .catalog
        .items(Kind::Template)
        .iter()
        .find(|listed| matches_template(&listed.item.public, public));
    if let Some(listed) = template {
        let upstream = snapshot.upstreams[listed.source].clone();
        let original = upstream.naming().original_uri(public)?.to_owned().into();
        return Some(Found {
            upstream,
            original,
            item: None,
        });
    }
    let (upstream, original) = by_naming(snapshot, Kind::Resource, |upstream| {
        upstream.naming().original_uri(public)
    })?;
    Some(Found {
        upstream,
        original: original.to_owned().into(),
        item: None,
    })
}

/// Whether `uri` may be an expansion of the URI template: its literal parts come in order. The
/// upstream, which expands it, has the last word.
fn matches_template(template: &str, uri: &str) -> bool {
    let mut rest = uri;
    let mut literals = template.split('{').enumerate().map(|(at, part)| {
        // Before the first brace all is literal; later parts start inside an expression.
        if at == 0 {
            Some(part)
        } else {
            part.split_once('}').map(|(_, literal)| literal)
        }
    });
    let Some(Some(first)) = literals.next() else {
        return false;
    };
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let mut last = first;
    for literal in literals {
        let Some(literal) = literal else { return false };
        let Some(at) = rest.find(literal) else {
            return false;
        };
        rest = &rest[at + literal.len()..];
        last = literal;
    }
    // A template that ends in a literal must end with it; one in an expression takes the rest.
    template.ends_with('}') || rest.is_empty() || uri.ends_with(last)
}

fn reference(snapshot: &Snapshot, call: &Call) -> Result<Found, WireError> {
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
        Some("ref/prompt") => name(snapshot, Kind::Prompt, &string(&reference, "name")?),
        Some("ref/resource") => {
            let uri = string(&reference, "uri")?;
            if let Some(listed) = snapshot.catalog.find(Kind::Template, &uri) {
                return Ok(Found {
                    upstream: snapshot.upstreams[listed.source].clone(),
                    original: listed.item.original.clone(),
                    item: None,
                });
            }
            resource(snapshot, &uri).ok_or_else(|| {
                WireError::invalid_params("params.ref: no such resource or template")
            })
        }
        _ => Err(invalid()),
    }
}

/// A task id is a sealed token: `upstream NUL id`.
fn task(
    gateway: &Gateway,
    snapshot: &Snapshot,
    call: &Call,
    token: &str,
) -> Result<Found, WireError> {
    let unknown = || WireError::invalid_params("Unknown task");
    let content = gateway
        .sealer
        .open(Purpose::Task, call.caller.principal.id(), token)
        .map_err(|_| unknown())?;
    let content = String::from_utf8(content).map_err(|_| unknown())?;
    let (upstream, id) = content.split_once('\0').ok_or_else(unknown)?;
    let upstream = snapshot.upstream(upstream).ok_or_else(unknown)?;
    Ok(Found {
        upstream: upstream.clone(),
        original: id.to_owned().into(),
        item: None,
    })
}

/// The sealed form of an upstream's task id.
pub(crate) fn seal_task(gateway: &Gateway, principal: &str, upstream: &str, id: &str) -> String {
    let content = format!("{upstream}\0{id}");
    gateway
        .sealer
        .seal(Purpose::Task, principal, content.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::matches_template;

    #[test]
    fn templates_match_by_their_literal_parts() {
        for (template, uri, matches) in [
            ("file:///{path}", "file:///a/b", true),
            ("file:///{path}", "http://a", false),
            (
                "test://template/{id}/data",
                "test://template/123/data",
                true,
            ),
            (
                "test://template/{id}/data",
                "test://template/123/other",
                false,
            ),
            ("db://{table}/{row}", "db://orders/7", true),
            ("db://{table}/{row}", "db:/", false),
            ("a://{x", "a://1", false),
            ("plain://x", "plain://x", true),
        ] {
            assert_eq!(matches_template(template, uri), matches, "{template} {uri}");
        }
    }
}
