use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use bytestring::ByteString;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_ultra_edge::{
    credentials::{AccessToken, Credentials, GrantLife, Subject},
    outbound::Outbound,
};
use mcp_ultra_protocol::{Version, headers};

use super::{body::while_granted, reply::Reply, scope};
use crate::{cache::Parts, upstream::UpstreamError};

/// How long the end of a session may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// How to reach one upstream over HTTP.
pub struct HttpTransport {
    client: Outbound,
    uri: Uri,
    /// What every request carries, the operator's own headers among it. Values may be secret, and
    /// change while calls are made.
    headers: ArcSwap<Headers>,
    /// The access tokens that requests are made with, where it needs any.
    credentials: Option<Credentials>,
    /// The largest message accepted, in bytes.
    max_message: usize,
    /// How long to wait for the head of a response, where that is less than the call may take.
    response_timeout: Option<Duration>,
}

/// What every request carries.
struct Headers {
    map: HeaderMap,
    /// Of the operator's own.
    digest: [u8; 32],
}

impl std::fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Address and headers may hold keys.
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

/// The headers of a modern request that mirror its body, made anew for the upstream.
#[derive(Debug, Default)]
pub struct ModernHeaders<'a> {
    /// `Mcp-Name`
    pub name: Option<&'a str>,
    /// `Mcp-Param-*`, and whatever else travels on.
    pub extra: Vec<(HeaderName, HeaderValue)>,
}

impl HttpTransport {
    /// A transport to `uri` that sends `headers` with every request.
    pub fn new(
        client: Outbound,
        uri: Uri,
        headers: &HeaderMap,
        max_message: usize,
        response_timeout: Option<Duration>,
    ) -> Self {
        let mut all = HeaderMap::with_capacity(8 + headers.len());
        all.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        all.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        for (name, value) in headers {
            all.append(name.clone(), value.clone());
        }
        let own = headers.iter();
        let own = own.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let digest = Parts::digest("headers", &own.collect::<Vec<_>>());
        Self {
            client,
            uri,
            headers: ArcSwap::from_pointee(Headers { map: all, digest }),
            credentials: None,
            max_message,
            response_timeout,
        }
    }

    /// Makes every request with an access token.
    pub(in crate::upstream) fn with_credentials(self, credentials: Credentials) -> Self {
        Self {
            credentials: Some(credentials),
            ..self
        }
    }

    /// Sends the headers of `other` with every request from now on.
    pub(in crate::upstream) fn take_headers_of(&self, other: &Self) {
        self.headers.store(other.headers.load_full());
    }

    /// A digest of the operator's own headers.
    pub(in crate::upstream) fn asked_with(&self) -> [u8; 32] {
        self.headers.load().digest
    }

    /// Gets access tokens with the client secret of `other` from now on.
    pub(in crate::upstream) fn take_client_secret_of(&self, other: &Self) {
        if let (Some(own), Some(new)) = (&self.credentials, &other.credentials) {
            own.take_secret_of(new);
        }
    }

    /// Whether requests are made with access tokens, so that it matters in whose name.
    pub(in crate::upstream) fn needs_tokens(&self) -> bool {
        self.credentials.is_some()
    }

