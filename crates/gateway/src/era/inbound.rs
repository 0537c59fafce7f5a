//! What comes back from an upstream: results and notifications as the caller's era has them,
//! under public names, with everything sealed that the client carries for somebody else.

use bytestring::ByteString;
use mcp_ultra_protocol::{
    Era, Method, Notification, Outcome, WireError, error,
    json::{self, Object},
    meta::log_rank,
    names::Naming,
};

use super::state;
use crate::{Gateway, call::Routed, stages::route};

/// The kind of a result (2026-07-28, Base Protocol, `ResultType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Complete,
    InputRequired,
    Other,
}

/// The kind of `result`; absent means complete.
pub(super) fn kind(result: &str) -> Kind {
    if is_plainly_complete(result) {
        return Kind::Complete;
    }
    // Most results are long and have no such key: its bytes are sooner looked for than it is read.
    if memchr::memmem::find(result.as_bytes(), b"resultType").is_none() {
        return Kind::Complete;
    }
    match Object::parse(result)
        .ok()
        .and_then(|object| object.get_str("resultType"))
        .as_deref()
    {
        None | Some("complete") => Kind::Complete,
        Some("input_required") => Kind::InputRequired,
        Some(_) => Kind::Other,
    }
}

/// Whether `result` is complete by its first or its last member, which is where servers put the
/// key. The text is valid JSON, so what stands right behind the first brace or right before the
/// last one is a member of the outermost object.
fn is_plainly_complete(result: &str) -> bool {
    const MEMBER: &str = r#""resultType":"complete""#;
    let inside = result
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|inside| {
        inside
            .strip_prefix(MEMBER)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
            || inside
                .strip_suffix(MEMBER)
                .is_some_and(|rest| rest.ends_with(','))
    })
}

/// An outcome of a modern upstream for a modern caller, and its kind.
pub(super) fn modern(gateway: &Gateway, routed: &Routed, outcome: Outcome) -> (Outcome, Kind) {
    let Outcome::Result(result) = outcome else {
        return (outcome, Kind::Complete);
    };
    let result = not_for_all(gateway, routed, public_uris(routed, result));
    let kind = kind(&result);
    let sealed = match kind {
        Kind::InputRequired => state::seal_upstream(gateway, routed, &result),
        Kind::Other => public_task(gateway, routed, &result),
        Kind::Complete if is_task_method(routed.call.method) => {
            public_task(gateway, routed, &result)
        }
        Kind::Complete => None,
    };
    let result = sealed.map_or(result, ByteString::from);
    (Outcome::Result(result), kind)
}

/// What a server calls the same for everyone is not for everyone where some may not have it: whoever
/// keeps it between here and the client asks no policy (2026-07-28, Caching, `cacheScope`).
fn not_for_all(gateway: &Gateway, routed: &Routed, result: ByteString) -> ByteString {
    let is_read = routed.call.method == Method::ResourcesRead;
    if !is_read
        || !gateway.snapshot().rules.governs()
        || memchr::memmem::find(result.as_bytes(), b"cacheScope").is_none()
    {
        return result;
    }
    let changed = Object::parse(&result).ok().and_then(|object| {
        object.get("cacheScope")?;
        Some(object.edit().set("cacheScope", "\"private\"").finish())
    });
    changed.map_or(result, ByteString::from)
}

fn is_task_method(method: Method) -> bool {
    matches!(
        method,
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel
    )
}

/// A result with the task id sealed, and the sealed `requestState` of a task that needs input.
fn public_task(gateway: &Gateway, routed: &Routed, result: &str) -> Option<String> {
    let object = Object::parse(result).ok()?;
    let asked = is_task_method(routed.call.method)
        .then(|| Object::parse(routed.params()).ok()?.get_str("taskId"))
        .flatten();
    let seal = |id: &str| {
        // A task that is asked about keeps the id that the caller knows it by: every sealing
        // gives another one.
        if let Some(asked) = asked.as_deref().filter(|_| id == &*routed.original) {
            return json::quote(asked);
        }
        json::quote(&route::seal_task(gateway, routed, id))
    };
    let mut edit = object.edit();
    let mut changed = false;
    if let Some(id) = object.get_str("taskId") {
        edit = edit.set("taskId", seal(&id));
        changed = true;
    }
    if let Ok(Some(task)) = object.get_object("task")
        && let Some(id) = task.get_str("taskId")
    {
        edit = edit.set("task", task.edit().set("taskId", seal(&id)).finish());
        changed = true;
    }
    changed.then(|| edit.finish())
}

/// An outcome of a legacy upstream for a legacy caller.
pub(super) fn legacy(routed: &Routed, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Result(result) => Outcome::Result(public_uris(routed, result)),
        error @ Outcome::Error(_) => error,
    }
}

