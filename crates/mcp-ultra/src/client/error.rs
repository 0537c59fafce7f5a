//! What can go wrong between this client and a server.

use mcp_ultra_edge::outbound::{OutboundConfigError, OutboundError};
use mcp_ultra_protocol::{Version, json::Object};
use miette::Diagnostic;

/// Why a server could not be spoken to, or what it refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ClientError {
    /// The URL can't be an MCP endpoint.
    #[error("\"{target}\" is not the URL of an MCP endpoint: {reason}")]
    #[diagnostic(help("give a URL such as http://127.0.0.1:8080/mcp"))]
    Target {
        /// The URL as it was given, without credentials.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The authorities to check a server with can't be used.
    #[error("the certificate authorities of SSL_CERT_FILE can't be used")]
    #[diagnostic(help("name a PEM file with certificates in it, or unset SSL_CERT_FILE"))]
    Authorities(#[source] OutboundConfigError),
    /// No connection.
    #[error("no connection to {target}")]
    #[diagnostic(help(
        "is the gateway running there? Start it with `mcp-ultra serve`, or name another with --target"
    ))]
    Connect {
        /// The endpoint.
        target: String,
        #[source]
        /// What stood in the way.
        source: OutboundError,
    },
    /// The connection broke.
    #[error("the connection to {target} broke before the answer was complete")]
    #[diagnostic(help("try again; if it happens each time, look into the server's log"))]
    Broken {
        /// The endpoint.
        target: String,
        #[source]
        /// What hyper says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An HTTP status that says no, without an MCP message.
    #[error("{target} answered HTTP {status}{}", shown(.body))]
    #[diagnostic(help("{}", status_help(*.status)))]
    Status {
        /// The endpoint.
        target: String,
        /// The status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The answer is not MCP.
    #[error("{target} did not answer as an MCP server: {reason}")]
    #[diagnostic(help(
        "check the path of the URL: the gateway's endpoint is /mcp; the HTTP+SSE transport of 2024-11-05 is not supported"
    ))]
    NotMcp {
        /// The endpoint.
        target: String,
        /// What came instead.
        reason: String,
    },
    /// No revision in common.
    #[error("{target} speaks none of the protocol revisions that this client speaks (it has: {})", .offered.join(", "))]
    #[diagnostic(help("this client speaks {}", spoken()))]
    Version {
        /// The endpoint.
        target: String,
        /// What the server offers.
        offered: Vec<String>,
    },
    /// A JSON-RPC error.
    #[error("{method}: the server answered with error {}: {}", .error.code, .error.message)]
    Rpc {
        /// What was asked.
        method: String,
        /// What was answered.
        #[diagnostic(transparent)]
        error: RpcError,
    },
    /// The server wants to know something before it goes on.
    #[error("{method}: the server needs input that this command can't give: {}", .wanted.join("; "))]
    #[diagnostic(help("call it from an MCP client with a user in front of it"))]
    InputRequired {
        /// What was asked.
        method: String,
        /// What the server wants, in short.
        wanted: Vec<String>,
    },
    /// Nothing came in time.
    #[error("{method}: no answer within {seconds} s")]
    #[diagnostic(help("give it longer with --timeout, or look into the server's log"))]
    Timeout {
        /// What was asked.
        method: String,
        /// The time-out.
        seconds: f64,
    },
}

/// A JSON-RPC error object, as far as a person reads it.
#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
#[error("error {code}: {message}")]
pub(crate) struct RpcError {
    /// The code.
    pub(crate) code: i64,
    /// The message.
    pub(crate) message: String,
    /// The JSON text of `data`.
    pub(crate) data: Option<String>,
}

impl RpcError {
    /// Reads the text of an error object. What is missing is said to be missing.
    pub(crate) fn parse(text: &str) -> Self {
        let object = Object::parse(text).ok();
        let get = |key| object.as_ref().and_then(|object| object.get(key));
        Self {
            code: get("code").and_then(|raw| raw.parse().ok()).unwrap_or(0),
            message: get("message")
                .and_then(mcp_ultra_protocol::json::as_str)
                .map_or_else(|| "(no message)".to_owned(), std::borrow::Cow::into_owned),
            data: get("data").map(str::to_owned),
        }
    }
}

fn shown(body: &str) -> String {
    if body.is_empty() {
        String::new()
    } else {
        format!(": {body}")
    }
}

fn status_help(status: u16) -> &'static str {
    match status {
        401 => {
            "the server wants an access token that it accepts: put one into MCP_ULTRA_TOKEN, or name another variable with --token-env"
        }
        403 => "the access token may not do this, or the server refuses this Host or Origin",
        404 | 405 => "check the path of the URL: the gateway's endpoint is /mcp",
        429 => "too many requests: wait and try again",
        500.. => "the fault is the server's: look into its log",
        _ => "check that the URL is that of an MCP endpoint",
    }
}

fn spoken() -> String {
    Version::ALL.map(Version::as_str).join(", ")
}
