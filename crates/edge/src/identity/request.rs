use http::{HeaderMap, Method};
use mcp_ultra_domain::Principal;

use super::{Identity, Refused, Scheme, presented};
use crate::{credentials::CallerToken, tls::PeerCertificate};

/// What of a request says who sends it.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'r> {
    /// Its method, which a proof must name.
    pub method: &'r Method,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// The certificate that the client has shown on its connection.
    pub certificate: Option<&'r PeerCertificate>,
    /// The URL that a proof must name (RFC 9449, 4.2: `htu`), as clients know it; without one, that
    /// of the resource.
    pub url: Option<&'r str>,
    /// Whether the access token is wanted too, to be exchanged for another one.
    pub keep_token: bool,
}

/// Whom a request identifies.
#[derive(Debug, Clone)]
pub struct Identified {
    /// Who it is.
    pub principal: Principal,
    /// The access token that they have shown, where it is wanted.
    pub token: Option<CallerToken>,
}

impl Identity {
    /// Who sends a request: by its token, with what that is bound to, else by the certificate of
    /// its connection. A token says more than the connection that it comes over, so it decides
    /// where both are.
    ///
    /// # Errors
    /// [`Refused`], of which a client must not be told more than its [challenge](super::Challenges).
    pub async fn identify_request(&self, request: Credentials<'_>) -> Result<Identified, Refused> {
        let mut shown = None;
        let mut is_token = false;
        let principal = match presented(request.headers) {
            Ok((scheme, token)) => {
                let believed = match self.recall(token) {
                    Some(known) => known?,
                    // Rare, and larger than all the rest.
                    None => Box::pin(self.believe(token)).await?,
                };
                is_token = !believed.is_api_key;
                if request.keep_token {
                    shown = believed.access_token(token);
                }
                match scheme {
                    Scheme::Bearer => self.bearer(believed, request.certificate)?,
                    Scheme::Dpop => Box::pin(self.prove(believed, request)).await?,
                }
            }
            Err(Refused::Missing) => match request.certificate {
                Some(shown) => self.identify_certificate(shown)?,
                None => return Err(Refused::Missing),
            },
            Err(why) => return Err(why),
        };
        self.admit(&principal)?;
        // Last: who is told to log in again gets in by it.
        if is_token {
            self.admit_login(&principal)?;
        }
        Ok(Identified {
            principal,
            token: shown,
        })
    }
}