/// An outcome of a legacy upstream for a modern caller.
pub(super) fn modernised(routed: &Routed, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Result(result) => {
            let result = public_uris(routed, result);
            let Ok(object) = Object::parse(&result) else {
                return Outcome::Result(result);
            };
            let mut edit = object.edit().set("resultType", "\"complete\"");
            if routed.call.method.is_cacheable() {
                // A legacy server gives no hints: stale at once, and nobody else's.
                edit = edit.set("ttlMs", "0").set("cacheScope", "\"private\"");
            }
            Outcome::Result(edit.finish().into())
        }
        Outcome::Error(text) => Outcome::Error(with_code(&text, |code| match code {
            error::RESOURCE_NOT_FOUND => error::INVALID_PARAMS,
            // 2026-07-28 forbids codes of its range with another meaning, and this one.
            error::URL_ELICITATION_REQUIRED => error::INTERNAL_ERROR,
            code => code,
        })),
    }
}

/// An outcome of a modern upstream for a legacy caller; `input_required` has been dealt with.
pub(super) fn aged(routed: &Routed, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Result(result) => {
            let result = public_uris(routed, result);
            let Ok(object) = Object::parse(&result) else {
                return Outcome::Result(result);
            };
            let mut edit = object
                .edit()
                .remove("resultType")
                .remove("ttlMs")
                .remove("cacheScope");
            // Legacy revisions have objects only.
            if object
                .get("structuredContent")
                .is_some_and(|content| !json::is_object(content))
            {
                edit = edit.remove("structuredContent");
            }
            Outcome::Result(edit.finish().into())
        }
        Outcome::Error(text) => {
            let is_read = routed.call.method == Method::ResourcesRead;
            Outcome::Error(with_code(&text, |code| match code {
                error::INVALID_PARAMS if is_read => error::RESOURCE_NOT_FOUND,
                code if error::is_modern(code) => error::INVALID_PARAMS,
                code => code,
            }))
        }
    }
}

/// The code of an error; `None` for a result.
pub(super) fn code(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Result(_) => None,
        Outcome::Error(error) => Object::parse(error).ok()?.get("code")?.parse().ok(),
    }
}

fn with_code(error: &ByteString, map: impl FnOnce(i64) -> i64) -> ByteString {
    let Ok(object) = Object::parse(error) else {
        return error.clone();
    };
    let Some(code) = object.get("code").and_then(|code| code.parse::<i64>().ok()) else {
        return error.clone();
    };
    let mapped = map(code);
    if mapped == code {
        return error.clone();
    }
    object
        .edit()
        .set("code", mapped.to_string())
        .finish()
        .into()
}

/// A notification during a call, under public names; `None` where the caller does not get it.
pub(super) fn notification(
    routed: &Routed,
    notification: Notification,
    target: Era,
) -> Option<Notification> {
    if notification.method == "notifications/message" && !wants_log(routed, &notification, target) {
        return None;
    }
    match &*notification.method {
        // It names a question by the upstream's own id. Whoever has asked it deals with that.
        "notifications/cancelled" => return None,
        // Removed with 2026-07-28.
        "notifications/elicitation/complete" if routed.call.caller.session.is_none() => {
            return None;
        }
        _ => {}
    }
    if notification.method == "notifications/resources/updated" {
        return public_update(routed.upstream.naming(), &notification);
    }
    Some(notification)
}

/// `notifications/resources/updated` with the public URI.
pub(crate) fn public_update(naming: &Naming, update: &Notification) -> Option<Notification> {
    let params = Object::parse(update.params.as_ref()?).ok()?;
    let uri = params.get_str("uri")?;
    Some(
        update.with_params(
            params
                .edit()
                .set_str("uri", &naming.public_uri(&uri))
                .finish(),
        ),
    )
}

/// A modern caller gets log messages only where it asked, from the level on that it asked for.
/// A modern upstream keeps to that itself; a legacy one knows a level per session.
fn wants_log(routed: &Routed, notification: &Notification, target: Era) -> bool {
    let call = &routed.call;
    let wanted = match &call.caller.session {
        Some(session) => session.log_level(),
        None => match &call.log_level {
            None => return false,
            level => level.clone(),
        },
    };
    if target == Era::Modern && call.caller.session.is_none() {
        return true;
    }
    reaches_level(wanted.as_deref(), notification)
}

/// Whether a log message is of the level `wanted` or above; every one is where none is known.
pub(crate) fn reaches_level(wanted: Option<&str>, notification: &Notification) -> bool {
    let Some(wanted) = wanted.and_then(log_rank) else {
        return true;
    };
    let level = notification
        .params
        .as_deref()
        .and_then(|params| Object::parse(params).ok())
        .and_then(|params| params.get_str("level").and_then(|level| log_rank(&level)));
    level.is_none_or(|level| level >= wanted)
}

/// A result with public URIs in `contents`, resource links and embedded resources; for a task, in
/// the result that it has come to.
fn public_uris(routed: &Routed, result: ByteString) -> ByteString {
    let naming = routed.upstream.naming();
    let changed = if is_task_method(routed.call.method) {
        public_task_result(naming, &result)
    } else {
        public_result(naming, &result)
    };
    changed.map_or(result, ByteString::from)
}

