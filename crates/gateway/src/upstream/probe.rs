//! Questions that show which eras an upstream speaks
//! (2026-07-28, Versioning and Compatibility, Backward Compatibility).

use std::{sync::Arc, time::Duration};

use mcp_ultra_edge::credentials::Subject;
use mcp_ultra_protocol::{
    Era, Id, Outcome, Request, Response, Version, error,
    json::{self, Object},
    meta,
};

use super::{
    Eras, UpstreamError,
    http::{HttpSession, HttpStream, HttpTransport, ModernHeaders, Reply},
    session::{Ending, Hello, Welcome},
};

/// The `params` of a modern request of the gateway's own.
pub(super) fn modern_probe(hello: &Hello) -> String {
    format!("{{\"_meta\":{}}}", modern_meta(hello))
}

/// The `_meta` of a modern request of the gateway's own.
pub(super) fn modern_meta(hello: &Hello) -> String {
    format!(
        "{{\"{}\":\"{}\",\"{}\":{},\"{}\":{}}}",
        meta::PROTOCOL_VERSION,
        Version::LATEST,
        meta::CLIENT_INFO,
        hello.client_info,
        meta::CLIENT_CAPABILITIES,
        hello.capabilities
    )
}

/// Reads the answer to `server/discover`: the eras, and what the server said. `None` where it is
/// not the answer of a modern server.
pub(super) fn read_discover(answer: &Response) -> Option<(Eras, Welcome)> {
    match &answer.outcome {
        Outcome::Result(result) => {
            let object = Object::parse(result).ok()?;
            let eras = eras_of(object.get("supportedVersions")?)?;
            let welcome = Welcome {
                capabilities: object.get("capabilities").unwrap_or("{}").to_owned().into(),
                instructions: object
                    .get_str("instructions")
                    .map(std::borrow::Cow::into_owned),
            };
            Some((eras, welcome))
        }
        Outcome::Error(text) => {
            let object = Object::parse(text).ok()?;
            let code: i64 = object.get("code")?.parse().ok()?;
            if !error::is_modern(code) {
                return None;
            }
            let supported = object.get("data").and_then(|data| Object::parse(data).ok());
            let supported = supported.as_ref().and_then(|data| data.get("supported"));
            let eras = supported.and_then(eras_of).unwrap_or(Eras {
                modern: true,
                legacy: None,
            });
            Some((
                eras,
                Welcome {
                    capabilities: "{}".into(),
                    instructions: None,
                },
            ))
        }
    }
}

fn eras_of(versions: &str) -> Option<Eras> {
    let mut eras = Eras {
        modern: false,
        legacy: None,
    };
    for raw in json::elements(versions)? {
        match json::as_str(raw)
            .as_deref()
            .and_then(Version::parse)
            .map(Version::era)
        {
            Some(Era::Modern) => eras.modern = true,
            Some(Era::Legacy) => eras.legacy = Some(true),
            None => {}
        }
    }
    Some(eras)
}

/// How long an HTTP upstream may take to answer a question about its eras.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// Asks an HTTP upstream which eras it speaks.
///
/// # Errors
/// [`UpstreamError`] where it can't be reached, or answers in no known way.
pub(super) async fn detect(
    transport: &Arc<HttpTransport>,
    hello: &Hello,
) -> Result<Eras, UpstreamError> {
    let probing = tokio::time::timeout(PROBE_TIME, probe(transport, hello));
    let answer = match probing.await {
        Ok(Ok(answer)) => answer,
        // Nothing that a server says of a request that it does not know, but it may be all the
        // same: what `initialize` is answered with decides.
        Ok(Err(error @ UpstreamError::Status(500..))) => {
            return only_legacy(transport, hello, error).await;
        }
        Err(_) => {
            let error = UpstreamError::Timeout(PROBE_TIME.as_secs());
            return only_legacy(transport, hello, error).await;
        }
        Ok(Err(error)) => return Err(error),
    };
    match answer.as_ref().and_then(read_discover) {
        Some((eras, _)) if eras.modern || eras.legacy == Some(true) => Ok(eras),
        Some(_) => Err(UpstreamError::Protocol(
            "it speaks no revision of the protocol that is known here".into(),
        )),
        None => Ok(Eras::only(Era::Legacy)),
    }
}

