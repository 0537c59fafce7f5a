use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::outbound::{Outbound, OutboundError};

/// The largest document that is taken from an issuer.
const LARGEST: usize = 256 * 1024;
/// Who asks.
pub(crate) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mcp-ultra/", env!("CARGO_PKG_VERSION")));

/// Reads documents of issuers. The caller bounds the time.
#[derive(Clone)]
pub(crate) struct Fetcher {
    outbound: Outbound,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Outbound(#[from] OutboundError),
    #[error("{0} was answered instead of 200")]
    Status(StatusCode),
    #[error("the answer is larger than {LARGEST} bytes")]
    TooLarge,
    #[error("the answer broke off")]
    Broken,
}

impl Fetcher {
    pub(crate) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    /// The document at `uri`, which the operator has given. Redirects are not followed.
    pub(crate) async fn get(&self, uri: &Uri) -> Result<Bytes, FetchError> {
        document(self.outbound.request(asking(uri)).await?).await
    }

    /// The document at `uri`, which a document of `origin` has named: it must be of the same host,
    /// or of one that the operator allows.
    pub(crate) async fn get_found(&self, uri: &Uri, origin: &Uri) -> Result<Bytes, FetchError> {
        document(self.outbound.request_found(asking(uri), origin).await?).await
    }

    /// What is answered to `request`, whatever its status. `origin` is set where a document of that
    /// address has named the one of the request, as in [`Self::get_found`].
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        origin: Option<&Uri>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let response = match origin {
            Some(origin) => self.outbound.request_found(request, origin).await?,
            None => self.outbound.request(request).await?,
        };
        Ok((response.status(), whole(response).await?))
    }
}

fn asking(uri: &Uri) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(
        header::ACCEPT,
        HeaderValue::from_static("application/json, application/jwk-set+json"),
    );
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    request
}

async fn document(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    whole(response).await
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    match Limited::new(response.into_body(), LARGEST).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
        Err(_) => Err(FetchError::Broken),
    }
}
