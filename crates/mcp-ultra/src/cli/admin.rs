//! The admin API of a running gateway, for the commands that speak to it.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use mcp_ultra_config::{Config, Sources};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::{config, exit::Failure, target};
use crate::{
    client::{Reply, Transport},
    wiring::secrets::{self, Secrets},
};

/// The admin API, and whose things it is asked for.
pub(super) struct AdminApi {
    transport: Transport,
    tenant: Option<String>,
}

/// Options of commands that do nothing without a running gateway.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// Admin API of the running gateway, such as `http://127.0.0.1:9090`
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_ADMIN", required = true)]
    admin: String,
    /// Environment variable that holds the credential for the admin API [default:
    /// `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl AdminArgs {
    /// The admin API, for what is of no tenant.
    pub(super) fn api(&self) -> Result<AdminApi, Failure> {
        self.api_for(None)
    }

    /// The admin API, for the things of a tenant: the caller's own without one.
    pub(super) fn api_for(&self, tenant: Option<&str>) -> Result<AdminApi, Failure> {
        let transport = target::transport(&self.admin, self.token_env.as_deref())?;
        Ok(AdminApi::new(transport, tenant.map(str::to_owned)))
    }
}

/// Options of commands that speak to a running gateway, or work on its store themselves.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// Configuration file that names the store [default: the one that `MCP_ULTRA_CONFIG` names]
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// Admin API of a running gateway, such as `http://127.0.0.1:9090`, instead of the store itself
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_ADMIN")]
    admin: Option<String>,
    /// Environment variable that holds the credential for the admin API [default:
    /// `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME", requires = "admin")]
    token_env: Option<String>,
}

impl StoreArgs {
    /// Whether a gateway is asked.
    pub(super) fn is_remote(&self) -> bool {
        self.admin.is_some()
    }

    /// The admin API, where a gateway is asked.
    pub(super) fn remote(&self, tenant: Option<&str>) -> Result<Option<AdminApi>, Failure> {
        let Some(admin) = &self.admin else {
            return Ok(None);
        };
        let transport = target::transport(admin, self.token_env.as_deref())?;
        Ok(Some(AdminApi::new(transport, tenant.map(str::to_owned))))
    }

    /// The configuration that names the store.
    pub(super) async fn load(&self) -> Result<(Config, Secrets), Failure> {
        let sources = Sources::from_process(self.config.as_deref())
            .map_err(|error| config::failure(&error))?;
        let (loaded, secrets) = secrets::load(&sources)
            .await
            .map_err(config::load_failure)?;
        Ok((loaded.config, secrets))
    }
}

/// The admin API did not do it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum AdminError {
    /// It refused it.
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
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
    field: Option<String>,
}

impl AdminApi {
    pub(super) fn new(transport: Transport, tenant: Option<String>) -> Self {
        Self { transport, tenant }
    }

    /// Whose things it is asked for, in words.
    pub(super) fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or("of the caller")
    }

    /// All entries of the list at `path`, which may have a query.
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let first = with(path, "limit", "200");
        let (mut all, mut path) = (Vec::new(), first.clone());
        loop {
            let reply = self.send(Method::GET, &path, &[], None).await?;
            let page: Page<T> = read(reply).await?;
            all.extend(page.items);
            let Some(next) = page.next else {
                return Ok(all);
            };
            path = with(&first, "after", &next);
        }
    }

    /// The `ETag` of what is at `path`, which a change needs.
    pub(super) async fn tag(&self, path: &str) -> Result<String, Failure> {
        let reply = self.send(Method::GET, path, &[], None).await?;
        let tag = reply.headers.get(header::ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        tag.ok_or_else(|| AdminError::NotTheApi.into())
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn send(
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
        let path = match &self.tenant {
            Some(tenant) => with(path, "tenant", tenant),
            None => path.to_owned(),
        };
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let reply = self.transport.ask(method, &path, map, body).await;
        let reply = reply.map_err(Failure::failed)?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        Err(problem(reply).await)
    }
}

/// Reads the body of an answer.
pub(super) async fn read<T: DeserializeOwned>(mut reply: Reply) -> Result<T, Failure> {
    let body = reply.whole().await.map_err(Failure::failed)?;
    serde_json::from_slice(&body).map_err(|_| AdminError::NotTheApi.into())
}

/// As it may stand in a path or a query. Forms write a space as `+`, which a path does not read as
/// one.
pub(super) fn encoded(text: &str) -> String {
    let encoded: String = byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// `path` with one parameter more.
pub(super) fn with(path: &str, name: &str, value: &str) -> String {
    let before = if path.contains('?') { '&' } else { '?' };
    format!("{path}{before}{name}={}", encoded(value))
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
