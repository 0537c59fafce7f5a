//! A message that a client posts.

use std::sync::Arc;

use axum::{body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use mcp_ultra_protocol::{
    Body, EnvelopeError, Era, Id, Message, Notification, Request, Response as Answer, WireError,
    headers as names,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, headers, json, refusal,
    sessions::{HttpSession, Lookup},
    status,
    stream::{self, Working},
};
use crate::demo::{
    call::{Call, Outlet, Transport},
    dispatch,
    era::{self, Caller, ModernCaller, Opening},
    session::Session,
};

/// The longest body, in bytes.
const MAX_BODY: usize = 4 << 20;
/// How many messages of one call wait for a slow reader.
const OUTBOX: usize = 64;

/// Answers a POST.
pub(super) async fn post(shared: &Arc<Shared>, headers: &HeaderMap, body: body::Body) -> Response {
    if !headers::is_json(headers) {
        let error = WireError::invalid_request("Content-Type must be application/json");
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
    }
    let both = ["application/json", "text/event-stream"];
    if !both.iter().all(|kind| headers::accepts(headers, kind)) {
        let error =
            WireError::invalid_request("Accept must list application/json and text/event-stream");
        return refusal(StatusCode::NOT_ACCEPTABLE, &error);
    }
    let Ok(body) = body::to_bytes(body, MAX_BODY).await else {
        let error = WireError::invalid_request("the body broke off or is longer than 4 MiB");
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, &error);
    };
    match Body::parse(body) {
        Ok(Body::Single(Message::Request(request))) => take(shared, headers, request).await,
        Ok(Body::Single(Message::Notification(notification))) => {
            hear(shared, headers, &notification)
        }
        Ok(Body::Single(Message::Response(response))) => match shared.sessions.of(headers) {
            Lookup::Found(http) => {
                http.session.answered(response);
                status(StatusCode::ACCEPTED)
            }
            Lookup::Missing(response) => response,
        },
        Ok(Body::Batch(messages)) => batch(shared, headers, messages),
        Err(error) => {
            let text = Answer::error(error.id(), &error.to_wire()).text;
            json(StatusCode::BAD_REQUEST, text.into_bytes())
        }
    }
}

fn bad_request(id: &Id, error: &WireError) -> Response {
    let text = Answer::error(Some(id), error).text;
    json(StatusCode::BAD_REQUEST, text.into_bytes())
}

async fn take(shared: &Arc<Shared>, headers: &HeaderMap, request: Request) -> Response {
    match era::opening(&request) {
        Err(error) => bad_request(&request.id, &error),
        Ok(Opening::Modern(caller)) => modern(shared, headers, caller, request).await,
        Ok(Opening::Initialize) => initialize(shared, &request),
        Ok(Opening::Legacy) if headers::is_modern(headers) => {
            bad_request(&request.id, &era::missing_meta())
        }
        Ok(Opening::Legacy) => match shared.sessions.of(headers) {
            Lookup::Found(http) => legacy(shared, &http, request).await,
            Lookup::Missing(response) => response,
        },
    }
}

async fn modern(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    caller: ModernCaller,
    request: Request,
) -> Response {
    if let Err(error) = headers::verify(headers, &request) {
        return bad_request(&request.id, &error);
    }
    let (outlet, messages) = mpsc::channel(OUTBOX);
    let (answered, answer) = oneshot::channel();
    let cancelled = CancellationToken::new();
    let working = Working {
        id: request.id.clone(),
        era: Era::Modern,
        messages,
        answer,
        // Going away is how a modern client cancels.
        on_disconnect: Some(cancelled.clone().drop_guard()),
    };
    let call = call(shared, Caller::Modern(caller), outlet, request);
    tokio::spawn(async move {
        let result = dispatch::answer_unless(&call, &cancelled).await;
        // Ends `messages`, so that the answer comes last.
        drop(call);
        if let Some(result) = result {
            let _ = answered.send(result);
        }
    });
    stream::of_call(working).await
}

async fn legacy(shared: &Arc<Shared>, http: &HttpSession, request: Request) -> Response {
    let ticket = match http.session.in_flight.enter(&request.id) {
        Ok(ticket) => ticket,
        Err(refused) => {
            return bad_request(
                &request.id,
                &WireError::invalid_request(refused.to_string()),
            );
        }
    };
    let (outlet, messages) = mpsc::channel(OUTBOX);
    let (answered, answer) = oneshot::channel();
    let working = Working {
        id: request.id.clone(),
        era: Era::Legacy,
        messages,
        answer,
        // A legacy client that goes away has not cancelled (2025-11-25, Streamable HTTP).
        on_disconnect: None,
    };
    let caller = Caller::Legacy(Arc::clone(&http.session));
    let call = call(shared, caller, outlet, request);
    tokio::spawn(async move {
        let result = dispatch::answer_unless(&call, &ticket.cancelled).await;
        drop(call);
        drop(ticket);
        if let Some(result) = result {
            let _ = answered.send(result);
        }
    });
    stream::of_call(working).await
}

