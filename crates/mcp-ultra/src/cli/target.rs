//! `--target` and `--token-env`: the server that a command speaks to, and what it shows there.

use std::env;

use http::HeaderValue;
use miette::Diagnostic;

use crate::{
    cli::exit::Failure,
    client::{Target, Transport},
};

/// Where a gateway listens that was started without configuration.
pub(crate) const DEFAULT_TARGET: &str = "http://127.0.0.1:8080/mcp";

/// The variable that an access token is taken from, where no other is named.
const TOKEN_VARIABLE: &str = "MCP_ULTRA_TOKEN";

/// The option alone, for commands that only name a server.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// MCP endpoint to speak to
    #[arg(long, value_name = "URL", env = "MCP_ULTRA_TARGET", default_value = DEFAULT_TARGET)]
    pub(crate) target: String,
}

impl TargetArgs {
    /// The endpoint, checked.
    pub(crate) fn parse(&self) -> Result<Target, Failure> {
        Target::parse(&self.target).map_err(Failure::usage)
    }
}

/// The options of commands that speak to a running server.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Environment variable that holds the access token to send [default: `MCP_ULTRA_TOKEN`, if set]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
}

/// There is no token where one should be. The variable is named, its content never.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the environment variable {0} {1}")]
#[diagnostic(help("set it to an access token for the server, without `Bearer`"))]
struct NoToken(String, &'static str);

impl ServerArgs {
    /// The HTTP client for the endpoint, which sends the access token of the environment.
    pub(crate) fn transport(&self) -> Result<Transport, Failure> {
        let target = self.target.parse()?;
        let token = self.token().map_err(Failure::usage)?;
        let transport = Transport::new(target).map_err(Failure::failed)?;
        Ok(transport.with_token(token))
    }

    fn token(&self) -> Result<Option<HeaderValue>, NoToken> {
        token(self.token_env.as_deref())
    }
}

/// The HTTP client for another server than `--target`.
pub(crate) fn transport(url: &str, token_env: Option<&str>) -> Result<Transport, Failure> {
    let target = Target::parse(url).map_err(Failure::usage)?;
    let token = token(token_env).map_err(Failure::usage)?;
    let transport = Transport::new(target).map_err(Failure::failed)?;
    Ok(transport.with_token(token))
}

/// The content of the variable that was named, or of the usual one where it is set.
fn token(named: Option<&str>) -> Result<Option<HeaderValue>, NoToken> {
    let name = named.unwrap_or(TOKEN_VARIABLE);
    let no = |why| NoToken(name.to_owned(), why);
    let Some(token) = env::var_os(name).filter(|token| !token.is_empty()) else {
        return match named {
            Some(_) => Err(no("is not set")),
            None => Ok(None),
        };
    };
    let token = token.to_str().map(str::trim).unwrap_or_default();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(fine) {
        return Err(no("holds something that is no access token"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| no("holds something that is no access token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
