//! The authorization code grant (OAuth 2.1, 4.1) with PKCE (RFC 7636), resource indicators (RFC
//! 8707), refresh (OAuth 2.1, 4.3) and revocation (RFC 7009).

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{EndpointPlace, TokenAnswer, TokenEndpoint, TokenError, described::Need};
use crate::{
    identity::NoRandomness,
    issuer::discovery::{self, DiscoveryError},
};

/// What an authorization server says of itself.
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    endpoint: Url,
    revocation: Option<Uri>,
    /// Whether every answer to the browser says whose it is (RFC 9207, 3).
    pub says_issuer: bool,
    /// Whether it calls everyone by another name towards each client (`OpenID` Connect Core, 8.1),
    /// so that nobody can be compared with whom another client knows.
    pub is_pairwise: bool,
    proves_codes: bool,
}

/// What a person is asked for.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// Where the answer goes.
    pub redirect_uri: &'a str,
    /// What comes back with the answer.
    pub state: &'a str,
    /// The challenge of the [`Verifier`].
    pub challenge: &'a str,
    /// Separated by spaces; empty where the server decides.
    pub scopes: &'a str,
    /// Empty where none is named.
    pub resource: &'a str,
    /// What is repeated in the identity token, where one is asked for.
    pub nonce: Option<&'a str>,
}

/// What proves that whoever redeems a code has asked for it (RFC 7636, 4.1).
#[derive(Debug, Clone)]
pub struct Verifier(SecretString);

impl Verifier {
    /// A new one, of 256 random bits.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn new() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// One that was kept.
    pub fn kept(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text, for keeping and for the token endpoint.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// `code_challenge` of the method S256.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.expose().as_bytes()))
    }
}

impl AuthorizationServer {
    /// Whether it knows PKCE with S256 (RFC 7636).
    pub(super) fn proves_codes(&self) -> bool {
        self.proves_codes
    }

    /// Where a browser is sent with `request`, in the name of the client `client_id`.
    pub fn url(&self, client_id: &str, request: &AuthorizationRequest<'_>) -> String {
        let mut url = self.endpoint.clone();
        {
            let mut pairs = url.query_pairs_mut();
            pairs
                .append_pair("response_type", "code")
                .append_pair("client_id", client_id)
                .append_pair("redirect_uri", request.redirect_uri)
                .append_pair("state", request.state)
                .append_pair("code_challenge", request.challenge)
                .append_pair("code_challenge_method", "S256");
            let more = [
                ("scope", request.scopes),
                ("resource", request.resource),
                ("nonce", request.nonce.unwrap_or_default()),
            ];
            for (name, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
                pairs.append_pair(name, value);
            }
        }
        url.into()
    }
}

impl TokenEndpoint {
    /// What the client is called.
    pub fn client_id(&self) -> &str {
        &self.settings.id
    }

    /// The authorization server; `None` where only its token endpoint is known.
    pub fn issuer(&self) -> Option<&str> {
        match &self.settings.place {
            EndpointPlace::Issuer(issuer) => Some(issuer),
            EndpointPlace::Given(_) => None,
        }
    }

    /// What the authorization server says of itself, as it said it not long ago. One that does not offer PKCE is of no
    /// use (MCP, Authorization Code Protection).
    ///
    /// # Errors
    /// [`TokenError::Discovery`] and [`TokenError::Timeout`].
    pub async fn server(&self) -> Result<AuthorizationServer, TokenError> {
        let server = self.described.get(self, Need::Pkce).await?;
        if server.proves_codes() {
            return Ok(server);
        }
        Err(TokenError::Discovery(
            "its metadata does not offer PKCE with S256 (code_challenge_methods_supported), without which codes could be stolen".into(),
        ))
    }

    /// The same of an issuer where people log in. `OpenID` Connect Discovery does not know what is
    /// said of PKCE, and with a nonce in the identity token a code that was put in is found anyway.
    ///
    /// # Errors
    /// As of [`TokenEndpoint::server`].
    pub async fn server_of_login(&self) -> Result<AuthorizationServer, TokenError> {
        self.described.get(self, Need::Anything).await
    }

