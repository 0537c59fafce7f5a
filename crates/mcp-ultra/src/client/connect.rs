//! The handshake: which era a server speaks, and who it is
//! (2026-07-28, Streamable HTTP, Backward Compatibility).

use http::{HeaderMap, HeaderValue};
use mcp_ultra_protocol::{
    Era, Id, Message, Notification, Outcome, Request, Response, Version, error, headers,
    json::{self, Object},
    meta,
};

use super::{
    ClientError, Reply, RpcError, Transport,
    session::{CAPABILITIES, Server, client_info, with_modern_meta},
    transport::{modern_headers, version_header},
};

/// What the handshake found.
pub(super) struct Handshake {
    pub(super) server: Server,
    /// The session of a legacy server, where it has any.
    pub(super) session: Option<HeaderValue>,
}

/// What came of the modern request.
enum Probe {
    Modern(Server),
    /// Modern, but of another revision: these are offered.
    Offers(Vec<String>),
    Legacy,
}

/// Finds out the era of the server, modern first.
pub(super) async fn handshake(transport: &Transport) -> Result<Handshake, ClientError> {
    let asked = Version::LATEST;
    match discover(transport, asked).await? {
        Probe::Modern(server) => Ok(Handshake {
            server,
            session: None,
        }),
        Probe::Legacy => initialize(transport, Version::LATEST_LEGACY).await,
        Probe::Offers(offered) => {
            let common = Version::ALL
                .into_iter()
                .find(|version| *version != asked && offered.iter().any(|o| o == version.as_str()));
            match common.map(|version| (version, version.era())) {
                Some((version, Era::Legacy)) => initialize(transport, version).await,
                Some((version, Era::Modern)) => match discover(transport, version).await? {
                    Probe::Modern(server) => Ok(Handshake {
                        server,
                        session: None,
                    }),
                    _ => Err(no_version(transport, offered)),
                },
                None => Err(no_version(transport, offered)),
            }
        }
    }
}

fn no_version(transport: &Transport, offered: Vec<String>) -> ClientError {
    ClientError::Version {
        target: transport.target().to_string(),
        offered,
    }
}

async fn discover(transport: &Transport, version: Version) -> Result<Probe, ClientError> {
    let method = "server/discover";
    let params = with_modern_meta("{}", version.as_str(), None);
    let request = Request::new(Id::from(0), method, Some(&params));
    let headers = modern_headers(version.as_str(), method, Some(&params), &[]);
    let mut reply = transport.post(headers, request.text.clone()).await?;
    // Says something about the caller or the network, and nothing about the era.
    if matches!(reply.status.as_u16(), 401 | 403 | 429 | 502 | 503 | 504) {
        return Err(reply.status_error().await);
    }
    // Whatever can't be read as an answer is no recognised modern answer either.
    let Ok(Some(response)) = answer(&mut reply, &request.id).await else {
        return Ok(Probe::Legacy);
    };
    match response.outcome {
        Outcome::Result(result) => Ok(modern_server(&result)),
        Outcome::Error(text) => {
            let error = RpcError::parse(&text);
            if error.code == error::UNSUPPORTED_VERSION {
                Ok(Probe::Offers(offered(&error)))
            } else if error::is_modern(error.code) {
                Err(ClientError::Rpc {
                    method: method.to_owned(),
                    error,
                })
            } else {
                Ok(Probe::Legacy)
            }
        }
    }
}

fn offered(error: &RpcError) -> Vec<String> {
    let data = error
        .data
        .as_deref()
        .and_then(|data| Object::parse(data).ok());
    strings(data.and_then(|data| data.get("supported")))
}

fn strings(raw: Option<&str>) -> Vec<String> {
    raw.and_then(json::elements)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|raw| json::as_str(raw).map(String::from))
        .collect()
}

fn modern_server(result: &str) -> Probe {
    let Ok(object) = Object::parse(result) else {
        return Probe::Legacy;
    };
    if object.get("supportedVersions").is_none() {
        return Probe::Legacy;
    }
    let supported = strings(object.get("supportedVersions"));
    let version = Version::ALL
        .into_iter()
        .filter(|version| version.era() == Era::Modern)
        .find(|version| supported.iter().any(|name| name == version.as_str()));
    let Some(version) = version else {
        return Probe::Offers(supported);
    };
    let info = object
        .get_object("_meta")
        .ok()
        .flatten()
        .and_then(|meta| meta.get(meta::SERVER_INFO));
    Probe::Modern(Server::read(&object, info, version))
}

async fn initialize(transport: &Transport, version: Version) -> Result<Handshake, ClientError> {
    let method = "initialize";
    let params = format!(
        "{{\"protocolVersion\":\"{version}\",\"capabilities\":{CAPABILITIES},\"clientInfo\":{}}}",
        client_info()
    );
    let request = Request::new(Id::from(0), method, Some(&params));
    let mut reply = transport
        .post(HeaderMap::new(), request.text.clone())
        .await?;
    let session = reply.headers.get(headers::SESSION_ID).cloned();
    let response = match answer(&mut reply, &request.id).await {
        Ok(Some(response)) => response,
        Err(error) if reply.status.is_success() => return Err(error),
        _ if reply.status.is_success() => {
            return Err(reply.not_mcp("neither server/discover nor initialize got an MCP answer"));
        }
        _ => return Err(reply.status_error().await),
    };
    let result = match response.outcome {
        Outcome::Result(result) => result,
        Outcome::Error(text) => {
            return Err(ClientError::Rpc {
                method: method.to_owned(),
                error: RpcError::parse(&text),
            });
        }
    };
    let object = Object::parse(&result).map_err(|error| reply.not_mcp(error.to_string()))?;
    let named = object.get_str("protocolVersion").unwrap_or_default();
    let Some(agreed) = Version::parse(&named).filter(|version| version.era() == Era::Legacy) else {
        return Err(no_version(transport, vec![named.into_owned()]));
    };
    let server = Server::read(&object, object.get("serverInfo"), agreed);
    let mut map = version_header(agreed.as_str());
    if let Some(id) = &session {
        map.insert(headers::SESSION_ID, id.clone());
    }
    let initialized = Notification::new("notifications/initialized", None);
    let mut reply = transport.post(map, initialized.text).await?;
    if !reply.status.is_success() {
        return Err(reply.status_error().await);
    }
    Ok(Handshake { server, session })
}

/// The answer to `id`, with whatever stands before it on the stream passed over.
async fn answer(reply: &mut Reply, id: &Id) -> Result<Option<Response>, ClientError> {
    while let Some(message) = reply.next().await? {
        match message {
            Message::Response(response) if response.id.as_ref().is_none_or(|given| given == id) => {
                return Ok(Some(response));
            }
            _ => {}
        }
    }
    Ok(None)
}