/// A task with public URIs in the result of the request that it stands for (Tasks extension,
/// `CompletedTask`); `None` where nothing changes.
pub(crate) fn public_task_result(naming: &Naming, task: &str) -> Option<String> {
    if naming.is_identity() {
        return None;
    }
    let object = Object::parse(task).ok()?;
    let result = public_result(naming, object.get("result")?)?;
    Some(object.edit().set("result", result).finish())
}

fn public_result(naming: &Naming, result: &str) -> Option<String> {
    if naming.is_identity() {
        return None;
    }
    let object = Object::parse(result).ok()?;
    let mut edit = object.edit();
    let mut changed = false;
    for key in ["content", "contents", "messages"] {
        let Some(array) = object.get(key) else {
            continue;
        };
        if let Some(array) = public_array(naming, array) {
            edit = edit.set(key, array);
            changed = true;
        }
    }
    changed.then(|| edit.finish())
}

fn public_array(naming: &Naming, array: &str) -> Option<String> {
    memchr::memmem::find(array.as_bytes(), b"uri")?;
    let elements = json::elements(array)?;
    let changed: Vec<Option<String>> = elements
        .iter()
        .map(|element| public_element(naming, element))
        .collect();
    if changed.iter().all(Option::is_none) {
        return None;
    }
    let texts: Vec<&str> = changed
        .iter()
        .zip(&elements)
        .map(|(changed, element)| changed.as_deref().unwrap_or(element))
        .collect();
    Some(format!("[{}]", texts.join(",")))
}

/// One content block, resource content or prompt message.
fn public_element(naming: &Naming, element: &str) -> Option<String> {
    let object = Object::parse(element).ok()?;
    let mut edit = object.edit();
    let mut changed = false;
    if let Some(uri) = object.get_str("uri") {
        edit = edit.set_str("uri", &naming.public_uri(&uri));
        changed = true;
    }
    // An embedded resource, or the content of a prompt message.
    for key in ["resource", "content"] {
        let Some(inner) = object.get(key) else {
            continue;
        };
        let inner = if json::is_object(inner) {
            public_element(naming, inner)
        } else {
            public_array(naming, inner)
        };
        if let Some(inner) = inner {
            edit = edit.set(key, inner);
            changed = true;
        }
    }
    changed.then(|| edit.finish())
}

/// The error for a caller that can't answer what the upstream asks.
pub(super) fn cannot_answer(caller: Era, required: &str) -> WireError {
    match caller {
        Era::Modern => WireError::missing_capability(required),
        Era::Legacy => WireError {
            code: error::INVALID_PARAMS,
            ..WireError::missing_capability(required)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_become_public_wherever_a_client_may_read_them() {
        let naming = Naming::prefixed("f").unwrap();
        let content = r#"[{"type":"text","text":"uri"},{"type":"resource_link","uri":"a://1"},{"type":"resource","resource":{"uri":"a://2","text":"x"}}]"#;
        assert_eq!(
            public_array(&naming, content).unwrap(),
            r#"[{"type":"text","text":"uri"},{"type":"resource_link","uri":"f+a://1"},{"type":"resource","resource":{"uri":"f+a://2","text":"x"}}]"#
        );
        let messages =
            r#"[{"role":"user","content":{"type":"resource","resource":{"uri":"a://3"}}}]"#;
        assert_eq!(
            public_array(&naming, messages).unwrap(),
            r#"[{"role":"user","content":{"type":"resource","resource":{"uri":"f+a://3"}}}]"#
        );
        assert_eq!(
            public_array(&naming, r#"[{"type":"text","text":"uri"}]"#),
            None
        );
    }

    #[test]
    fn uris_in_the_result_of_a_task_become_public() {
        let naming = Naming::prefixed("f").unwrap();
        let task = r#"{"taskId":"t","status":"completed","result":{"content":[{"type":"resource_link","uri":"a://1"}],"x":1}}"#;
        assert_eq!(
            public_task_result(&naming, task).unwrap(),
            r#"{"taskId":"t","status":"completed","result":{"content":[{"type":"resource_link","uri":"f+a://1"}],"x":1}}"#
        );
        let contents = r#"{"result":{"contents":[{"uri":"a://1","text":""}]}}"#;
        assert!(
            public_task_result(&naming, contents)
                .unwrap()
                .contains("f+a://1")
        );
        assert_eq!(public_task_result(&naming, r#"{"status":"working"}"#), None);
    }

    #[test]
    fn kinds_of_results() {
        assert_eq!(kind(r#"{"content":[]}"#), Kind::Complete);
        assert_eq!(kind(r#"{"resultType":"complete"}"#), Kind::Complete);
        assert_eq!(kind(r#"{"a":{},"resultType":"complete"}"#), Kind::Complete);
        assert_eq!(
            kind(r#"{"resultType":"task","a":{"b":1,"resultType":"complete"}}"#),
            Kind::Other
        );
        assert_eq!(
            kind(r#"{"resultType":"input_required"}"#),
            Kind::InputRequired
        );
        assert_eq!(kind(r#"{"resultType":"task"}"#), Kind::Other);
        assert_eq!(kind(r#"{"text":"resultType"}"#), Kind::Complete);
    }
}
