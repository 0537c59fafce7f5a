//! HTTP: where messages go, and the headers that go with them.

use std::{fmt, path::PathBuf};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use mcp_ultra_edge::outbound::{Outbound, OutboundConfig};
use mcp_ultra_protocol::{ByteString, Method, headers, json::Object, param_headers::ParamHeader};
use url::Url;

use super::{ClientError, Reply};

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("mcp-ultra/", env!("CARGO_PKG_VERSION")));

/// The URL of an MCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
    uri: Uri,
}

impl Target {
    /// Checks `text`: http or https, with a host, without credentials.
    pub(crate) fn parse(text: &str) -> Result<Self, ClientError> {
        let fail = |reason: String| {
            // Credentials in a URL must not be repeated in an error.
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            Err(ClientError::Target {
                target: shown.chars().take(200).collect(),
                reason,
            })
        };
        let mut url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return fail(error.to_string()),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return fail(format!("the scheme is {}, not http or https", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fail("it holds credentials, which would end up in logs".to_owned());
        }
        url.set_fragment(None);
        match url.as_str().parse() {
            Ok(uri) => Ok(Self { url, uri }),
            Err(error) => fail(format!("{error}")),
        }
    }

    fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Another path of the same origin.
    fn sibling(&self, path: &str) -> Uri {
        self.sibling_with(path, None)
    }

    fn sibling_with(&self, path: &str, query: Option<&str>) -> Uri {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query(query);
        // A URL that parsed once does so with another path as well.
        url.as_str().parse().unwrap_or_default()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// A pooled HTTP client for one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    http: Outbound,
    target: Target,
    token: Option<HeaderValue>,
}

impl Transport {
    /// A client for `target`. Nothing is connected yet.
    ///
    /// An https server is checked against Mozilla's roots, and against the authorities in the
    /// file that `SSL_CERT_FILE` names, as with other command-line clients.
    pub(crate) fn new(target: Target) -> Result<Self, ClientError> {
        let authorities = std::env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty());
        let config = OutboundConfig {
            extra_ca_file: authorities.filter(|_| target.is_https()).map(PathBuf::from),
            ..OutboundConfig::default()
        };
        let http = Outbound::new(&config).map_err(ClientError::Authorities)?;
        Ok(Self {
            http,
            target,
            token: None,
        })
    }

    /// The same client, which sends this as `Authorization` with every request.
    pub(crate) fn with_token(self, token: Option<HeaderValue>) -> Self {
        Self { token, ..self }
    }

    /// The endpoint.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends one message, or a legacy batch.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: ByteString,
    ) -> Result<Reply, ClientError> {
        let mut request = Request::new(Full::new(body.into_bytes()));
        *request.method_mut() = HttpMethod::POST;
        *request.headers_mut() = headers;
        request.headers_mut().insert(ACCEPT, BOTH);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        self.send(request, self.target.uri.clone()).await
    }

    /// Opens the legacy stream from server to client.
    pub(crate) async fn get_stream(&self, headers: HeaderMap) -> Result<Reply, ClientError> {
        let mut request = Request::new(Full::default());
        *request.headers_mut() = headers;
        request.headers_mut().insert(ACCEPT, STREAM);
        self.send(request, self.target.uri.clone()).await
    }

    /// Ends a legacy session.
    pub(crate) async fn delete(&self, headers: HeaderMap) -> Result<Reply, ClientError> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = HttpMethod::DELETE;
        *request.headers_mut() = headers;
        self.send(request, self.target.uri.clone()).await
    }

    /// Asks for another path of the same origin, with a query where there is one.
    pub(crate) async fn ask(
        &self,
        method: HttpMethod,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let (path, query) = path_and_query
            .split_once('?')
            .map_or((path_and_query, None), |(path, query)| (path, Some(query)));
        self.send(request, self.target.sibling_with(path, query))
            .await
    }

    /// Reads another path of the same origin.
    pub(crate) async fn get_path(&self, path: &str) -> Result<Reply, ClientError> {
        let request = Request::new(Full::default());
        self.send(request, self.target.sibling(path)).await
    }

    async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        uri: Uri,
    ) -> Result<Reply, ClientError> {
        *request.uri_mut() = uri;
        request.headers_mut().insert(USER_AGENT, AGENT);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        match self.http.request(request).await {
            Ok(response) => Ok(Reply::new(response, self.target.to_string())),
            // Nothing was sent: whoever is patient may try again.
            Err(source) if source.retry_is_safe() => Err(ClientError::Connect {
                target: self.target.to_string(),
                source,
            }),
            Err(error) => Err(ClientError::Broken {
                target: self.target.to_string(),
                source: error.into(),
            }),
        }
    }
}

/// `MCP-Protocol-Version`, where `version` can stand in a header.
pub(crate) fn version_header(version: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(version) {
        map.insert(headers::PROTOCOL_VERSION, value);
    }
    map
}

/// The headers that a modern request mirrors from its body
/// (2026-07-28, Streamable HTTP, Request Metadata).
pub(crate) fn modern_headers(
    version: &str,
    method: &str,
    params: Option<&str>,
    mirrored: &[ParamHeader],
) -> HeaderMap {
    let mut map = version_header(version);
    let mut insert = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(&headers::encode(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.insert(name, value);
        }
    };
    insert(headers::METHOD, method);
    let Some(object) = params.and_then(|params| Object::parse(params).ok()) else {
        return map;
    };
    let name_key = Method::parse(method).and_then(Method::name_key);
    if let Some(name) = name_key.and_then(|key| object.get_str(key)) {
        insert(headers::NAME, &name);
    }
    let arguments = object.get("arguments").unwrap_or("{}");
    for param in mirrored {
        if let Some(value) = param.value(arguments)
            && let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(param.header.as_bytes()),
                HeaderValue::from_str(&value),
            )
        {
            map.insert(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_http_without_credentials() {
        let target = Target::parse("http://127.0.0.1:8080/mcp#x").unwrap();
        assert_eq!(target.to_string(), "http://127.0.0.1:8080/mcp");
        assert_eq!(target.sibling("/livez"), "http://127.0.0.1:8080/livez");
        for text in [
            "",
            "mcp",
            "ftp://a/b",
            "http://",
            "http://ana:senha@host/mcp",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(!error.contains("senha"), "{error}");
        }
    }

    #[test]
    fn headers_mirror_the_body() {
        let params = r#"{"name":"olá","arguments":{"region":"São Paulo","dry":true}}"#;
        let mirrored = mcp_ultra_protocol::param_headers::of_schema(
            r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"},"dry":{"type":"boolean","x-mcp-header":"Dry"}}}"#,
        )
        .unwrap();
        let map = modern_headers("2026-07-28", "tools/call", Some(params), &mirrored);
        assert_eq!(map["mcp-protocol-version"], "2026-07-28");
        assert_eq!(map["mcp-method"], "tools/call");
        assert_eq!(map["mcp-name"], "=?base64?b2zDoQ==?=");
        assert_eq!(map["mcp-param-region"], "=?base64?U8OjbyBQYXVsbw==?=");
        assert_eq!(map["mcp-param-dry"], "true");
    }
}