fn call(shared: &Shared, caller: Caller, outlet: Outlet, request: Request) -> Call {
    let server = Arc::clone(&shared.server);
    Call::new(server, caller, Transport::Http, outlet, request)
}

fn initialize(shared: &Shared, request: &Request) -> Response {
    let opened = Session::open(request.params.as_deref(), Arc::default())
        .and_then(|(session, result)| Ok((shared.sessions.add(&shared.server, session)?, result)));
    let (id, result) = match opened {
        Ok(opened) => opened,
        Err(error) => return bad_request(&request.id, &error),
    };
    let text = Answer::result(&request.id, &result.to_string()).text;
    let mut response = json(StatusCode::OK, text.into_bytes());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(names::SESSION_ID, id);
    }
    response
}

fn hear(shared: &Shared, headers: &HeaderMap, notification: &Notification) -> Response {
    if headers::is_modern(headers) {
        // No notification means anything here: a modern client cancels by going away.
        return status(StatusCode::ACCEPTED);
    }
    match shared.sessions.of(headers) {
        Lookup::Found(http) => {
            listen_to(&http.session, notification);
            status(StatusCode::ACCEPTED)
        }
        Lookup::Missing(response) => response,
    }
}

fn listen_to(session: &Session, notification: &Notification) {
    if &*notification.method == "notifications/cancelled" {
        session.in_flight.cancel(notification);
    }
}

/// A batch: the answers come as events of one stream (2025-03-26, Streamable HTTP).
fn batch(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    messages: Vec<Result<Message, EnvelopeError>>,
) -> Response {
    let http = match shared.sessions.of(headers) {
        Lookup::Found(http) => http,
        Lookup::Missing(response) => return response,
    };
    if !http.session.version.has_batches() {
        let error = WireError::invalid_request("batches exist in 2025-03-26 only");
        return refusal(StatusCode::BAD_REQUEST, &error);
    }
    let (outlet, answers) = mpsc::channel(OUTBOX);
    let mut wants_answers = false;
    for message in messages {
        match message {
            Ok(Message::Notification(notification)) => listen_to(&http.session, &notification),
            Ok(Message::Response(response)) => http.session.answered(response),
            Ok(Message::Request(request)) => {
                wants_answers = true;
                answer_one(shared, &http, &outlet, request);
            }
            Err(error) => {
                wants_answers = true;
                let text = Answer::error(error.id(), &error.to_wire()).text;
                let outlet = outlet.clone();
                tokio::spawn(async move { outlet.send(text).await });
            }
        }
    }
    drop(outlet);
    if wants_answers {
        stream::of_messages(answers)
    } else {
        status(StatusCode::ACCEPTED)
    }
}

fn answer_one(shared: &Shared, http: &HttpSession, outlet: &Outlet, request: Request) {
    let ticket = http.session.in_flight.enter(&request.id);
    let caller = Caller::Legacy(Arc::clone(&http.session));
    let call = call(shared, caller, outlet.clone(), request);
    tokio::spawn(async move {
        let answer = dispatch::response(&call, ticket).await;
        if let Some(text) = answer {
            call.send(text).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_ultra_protocol::Version;

    use super::*;
    use crate::demo::{http::sessions::Sessions, server::Server};

    fn headers(method: &'static str) -> HeaderMap {
        let pairs = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            (names::PROTOCOL_VERSION, Version::LATEST.as_str()),
            (names::METHOD, method),
        ];
        let pairs =
            pairs.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        HeaderMap::from_iter(pairs)
    }

    #[tokio::test]
    async fn a_modern_client_that_goes_away_cancels_its_call() {
        let shared = Arc::new(Shared {
            server: Server::new().unwrap(),
            sessions: Sessions::default(),
        });
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{
            "notifications":{},"_meta":{
                "io.modelcontextprotocol/protocolVersion":"2026-07-28",
                "io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let response = post(&shared, &headers("subscriptions/listen"), body.into()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(shared.server.events.listeners(), 1);
        drop(response);
        for _ in 0..500 {
            if shared.server.events.listeners() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the call goes on");
    }
}
