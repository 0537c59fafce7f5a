//! Credentials towards upstreams: access tokens that the gateway gets from the operator's
//! authorization servers (RFC 6749; RFC 8693; RFC 8707), and keeps for as long as they are good.
//!
//! - `settings`: everything that is configured
//! - `subject`: in whose name an upstream is spoken to
//! - `endpoint`: requests to a token endpoint
//! - `answer`: what it answers, good or bad
//! - `token`: an access token and how long it is used
//! - `cache`: tokens by whom they are for; one request for all who wait, a new token before the old
//!   one ends
//! - `gate`: no hurry where it fails
//! - `code`: the authorization code flow with PKCE, for grants of people
//! - `described`: what its metadata says, kept for a while
//! - `granted`: where what people have granted is kept
//! - `life`: what goes on with a grant ends with it
//! - `grants`: which request is made for whom
//! - `error`: why there is no token
//!
//! The way in is [`Credentials::token`]. Another kind of grant is one more [`Grant`] and its arm in
//! `grants`: endpoint and cache know nothing of kinds.
//!
//! What a caller has authenticated with at the gateway is sent to no upstream: with token exchange
//! it goes to the operator's authorization server, and nowhere else.

mod answer;
mod cache;
mod code;
mod described;
mod endpoint;
mod error;
mod gate;
mod granted;
mod grants;
mod lent;
mod life;
mod settings;
mod subject;
mod token;

pub use answer::TokenAnswer;
pub use cache::TokenCache;
pub use code::{AuthorizationRequest, AuthorizationServer, Verifier};
pub use endpoint::{TokenEndpoint, TokenError};
pub use error::{CredentialError, Fetched};
pub use gate::Failure;
pub use granted::{Asking, Granted};
pub use grants::Credentials;
pub use life::{GrantLife, WeakGrantLife};
pub use settings::{ClientAuth, ClientSettings, CredentialSettings, EndpointPlace, Grant, Lenders};
pub use subject::{CallerToken, LatestSubject, Subject};
pub use token::AccessToken;
