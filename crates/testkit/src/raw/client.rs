//! The pool of connections, and requests on it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{Answer, PATIENCE, RawError};
use crate::tls::Trust;

/// Sends requests to one URL over pooled connections with `TCP_NODELAY`.
#[derive(Clone)]
pub struct Client {
    url: String,
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    patience: Duration,
}

impl Client {
    /// A client for `url` (plain HTTP).
    pub fn new(url: impl Into<String>) -> Self {
        Self::trusting(url, &Trust::default())
    }

    /// A client for `url`, over TLS where that says so.
    pub fn trusting(url: impl Into<String>, trust: &Trust) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let http = HyperClient::builder(TokioExecutor::new()).build(trust.connector(connector));
        Self {
            url: url.into(),
            http,
            patience: PATIENCE,
        }
    }

    /// Waits this long, not [`PATIENCE`], for the head of an answer and for each part of its body.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where it sends to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends `body` as it is, with exactly these headers (and `host` and `content-length`, which
    /// hyper adds if they are missing).
    pub async fn post(
        &self,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Answer, RawError> {
        self.request(Method::POST, headers, body.into()).await
    }

    /// Sends GET, for the stream of a legacy session.
    pub async fn get(&self, headers: HeaderMap) -> Result<Answer, RawError> {
        self.request(Method::GET, headers, Bytes::new()).await
    }

    /// Sends DELETE, which ends a legacy session.
    pub async fn delete(&self, headers: HeaderMap) -> Result<Answer, RawError> {
        self.request(Method::DELETE, headers, Bytes::new()).await
    }

    /// Sends any method.
    pub async fn request(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, RawError> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.url)
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        let sent = tokio::time::timeout(self.patience, self.http.request(request)).await;
        let response = sent
            .map_err(|_| RawError::TooLate(self.patience))?
            .map_err(|source| RawError::Connection {
                url: self.url.clone(),
                source,
            })?;
        Ok(Answer::new(response, self.patience))
    }
}