/// Sends `server/discover`; `None` where the answer is not that of a modern server.
async fn probe(
    transport: &Arc<HttpTransport>,
    hello: &Hello,
) -> Result<Option<Response>, UpstreamError> {
    let request = Request::new(Id::from(1), "server/discover", Some(&modern_probe(hello)));
    let reply = transport
        .post_modern(
            "server/discover",
            &request.text,
            ModernHeaders::default(),
            &Subject::Gateway,
        )
        .await;
    match reply {
        Ok(Reply::Answer(answer, _)) => Ok(Some(*answer)),
        Ok(Reply::Stream(body, _)) => {
            let mut stream = HttpStream::modern(body, transport.max_message());
            match stream.next(&request.id).await {
                Ok(super::Event::Response(answer)) => Ok(Some(answer)),
                _ => Ok(None),
            }
        }
        // Who asks is refused, whatever the question: that says nothing of eras.
        Ok(Reply::Status(status @ (401 | 403 | 407 | 408 | 429 | 500..))) => {
            Err(UpstreamError::Status(status))
        }
        // A legacy server may refuse an unknown request in any way it likes.
        Ok(Reply::Accepted | Reply::Status(_)) | Err(UpstreamError::Protocol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn only_legacy(
    transport: &Arc<HttpTransport>,
    hello: &Hello,
    error: UpstreamError,
) -> Result<Eras, UpstreamError> {
    match has_legacy(transport, hello).await {
        Ok(true) => Ok(Eras::only(Era::Legacy)),
        _ => Err(error),
    }
}

/// Whether an HTTP upstream answers `initialize`. The session that it opens is ended again.
///
/// # Errors
/// [`UpstreamError`] where that could not be found out.
pub(super) async fn has_legacy(
    transport: &Arc<HttpTransport>,
    hello: &Hello,
) -> Result<bool, UpstreamError> {
    let opening = HttpSession::open(transport.clone(), hello, Arc::new(|_| {}), Subject::Gateway);
    match tokio::time::timeout(PROBE_TIME, opening).await {
        Ok(Ok(session)) => {
            tokio::spawn(async move { session.close(Ending::Over).await });
            Ok(true)
        }
        Err(_) | Ok(Err(UpstreamError::Protocol(_) | UpstreamError::Status(400..=499))) => {
            Ok(false)
        }
        Ok(Err(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discover(outcome: &str) -> Option<Eras> {
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,{outcome}}}");
        let Ok(mcp_ultra_protocol::Message::Response(answer)) =
            mcp_ultra_protocol::Message::parse(text.into_bytes())
        else {
            panic!("a response")
        };
        read_discover(&answer).map(|(eras, _)| eras)
    }

    #[test]
    fn eras_follow_from_what_is_supported() {
        let both = discover(r#""result":{"supportedVersions":["2026-07-28","2025-11-25"]}"#);
        assert_eq!(
            both,
            Some(Eras {
                modern: true,
                legacy: Some(true)
            })
        );
        let modern = discover(r#""error":{"code":-32020,"message":"m"}"#);
        assert_eq!(
            modern,
            Some(Eras {
                modern: true,
                legacy: None
            })
        );
        let legacy = discover(
            r#""error":{"code":-32022,"message":"m","data":{"supported":["2025-06-18"]}}"#,
        );
        assert_eq!(
            legacy,
            Some(Eras {
                modern: false,
                legacy: Some(true)
            })
        );
        assert_eq!(discover(r#""error":{"code":-32601,"message":"m"}"#), None);
        assert_eq!(discover(r#""result":{"tools":[]}"#), None);
    }
}