    /// The access tokens that requests are made with.
    pub(in crate::upstream) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Forgets access tokens that have ended.
    pub(in crate::upstream) fn forget_ended_tokens(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.sweep();
        }
    }

    /// The largest message accepted, in bytes.
    pub fn max_message(&self) -> usize {
        self.max_message
    }

    /// Posts a modern request in the name of `subject`.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn post_modern(
        &self,
        method: &str,
        body: &ByteString,
        mirrored: ModernHeaders<'_>,
        subject: &Subject,
    ) -> Result<Reply, UpstreamError> {
        let mut request = self.request(Method::POST, Full::new(body.clone().into_bytes()));
        let map = request.headers_mut();
        map.insert(
            HeaderName::from_static(headers::PROTOCOL_VERSION),
            HeaderValue::from_static(Version::LATEST.as_str()),
        );
        insert(map, headers::METHOD, method);
        if let Some(name) = mirrored.name {
            insert(map, headers::NAME, name);
        }
        for (name, value) in mirrored.extra {
            map.append(name, value);
        }
        self.send(request, subject).await
    }

    /// Posts a message of a legacy session.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub(super) async fn post_legacy(
        &self,
        body: &ByteString,
        session: Option<&HeaderValue>,
        version: Option<Version>,
        subject: &Subject,
    ) -> Result<Reply, UpstreamError> {
        let mut request = self.request(Method::POST, Full::new(body.clone().into_bytes()));
        legacy_headers(request.headers_mut(), session, version);
        self.send(request, subject).await
    }

    /// Opens a stream of a legacy session, new or behind `last_event`.
    pub(super) async fn get_legacy(
        &self,
        session: Option<&HeaderValue>,
        version: Version,
        last_event: Option<&str>,
        subject: &Subject,
    ) -> Result<Reply, UpstreamError> {
        let mut request = self.request(Method::GET, Full::default());
        let map = request.headers_mut();
        map.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        map.remove(header::CONTENT_TYPE);
        legacy_headers(map, session, Some(version));
        if let Some(id) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            map.insert(HeaderName::from_static("last-event-id"), id);
        }
        self.send(request, subject).await
    }

    /// Ends a legacy session. What the upstream answers does not matter.
    pub(super) async fn delete_legacy(
        &self,
        session: &HeaderValue,
        version: Version,
        subject: &Subject,
    ) {
        let mut request = self.request(Method::DELETE, Full::default());
        request.headers_mut().remove(header::CONTENT_TYPE);
        legacy_headers(request.headers_mut(), Some(session), Some(version));
        // Nobody waits for a session that is over.
        let _ = tokio::time::timeout(GOODBYE, self.send(request, subject)).await;
    }

    fn request(&self, method: Method, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers.load().map);
        request
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        subject: &Subject,
    ) -> Result<Reply, UpstreamError> {
        match &self.credentials {
            None => self.send_as_it_is(request).await,
            // Boxed: most upstreams need no tokens.
            Some(credentials) => {
                Box::pin(self.send_with_token(credentials, request, subject)).await
            }
        }
    }

    async fn send_as_it_is(&self, request: Request<Full<Bytes>>) -> Result<Reply, UpstreamError> {
        let response = self.respond(request).await?;
        Reply::read(response, self.max_message, None).await
    }

    /// Sends a request with the token of `subject`. An upstream that does not accept it (401) has
    /// not acted on the request: it gets the request again, once, with another token, where there
    /// is one to be had. The reply ends with the grant that the token is of.
    async fn send_with_token(
        &self,
        credentials: &Credentials,
        mut request: Request<Full<Bytes>>,
        subject: &Subject,
    ) -> Result<Reply, UpstreamError> {
        let Some(token) = credentials.token(subject).await? else {
            return self.send_as_it_is(request).await;
        };
        let mut again = request.clone();
        let life = life_of(&token, &request);
        let header = token.header().clone();
        request.headers_mut().insert(header::AUTHORIZATION, header);
        let response = while_granted(life.as_ref(), self.respond(request)).await?;
        if let Some(scopes) = scope::lacking(&response) {
            return Err(UpstreamError::Scope(scopes));
        }
        if response.status() != StatusCode::UNAUTHORIZED || !credentials.rejected(subject, &token) {
            return self.read(response, life).await;
        }
        drop(response);
        let Some(token) = credentials.token(subject).await? else {
            return self.send_as_it_is(again).await;
        };
        let life = life_of(&token, &again);
        let header = token.header().clone();
        again.headers_mut().insert(header::AUTHORIZATION, header);
        let response = while_granted(life.as_ref(), self.respond(again)).await?;
        self.read(response, life).await
    }

    /// Reads a response for as long as what it was asked with is granted.
    async fn read(
        &self,
        response: Response<Incoming>,
        life: Option<GrantLife>,
    ) -> Result<Reply, UpstreamError> {
        let reading = Reply::read(response, self.max_message, life.clone());
        while_granted(life.as_ref(), reading).await
    }

    /// Sends a request as it is.
    async fn respond(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let sent = self.client.request(request);
        let response = match self.response_timeout {
            Some(limit) => tokio::time::timeout(limit, sent)
                .await
                .map_err(|_| UpstreamError::Timeout(limit.as_secs()))?,
            None => sent.await,
        };
        response.map_err(|error| {
            if error.retry_is_safe() {
                UpstreamError::Unreachable(error.to_string())
            } else {
                UpstreamError::Closed
            }
        })
    }
}

/// The life that a request ends with. A session can be ended when its grant is withdrawn: with the
/// token that it had.
fn life_of<B>(token: &AccessToken, request: &Request<B>) -> Option<GrantLife> {
    let ends_session = request.method() == Method::DELETE;
    token.life().filter(|_| !ends_session).cloned()
}

fn insert(map: &mut HeaderMap, name: &'static str, value: &str) {
    // The encoded form is printable ASCII, which every header value may be.
    if let Ok(value) = HeaderValue::from_str(&headers::encode(value)) {
        map.insert(HeaderName::from_static(name), value);
    }
}

fn legacy_headers(map: &mut HeaderMap, session: Option<&HeaderValue>, version: Option<Version>) {
    if let Some(session) = session {
        map.insert(
            HeaderName::from_static(headers::SESSION_ID),
            session.clone(),
        );
    }
    // The header exists since 2025-06-18.
    if let Some(version) = version.filter(|version| *version >= Version::V2025_06_18) {
        map.insert(
            HeaderName::from_static(headers::PROTOCOL_VERSION),
            HeaderValue::from_static(version.as_str()),
        );
    }
}
