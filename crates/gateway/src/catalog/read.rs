//! Reads all lists of one upstream.

use std::sync::Arc;

use bytestring::ByteString;
use mcp_ultra_domain::catalog::{Kind, Raw, ServerCapabilities};
use mcp_ultra_protocol::{
    Era, Outcome, Version, error,
    json::{self, Object},
    meta,
};

use crate::upstream::{Behalf, Outgoing, Upstream, UpstreamError, Welcome, error_code};

/// How many pages one list may have, against an upstream whose cursor never ends.
const MAX_PAGES: usize = 10_000;

/// Everything that the upstream offers, as text.
pub(super) async fn all(
    upstream: &Arc<Upstream>,
    behalf: &Behalf,
) -> Result<(Era, Raw), UpstreamError> {
    let era = upstream.era_for(Era::Modern).await?;
    let welcome = welcome(upstream, era, behalf).await?;
    let capabilities = ServerCapabilities::parse(&welcome.capabilities);
    let mut raw = Raw {
        capabilities: welcome.capabilities,
        instructions: welcome.instructions,
        ..Raw::default()
    };
    for kind in Kind::ALL {
        if capabilities.lists(kind) {
            list(upstream, era, behalf, kind, &mut raw).await?;
        }
    }
    Ok((era, raw))
}

async fn welcome(upstream: &Upstream, era: Era, behalf: &Behalf) -> Result<Welcome, UpstreamError> {
    if era == Era::Legacy || upstream.is_stdio() {
        let session = upstream.session(Some(era), behalf).await?;
        return Ok(session.welcome().clone());
    }
    let result = ask(upstream, era, behalf, "server/discover", None).await?;
    let result =
        result.ok_or_else(|| UpstreamError::Protocol("server/discover was refused".into()))?;
    let object = Object::parse(&result).map_err(|_| {
        UpstreamError::Protocol("the result of server/discover can't be read".into())
    })?;
    Ok(Welcome {
        capabilities: object.get("capabilities").unwrap_or("{}").to_owned().into(),
        instructions: object
            .get_str("instructions")
            .map(std::borrow::Cow::into_owned),
    })
}

async fn list(
    upstream: &Upstream,
    era: Era,
    behalf: &Behalf,
    kind: Kind,
    raw: &mut Raw,
) -> Result<(), UpstreamError> {
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = ask(upstream, era, behalf, kind.list_method(), cursor.as_deref()).await?;
        // Declared, but not offered: servers without templates often do so.
        let Some(page) = page else { return Ok(()) };
        let unreadable = || {
            UpstreamError::Protocol(
                format!("its answer to {} can't be read", kind.list_method()).into(),
            )
        };
        let object = Object::parse(&page).map_err(|_| unreadable())?;
        let items = object
            .get(kind.list_key())
            .and_then(json::elements)
            .ok_or_else(unreadable)?;
        raw.definitions
            .extend(items.into_iter().map(|item| (kind, page.slice_ref(item))));
        if era == Era::Modern {
            let ttl = object
                .get("ttlMs")
                .and_then(|ttl| ttl.parse::<u64>().ok())
                .unwrap_or(0);
            raw.ttl_ms = Some(raw.ttl_ms.map_or(ttl, |least| least.min(ttl)));
            raw.private |= object
                .get_str("cacheScope")
                .is_none_or(|scope| scope != "public");
        }
        match object.get_str("nextCursor") {
            Some(next) => cursor = Some(next.into_owned()),
            None => return Ok(()),
        }
    }
    Err(UpstreamError::Protocol(
        format!("{} has no end", kind.list_method()).into(),
    ))
}

/// One request of the gateway's own; `None` where the upstream does not know the method.
async fn ask(
    upstream: &Upstream,
    era: Era,
    behalf: &Behalf,
    method: &str,
    cursor: Option<&str>,
) -> Result<Option<ByteString>, UpstreamError> {
    let mut members = Vec::new();
    if era == Era::Modern {
        members.push(format!(
            "\"_meta\":{{\"{}\":\"{}\",\"{}\":{},\"{}\":{}}}",
            meta::PROTOCOL_VERSION,
            Version::LATEST,
            meta::CLIENT_INFO,
            behalf.hello.client_info,
            meta::CLIENT_CAPABILITIES,
            behalf.hello.capabilities
        ));
    }
    if let Some(cursor) = cursor {
        members.push(format!("\"cursor\":{}", json::quote(cursor)));
    }
    let params = (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")).into());
    let outgoing = Outgoing {
        method,
        params,
        ..Outgoing::default()
    };
    let mut exchange = upstream.call(era, behalf, outgoing).await?;
    let response = exchange.answer_of_own().await?;
    match &response.outcome {
        Outcome::Result(result) => Ok(Some(result.clone())),
        Outcome::Error(_) if error_code(&response) == Some(error::METHOD_NOT_FOUND) => Ok(None),
        Outcome::Error(_) => Err(UpstreamError::Protocol(
            format!("it answered {method} with an error").into(),
        )),
    }
}