    /// Asks the authorization server what it says of itself.
    pub(super) async fn discover(&self) -> Result<AuthorizationServer, TokenError> {
        let issuer = self.issuer().ok_or(DiscoveryError::Url)?;
        let wanted = |metadata: discovery::Metadata| {
            let endpoint = Url::parse(&metadata.authorization_endpoint?.to_string()).ok()?;
            Some(AuthorizationServer {
                endpoint,
                revocation: metadata.revocation_endpoint,
                says_issuer: metadata.says_issuer,
                is_pairwise: metadata.is_pairwise,
                proves_codes: metadata.proves_codes,
            })
        };
        let found = discovery::find(&self.fetcher, issuer, "authorization_endpoint", wanted);
        Ok(found.await?)
    }

    /// Redeems a code (OAuth 2.1, 4.1.3).
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn redeem(
        &self,
        code: &str,
        verifier: &Verifier,
        redirect_uri: &str,
        resource: &str,
    ) -> Result<TokenAnswer, TokenError> {
        self.request(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier.expose()),
            ("redirect_uri", redirect_uri),
            ("resource", resource),
        ])
        .await
    }

    /// Gets another access token for a refresh token (OAuth 2.1, 4.3).
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn refresh(
        &self,
        token: &SecretString,
        resource: &str,
    ) -> Result<TokenAnswer, TokenError> {
        self.request(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose_secret()),
            ("resource", resource),
        ])
        .await
    }

    /// Ends a refresh or access token (RFC 7009), where the authorization server offers that; says
    /// whether it does.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn revoke(&self, token: &SecretString, hint: &str) -> Result<bool, TokenError> {
        let patience = self.settings.timeout;
        let revoking = tokio::time::timeout(patience, self.end(token, hint));
        revoking.await.unwrap_or(Err(TokenError::Timeout(patience)))
    }

    async fn end(&self, token: &SecretString, hint: &str) -> Result<bool, TokenError> {
        let Some(issuer) = self.issuer() else {
            return Ok(false);
        };
        let server = self.described.get(self, Need::Anything).await?;
        let Some(uri) = server.revocation else {
            return Ok(false);
        };
        let origin: Uri = issuer.parse().map_err(|_| DiscoveryError::Url)?;
        let parameters = [("token", token.expose_secret()), ("token_type_hint", hint)];
        let request = self.message(&uri, &parameters);
        let (status, _) = self.fetcher.send(request, Some(&origin)).await?;
        if status == StatusCode::OK {
            Ok(true)
        } else {
            Err(TokenError::Status(status))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_specification() {
        // RFC 7636, appendix B.
        let verifier = Verifier::kept("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); // not a secret
        assert_eq!(
            verifier.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // not a secret
        );
        let (one, other) = (Verifier::new().unwrap(), Verifier::new().unwrap());
        assert_eq!(one.expose().len(), 43);
        assert_ne!(one.expose(), other.expose());
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn a_request_keeps_what_the_endpoint_has_and_is_encoded() {
        let server = AuthorizationServer {
            endpoint: Url::parse("https://as.example.com/authorize?tenant=a").unwrap(),
            revocation: None,
            says_issuer: false,
            is_pairwise: false,
            proves_codes: true,
        };
        let request = AuthorizationRequest {
            redirect_uri: "https://mcp.example.com/connect/callback",
            state: "s&t",
            challenge: "c",
            scopes: "read write",
            resource: "",
            nonce: None,
        };
        let url = server.url("me", &request);
        assert_eq!(
            url,
            "https://as.example.com/authorize?tenant=a&response_type=code&client_id=me\
             &redirect_uri=https%3A%2F%2Fmcp.example.com%2Fconnect%2Fcallback&state=s%26t\
             &code_challenge=c&code_challenge_method=S256&scope=read+write"
        );
    }
}
