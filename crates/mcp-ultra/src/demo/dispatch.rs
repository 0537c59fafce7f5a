//! From a method to its answer, in the form of the caller's revision.

use mcp_ultra_protocol::{ByteString, Era, Method, Response, Version, WireError, meta};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    call::Call,
    completion,
    era::Caller,
    in_flight::{Refused, Ticket},
    listen, prompts, resources,
    server::{self, INSTRUCTIONS},
    session::Session,
    tools,
};

/// A result in the making, common to all revisions.
#[derive(Debug)]
pub(super) struct Answer {
    /// The members of the result.
    pub(super) result: Value,
    /// How long it holds, where it may be cached.
    pub(super) freshness: Option<Freshness>,
}

/// How long and for whom a result holds (2026-07-28, Caching).
#[derive(Debug, Clone, Copy)]
pub(super) struct Freshness {
    ttl_ms: u32,
    scope: &'static str,
}

impl Freshness {
    /// Never changes while the server runs.
    pub(super) const FIXED: Self = Self {
        ttl_ms: 3_600_000,
        scope: "public",
    };
    /// Changes now and then, and is the same for everybody.
    pub(super) const LIST: Self = Self {
        ttl_ms: 60_000,
        scope: "public",
    };
    /// Is about a person: for nobody but the caller, and soon to be read again.
    pub(super) const PERSONAL: Self = Self {
        ttl_ms: 5_000,
        scope: "private",
    };
}

impl Answer {
    /// An answer that may be cached.
    pub(super) fn fresh(result: Value, freshness: Freshness) -> Self {
        Self {
            result,
            freshness: Some(freshness),
        }
    }

    /// An answer that may not.
    pub(super) fn once(result: Value) -> Self {
        Self {
            result,
            freshness: None,
        }
    }
}

/// Answers `call` with the JSON text of the result.
///
/// # Errors
/// What the caller gets as the error of its request.
pub(super) async fn answer(call: &Call) -> Result<String, WireError> {
    let name = &*call.request.method;
    let method = Method::parse(name).ok_or_else(|| WireError::method_not_found(name))?;
    let answer = match (&call.caller, method) {
        (_, Method::ToolsList) => tools::list(call)?,
        (_, Method::ToolsCall) => tools::call(call).await?,
        (_, Method::ResourcesList) => resources::list(call)?,
        (_, Method::ResourceTemplatesList) => resources::templates(call)?,
        (_, Method::ResourcesRead) => resources::read(call)?,
        (_, Method::PromptsList) => prompts::list(call)?,
        (_, Method::PromptsGet) => prompts::get(call)?,
        (_, Method::Complete) => completion::complete(call)?,
        (Caller::Modern(_), Method::Discover) => Answer::fresh(discover(), Freshness::FIXED),
        // Its result names the subscription, and has nothing that is added to others.
        (Caller::Modern(_), Method::Listen) => return listen::listen(call).await,
        (Caller::Legacy(session), _) => legacy(call, session, method)?,
        (Caller::Modern(_), _) => return Err(WireError::method_not_found(name)),
    };
    let result = match call.caller.era() {
        Era::Modern => modern_form(answer),
        Era::Legacy => legacy_form(answer, call.caller.version(), method),
    };
    Ok(result.to_string())
}

/// As [`answer`]; `None` where the call was cancelled before.
pub(super) async fn answer_unless(
    call: &Call,
    cancelled: &CancellationToken,
) -> Option<Result<String, WireError>> {
    tokio::select! {
        () = cancelled.cancelled() => None,
        result = answer(call) => Some(result),
    }
}

/// The text of the whole response to `call`; `None` for a cancelled request, which gets none.
pub(super) async fn response(call: &Call, ticket: Result<Ticket, Refused>) -> Option<ByteString> {
    let id = &call.request.id;
    let result = match ticket {
        Ok(ticket) => answer_unless(call, &ticket.cancelled).await?,
        Err(refused) => Err(WireError::invalid_request(refused.to_string())),
    };
    let response = match result {
        Ok(result) => Response::result(id, &result),
        Err(error) => Response::error(Some(id), &error),
    };
    Some(response.text)
}

fn discover() -> Value {
    json!({
        "supportedVersions": [Version::LATEST.as_str()],
        "capabilities": server::capabilities(),
        "instructions": INSTRUCTIONS,
    })
}

#[derive(Deserialize)]
struct Level {
    level: String,
}

#[derive(Deserialize)]
struct Uri {
    uri: String,
}

/// The methods that only legacy revisions have.
fn legacy(call: &Call, session: &Session, method: Method) -> Result<Answer, WireError> {
    match method {
        Method::Ping => {}
        Method::SetLevel => session.set_level(&call.params::<Level>()?.level)?,
        Method::ResourcesSubscribe => {
            let Uri { uri } = call.params()?;
            if !resources::exists(&call.server.store, &uri) {
                return Err(WireError::resource_not_found(&uri, Era::Legacy));
            }
            session.subscribe(&uri)?;
        }
        Method::ResourcesUnsubscribe => session.unsubscribe(&call.params::<Uri>()?.uri),
        Method::Initialize => {
            return Err(WireError::invalid_request(
                "the session is initialized, and initialize can't stand in a batch",
            ));
        }
        _ => return Err(WireError::method_not_found(method.as_str())),
    }
    Ok(Answer::once(json!({})))
}

/// Adds what modern results carry.
fn modern_form(answer: Answer) -> Value {
    let mut result = answer.result;
    if let Some(members) = result.as_object_mut() {
        members
            .entry("resultType")
            .or_insert_with(|| "complete".into());
        let own = members.entry("_meta").or_insert_with(|| json!({}));
        own[meta::SERVER_INFO] = server::info();
        if let Some(freshness) = answer.freshness {
            members.insert("ttlMs".into(), freshness.ttl_ms.into());
            members.insert("cacheScope".into(), freshness.scope.into());
        }
    }
    result
}

/// Takes away what the revision did not have yet.
fn legacy_form(answer: Answer, version: Version, method: Method) -> Value {
    let mut result = answer.result;
    if version > Version::V2025_03_26 {
        return result;
    }
    let lists = ["tools", "resources", "resourceTemplates", "prompts"];
    for list in lists {
        for item in result
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(item) = item.as_object_mut() {
                item.remove("title");
                item.remove("outputSchema");
                without_titles(item);
            }
        }
    }
    if method == Method::ToolsCall
        && let Some(members) = result.as_object_mut()
    {
        members.remove("structuredContent");
        if let Some(content) = members.get_mut("content").and_then(Value::as_array_mut) {
            content.retain(|block| block["type"] != "resource_link");
        }
    }
    result
}

/// The arguments of a prompt had no title either.
fn without_titles(item: &mut Map<String, Value>) {
    let arguments = item.get_mut("arguments").and_then(Value::as_array_mut);
    for argument in arguments.into_iter().flatten() {
        if let Some(argument) = argument.as_object_mut() {
            argument.remove("title");
        }
    }
}
