//! `/mcp`: what HTTP demands before a message is looked at.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mcp_ultra_edge::listener::Peer;
use mcp_ultra_protocol::{WireError, headers};

use super::{Body, Identified, cors, guard, identify, names, post, respond};
use crate::{
    Gateway,
    access::Viewer,
    listen,
    pipeline::Refusal,
    reply::Replies,
    session::{self, Live},
};

pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    cors: Option<&cors::Call>,
) -> Response<Body> {
    let client = match guard::request(gateway, &request) {
        Ok(client) => client,
        Err(exceeded) => return respond::limited(&exceeded),
    };
    let allowed = {
        let settings = gateway.settings();
        names::are_allowed(
            &settings.hosts,
            &settings.origins,
            request.uri(),
            request.headers(),
        )
    };
    if !allowed {
        let error = WireError::invalid_request(
            "the Host or Origin of the request is not allowed here; see server.allowed_hosts and server.allowed_origins",
        );
        return respond::error(StatusCode::FORBIDDEN, None, &error);
    }
    // Asked without credentials, by the browser and not by the page.
    if matches!(cors, Some(cors::Call::Page(_))) && cors::is_preflight(&request) {
        return cors::preflight(request.headers());
    }
    if !matches!(
        *request.method(),
        Method::POST | Method::GET | Method::DELETE
    ) {
        return respond::method_not_allowed();
    }
    let identified = match identify::identify(
        gateway,
        request.method(),
        request.headers(),
        request.extensions().get::<Peer>(),
    )
    .await
    {
        Ok(identified) => identified,
        Err(refusal) => return refusal,
    };
    match *request.method() {
        Method::GET => Box::pin(open_stream(gateway, request.headers(), &identified, client)).await,
        Method::DELETE => Box::pin(end_session(gateway, request.headers(), &identified)).await,
        _ => post::answer(gateway, request, identified, client).await,
    }
}

/// What nearly every client sends, and is understood without being taken apart.
const USUAL_ACCEPT: &str = "application/json, text/event-stream";

/// Which media types of ours a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepts {
    pub json: bool,
    pub stream: bool,
}

impl Accepts {
    /// Reads `Accept`. A client that sends none takes both, as the specification demands of it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT).iter();
        if let (Some(value), None) = (values.next(), values.next())
            && value == USUAL_ACCEPT
        {
            return Self {
                json: true,
                stream: true,
            };
        }
        let mut accepts = Self {
            json: false,
            stream: false,
        };
        let mut any = false;
        for value in headers.get_all(header::ACCEPT) {
            let Ok(value) = value.to_str() else { continue };
            for range in value.split(',') {
                let essence = range.split(';').next().unwrap_or_default().trim();
                any = true;
                let all = essence == "*/*";
                accepts.json |= all
                    || essence.eq_ignore_ascii_case("application/json")
                    || essence.eq_ignore_ascii_case("application/*");
                accepts.stream |= all
                    || essence.eq_ignore_ascii_case("text/event-stream")
                    || essence.eq_ignore_ascii_case("text/*");
            }
        }
        if any {
            accepts
        } else {
            Self {
                json: true,
                stream: true,
            }
        }
    }
}

/// `GET`: the server-to-client stream of a legacy session (2025-11-25, Listening for Messages).
async fn open_stream(
    gateway: &Arc<Gateway>,
    map: &HeaderMap,
    identified: &Identified,
    client: Option<IpAddr>,
) -> Response<Body> {
    if !map.contains_key(headers::SESSION_ID) {
        return respond::method_not_allowed();
    }
    if !Accepts::of(map).stream {
        return respond::text(
            StatusCode::NOT_ACCEPTABLE,
            "GET answers with text/event-stream only\n",
        );
    }
    let live = match session(gateway, map, identified).await {
        Ok(live) => live,
        Err(response) => return response,
    };
    let Some(slot) = client.map_or_else(
        || gateway.streams.enter(None, usize::MAX),
        |address| gateway.may_stream(address),
    ) else {
        let error =
            WireError::internal("too many streams are open for this client; close one first");
        return respond::error(StatusCode::TOO_MANY_REQUESTS, None, &error);
    };
    live.streams_to(Viewer {
        principal: identified.principal.clone(),
        address: client,
    });
    let (sender, receiver) = live.open_push();
    tokio::spawn(listen::take_over_stored(gateway.clone(), live.clone()));
    tokio::spawn(listen::push_changes(
        gateway.clone(),
        gateway.changes.subscribe(),
        live,
        sender,
    ));
    let end = identify::end(gateway, &identified.principal);
    respond::stream(None, Replies::of_many(receiver), Some(slot), end)
}

/// `DELETE`: the client ends its session.
async fn end_session(
    gateway: &Arc<Gateway>,
    map: &HeaderMap,
    identified: &Identified,
) -> Response<Body> {
    if !map.contains_key(headers::SESSION_ID) {
        return respond::method_not_allowed();
    }
    match session(gateway, map, identified).await {
        Ok(live) => {
            gateway.sessions.terminate(gateway, &live).await;
            respond::status(StatusCode::NO_CONTENT)
        }
        Err(response) => response,
    }
}

/// The session that the headers name, or the response that refuses it.
pub(super) async fn session(
    gateway: &Arc<Gateway>,
    map: &HeaderMap,
    identified: &Identified,
) -> Result<Arc<Live>, Response<Body>> {
    session::of_headers(gateway, map, identified)
        .await
        .map_err(|refusal| {
            let Refusal { error, status, .. } = refusal;
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            respond::error(status.unwrap_or(StatusCode::BAD_REQUEST), None, &error)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_leniently() {
        let of = |value: Option<&str>| {
            let mut map = HeaderMap::new();
            if let Some(value) = value {
                map.insert(header::ACCEPT, value.parse().unwrap());
            }
            let accepts = Accepts::of(&map);
            (accepts.json, accepts.stream)
        };
        assert_eq!(of(None), (true, true));
        assert_eq!(
            of(Some("application/json, text/event-stream")),
            (true, true)
        );
        assert_eq!(of(Some("*/*")), (true, true));
        assert_eq!(of(Some("application/json;q=0.9")), (true, false));
        assert_eq!(of(Some("text/event-stream")), (false, true));
        assert_eq!(of(Some("text/html")), (false, false));
    }
}
