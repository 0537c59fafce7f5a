use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use mcp_ultra_config::{SecretName, VaultSettings};
use mcp_ultra_domain::Clock;
use mcp_ultra_edge::{
    body,
    outbound::{Outbound, OutboundConfig, OutboundConfigError, OutboundErrorKind},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Found, LARGEST, Source, SourceError};

/// The key of a secret whose name has none.
const DEFAULT_KEY: &str = "value";
/// A login without an end is looked at again after this time.
const ENDLESS: Duration = Duration::from_hours(1);

/// A server with the Vault API: key/value engine, version 2.
pub(super) struct Vault {
    settings: VaultSettings,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    login: tokio::sync::Mutex<Option<Login>>,
}

/// A token, and when another one is wanted.
#[derive(Clone)]
struct Login {
    token: SecretString,
    renew_at: Duration,
}

impl Vault {
    pub(super) fn new(
        settings: VaultSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboundConfigError> {
        let outbound = Outbound::new(&OutboundConfig {
            connect_timeout: settings.timeout.get(),
            extra_ca_file: settings.ca_file.as_ref().map(PathBuf::from),
            pool_max_idle_per_host: 2,
            ..OutboundConfig::default()
        })?;
        Ok(Self {
            settings,
            outbound,
            clock,
            login: tokio::sync::Mutex::default(),
        })
    }

    /// A token that is good for a while; `refused` is one that no longer is. One task asks for
    /// another one while others wait.
    async fn token(&self, refused: Option<&SecretString>) -> Result<SecretString, SourceError> {
        let mut login = self.login.lock().await;
        let now = self.clock.now();
        if let Some(known) = &*login {
            let was_refused = refused
                .is_some_and(|refused| refused.expose_secret() == known.token.expose_secret());
            if !was_refused && now < known.renew_at {
                return Ok(known.token.clone());
            }
        }
        let new = self.log_in(now).await?;
        let token = new.token.clone();
        *login = Some(new);
        Ok(token)
    }

    async fn log_in(&self, now: Duration) -> Result<Login, SourceError> {
        let settings = &self.settings;
        if let Some(token) = &settings.token {
            let token = SecretString::from(token.expose());
            // A token without renewal (400, 403 by its policies) is used as it is.
            let renewed = self
                .ask(
                    Method::POST,
                    "auth/token/renew-self",
                    Some(&token),
                    Some(json!({})),
                )
                .await?;
            let lease = match renewed {
                (StatusCode::OK, answer) => lease(&answer),
                _ => Duration::ZERO,
            };
            return Ok(Login {
                token,
                renew_at: renew_at(now, lease),
            });
        }
        let (path, body) = if let Some(role) = &settings.app_role {
            let body = json!({
                "role_id": role.role_id.expose(), "secret_id": role.secret_id.expose(),
            });
            (format!("auth/{}/login", role.mount), body)
        } else if let Some(login) = &settings.kubernetes {
            let jwt = std::fs::read_to_string(&login.token_file)
                .map_err(|error| SourceError::Login(format!("token file: {}", error.kind())))?;
            let body = json!({ "role": login.role, "jwt": jwt.trim() });
            (format!("auth/{}/login", login.mount), body)
        } else {
            return Err(SourceError::Login("none is configured".into()));
        };
        match self.ask(Method::POST, &path, None, Some(body)).await? {
            (StatusCode::OK, answer) => {
                let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
                Ok(Login {
                    token: token.ok_or(SourceError::Answer)?.into(),
                    renew_at: renew_at(now, lease(&answer)),
                })
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => Err(SourceError::Sealed),
            (status, _) => Err(SourceError::Login(format!("status {}", status.as_u16()))),
        }
    }

    /// One request. Redirects are not followed: they would carry the token elsewhere.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretString>,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), SourceError> {
        let address = self.settings.address.trim_end_matches('/');
        let uri: Uri = format!("{address}/v1/{path}")
            .parse()
            .map_err(|_| SourceError::Unreachable("the address is not a URL".into()))?;
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(token) = token {
            let value = HeaderValue::from_str(token.expose_secret());
            let mut value = value.map_err(|_| SourceError::Login("the token is not one".into()))?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        let namespace = self.settings.namespace.as_deref();
        if let Some(namespace) = namespace.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert("x-vault-namespace", namespace);
        }
        let timeout = self.settings.timeout.get();
        let answered = tokio::time::timeout(timeout, async {
            let response =
                self.outbound
                    .request(request)
                    .await
                    .map_err(|error| match error.kind() {
                        OutboundErrorKind::Tls => SourceError::NotTrusted,
                        other => SourceError::Unreachable(other.as_str().into()),
                    })?;
            let status = response.status();
            let bytes = body::read(response.into_body(), 4 * LARGEST).await;
            let bytes = bytes.map_err(|_| SourceError::Answer)?;
            let answer = serde_json::from_slice(&bytes).unwrap_or_default();
            Ok((status, answer))
        });
        answered
            .await
            .unwrap_or_else(|_| Err(SourceError::Unreachable("no answer in time".into())))
    }
}

#[async_trait]
impl Source for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    async fn read(&self, name: &SecretName) -> Result<Option<Found>, SourceError> {
        let path = format!("{}/data/{}", self.settings.mount, name.path());
        let mut token = self.token(None).await?;
        let mut answer = self.ask(Method::GET, &path, Some(&token), None).await?;
        if answer.0 == StatusCode::FORBIDDEN {
            // The token may have been revoked.
            token = self.token(Some(&token)).await?;
            answer = self.ask(Method::GET, &path, Some(&token), None).await?;
        }
        let (status, answer) = answer;
        match status {
            StatusCode::OK => found(&answer, name.key().unwrap_or(DEFAULT_KEY)),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::FORBIDDEN => Err(SourceError::Forbidden),
            StatusCode::SERVICE_UNAVAILABLE => Err(SourceError::Sealed),
            other => Err(SourceError::Status(other.as_u16())),
        }
    }
}

fn lease(answer: &Value) -> Duration {
    let seconds = answer.pointer("/auth/lease_duration");
    Duration::from_secs(seconds.and_then(Value::as_u64).unwrap_or_default())
}

/// After two thirds of a login's time.
fn renew_at(now: Duration, lease: Duration) -> Duration {
    let lease = if lease.is_zero() { ENDLESS } else { lease };
    now.saturating_add(lease / 3 * 2)
}

fn found(answer: &Value, key: &str) -> Result<Option<Found>, SourceError> {
    let data = answer.pointer("/data/data").and_then(Value::as_object);
    let value = match data.ok_or(SourceError::Answer)?.get(key) {
        None => return Ok(None),
        Some(Value::String(text)) => SecretString::from(text.as_str()),
        Some(Value::Number(number)) => SecretString::from(number.to_string()),
        Some(_) => return Err(SourceError::Value),
    };
    let size = value.expose_secret().len();
    if size == 0 || size > LARGEST {
        return Err(SourceError::Value);
    }
    let version = answer.pointer("/data/metadata/version");
    let created = answer.pointer("/data/metadata/created_time");
    let created = created
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let changed = created.and_then(|time| u64::try_from(time.as_second()).ok());
    Ok(Some(Found {
        value,
        version: version
            .and_then(Value::as_u64)
            .map(|number| number.to_string()),
        changed: changed.map(Duration::from_secs),
    }))
}
