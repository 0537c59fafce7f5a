//! The admin API of a running gateway, as commands speak to it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::exit::Failure;
use crate::client::{Reply, Transport};

/// The admin API did not do what it was asked for.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum AdminError {
    /// It refused.
    #[error("the admin API refused it: {what}")]
    #[diagnostic(help(
        "a credential comes from MCP_ULTRA_TOKEN or --token-env; a policy must permit it, or without policies the role operator, or tenant-admin for its own tenant"
    ))]
    Refused {
        /// Why.
        what: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// Something else answers there.
    #[error("what answers there is not the admin API of MCP Ultra")]
    #[diagnostic(help(
        "its address is admin.host and admin.port of the gateway, not that of /mcp"
    ))]
    NotTheApi,
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Refused {
                status: StatusCode::BAD_REQUEST,
                ..
            } => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
    field: Option<String>,
}

/// The admin API.
pub(crate) struct AdminApi(Transport);

impl AdminApi {
    pub(crate) fn new(transport: Transport) -> Self {
        Self(transport)
    }

    /// Sends a request; an answer that is no success is a failure.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                map.insert(HeaderName::from_static(name), value);
            }
        }
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            map.insert(header::CONTENT_TYPE, json);
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let reply = self.0.ask(method, path, map, body).await;
        let reply = reply.map_err(Failure::failed)?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        Err(problem(reply).await)
    }
}

async fn problem(mut reply: Reply) -> Failure {
    let status = reply.status;
    let body = reply.whole().await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        return AdminError::NotTheApi.into();
    };
    let Problem {
        title,
        detail,
        field,
    } = problem;
    let field = field.map_or_else(String::new, |field| format!("{field}: "));
    let what = format!("{title}: {field}{detail}");
    AdminError::Refused { what, status }.into()
}

/// The body of an answer.
pub(crate) async fn read<T: DeserializeOwned>(mut reply: Reply) -> Result<T, Failure> {
    let body = reply.whole().await.map_err(Failure::failed)?;
    serde_json::from_slice(&body).map_err(|_| AdminError::NotTheApi.into())
}

/// A text as a part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    // A form writes a space as `+`, which a path does not read as one.
    byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
