//! Which eras an upstream speaks: found once, kept, found again when it fails
//! (2026-07-28, Versioning and Compatibility, Backward Compatibility).

use std::sync::Arc;

use mcp_ultra_protocol::{
    Era, Id, Outcome, Request, Response, Version, error,
    json::{self, Object},
    meta,
};

use super::{
    UpstreamError,
    http::{HttpTransport, ModernHeaders, Reply},
    session::{Hello, Welcome},
};

/// The eras that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eras {
    /// Speaks 2026-07-28.
    pub modern: bool,
    /// Speaks a legacy revision.
    pub legacy: bool,
}

impl Eras {
    /// A server that has agreed on `version` by `initialize`.
    pub fn legacy(_version: Version) -> Self {
        Self {
            modern: false,
            legacy: true,
        }
    }

    /// Only `era`.
    pub fn only(era: Era) -> Self {
        Self {
            modern: era == Era::Modern,
            legacy: era == Era::Legacy,
        }
    }

    /// The era to speak to the upstream in for a caller of era `caller`: the same where the
    /// upstream has it, the other one otherwise.
    pub fn for_caller(self, caller: Era) -> Era {
        match caller {
            Era::Modern if self.modern => Era::Modern,
            Era::Legacy if self.legacy => Era::Legacy,
            Era::Modern => Era::Legacy,
            Era::Legacy => Era::Modern,
        }
    }
}

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
                legacy: false,
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
        legacy: false,
    };
    for raw in json::elements(versions)? {
        match json::as_str(raw)
            .as_deref()
            .and_then(Version::parse)
            .map(Version::era)
        {
            Some(Era::Modern) => eras.modern = true,
            Some(Era::Legacy) => eras.legacy = true,
            None => {}
        }
    }
    Some(eras)
}

/// Asks an HTTP upstream which eras it speaks.
///
/// # Errors
/// [`UpstreamError`] where it can't be reached, or answers in no known way.
pub(super) async fn detect(
    transport: &Arc<HttpTransport>,
    hello: &Hello,
) -> Result<(Eras, Option<Welcome>), UpstreamError> {
    let request = Request::new(Id::from(1), "server/discover", Some(&modern_probe(hello)));
    let reply = transport
        .post_modern("server/discover", &request.text, ModernHeaders::default())
        .await;
    let answer = match reply {
        Ok(Reply::Answer(answer, _)) => Some(*answer),
        Ok(Reply::Stream(body, _)) => {
            let mut stream = super::http::HttpStream::modern(body, transport.max_message());
            match stream.next(&request.id).await {
                Ok(super::Event::Response(answer)) => Some(answer),
                _ => None,
            }
        }
        // A legacy server may refuse an unknown request in any way it likes.
        Ok(Reply::Accepted | Reply::Status(_)) | Err(UpstreamError::Protocol(_)) => None,
        Err(error) => return Err(error),
    };
    match answer.as_ref().and_then(read_discover) {
        Some((eras, welcome)) if eras.modern || eras.legacy => Ok((eras, Some(welcome))),
        Some(_) => Err(UpstreamError::Protocol(
            "it speaks no revision of the protocol that is known here".into(),
        )),
        None => Ok((Eras::only(Era::Legacy), None)),
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
                legacy: true
            })
        );
        let modern = discover(r#""error":{"code":-32020,"message":"m"}"#);
        assert_eq!(
            modern,
            Some(Eras {
                modern: true,
                legacy: false
            })
        );
        let legacy = discover(
            r#""error":{"code":-32022,"message":"m","data":{"supported":["2025-06-18"]}}"#,
        );
        assert_eq!(
            legacy,
            Some(Eras {
                modern: false,
                legacy: true
            })
        );
        assert_eq!(discover(r#""error":{"code":-32601,"message":"m"}"#), None);
        assert_eq!(discover(r#""result":{"tools":[]}"#), None);
    }

    #[test]
    fn a_caller_gets_its_own_era_where_it_can() {
        let both = Eras {
            modern: true,
            legacy: true,
        };
        assert_eq!(both.for_caller(Era::Legacy), Era::Legacy);
        assert_eq!(Eras::only(Era::Modern).for_caller(Era::Legacy), Era::Modern);
        assert_eq!(Eras::only(Era::Legacy).for_caller(Era::Modern), Era::Legacy);
    }
}
