//! What a legacy client has open here.
//!
//! What was negotiated travels in the sealed session id ([`token`]); what changes lives in the
//! [`mcp_ultra_domain::ports::SessionStore`]; what only makes sense where the client's streams
//! are (calls in flight, questions that wait for the client) lives in [`Live`]. Streams of modern callers are
//! known in [`OpenStreams`], so that an administrator can end them (`administer`).

mod administer;
mod elsewhere;
mod held;
mod live;
mod registry;
mod streams;
mod token;

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use mcp_ultra_protocol::{Version, WireError, headers};

pub use administer::ClientSession;
pub(crate) use elsewhere::follow;
pub(crate) use live::{Asked, Live};
pub(crate) use registry::Registry;
pub(crate) use streams::{OpenStream, OpenStreams};
pub(crate) use token::{Negotiated, VALID_FOR};

use self::registry::NotEntered;
use crate::{Gateway, http::Identified, pipeline::Refusal};

/// The session that the headers name.
pub(crate) async fn of_headers(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    identified: &Identified,
) -> Result<Arc<Live>, Refusal> {
    let refuse =
        |error: WireError, status: StatusCode| Refusal::with_status(error, status.as_u16());
    let Some(value) = headers.get(headers::SESSION_ID) else {
        let error = WireError::invalid_request(format!(
            "Mcp-Session-Id is missing: open a session with initialize first, or speak revision {}",
            Version::LATEST
        ));
        return Err(refuse(error, StatusCode::BAD_REQUEST));
    };
    if let Some(version) = headers.get(headers::PROTOCOL_VERSION)
        && version
            .to_str()
            .ok()
            .and_then(|name| Version::parse(name.trim()))
            .is_none()
    {
        let shown = String::from_utf8_lossy(version.as_bytes()).into_owned();
        return Err(refuse(
            WireError::unsupported_version(&shown),
            StatusCode::BAD_REQUEST,
        ));
    }
    let gone = || {
        let error = WireError::new(
            -32001,
            "Session not found: it has ended or is not of here; send initialize again",
        );
        refuse(error, StatusCode::NOT_FOUND)
    };
    let token = value.to_str().map_err(|_| gone())?;
    let negotiated = token::open(gateway, token, &identified.principal).ok_or_else(gone)?;
    let entered = gateway
        .sessions
        .enter(gateway, negotiated, identified)
        .await;
    entered.map_err(|reason| match reason {
        NotEntered::Ended => gone(),
        NotEntered::Full(full) => {
            let (error, status) = full.error();
            refuse(error, status)
        }
    })
}
