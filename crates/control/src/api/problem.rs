use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{Content, Ref, RefOr, response},
};

use mcp_ultra_domain::ports::{BlockStoreError, PinStoreError};

use crate::{
    grants::{GrantError, LinkError},
    keys::KeyError,
    pins::PinError,
    registry::RegistryError,
};

/// What went wrong.
#[derive(Debug)]
pub(super) struct Problem(Box<Document>);

/// What went wrong (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document {
    /// What kind of problem it is: a URN that does not change.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened here, and what to do about it.
    detail: String,
    /// The field of the request that is wrong, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip)]
    challenges: Vec<HeaderValue>,
}

/// A kind of problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $status:ident, $name:literal, $title:literal;)*) => {
        impl Kind {
            $(pub(super) const $constant: Self = Self {
                status: StatusCode::$status,
                name: $name,
                title: $title,
            };)*
        }
    };
}

kinds! {
    INVALID = BAD_REQUEST, "invalid", "The request is not valid";
    UNAUTHENTICATED = UNAUTHORIZED, "unauthenticated", "Nobody was identified";
    FORBIDDEN = FORBIDDEN, "forbidden", "This is not permitted";
    NOT_FOUND = NOT_FOUND, "not-found", "There is no such thing";
    METHOD = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not served here";
    CONFLICT = CONFLICT, "conflict", "The state does not allow it";
    CHANGED = PRECONDITION_FAILED, "changed", "It has been changed meanwhile";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is not JSON";
    UNPROCESSABLE = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key was used for something else";
    PRECONDITION = PRECONDITION_REQUIRED, "if-match-required", "A change needs If-Match";
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "It can't be done at the moment";
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:mcp-ultra:problem:{}", kind.name),
            title: kind.title,
            status: kind.status.as_u16(),
            detail: detail.into(),
            field: None,
            challenges: Vec::new(),
        }))
    }

    pub(super) fn invalid(field: &str, why: impl Into<String>) -> Self {
        let mut problem = Self::new(Kind::INVALID, why);
        problem.0.field = Some(field.to_owned());
        problem
    }

    pub(super) fn with_challenges<'c>(
        mut self,
        challenges: impl Iterator<Item = &'c HeaderValue>,
    ) -> Self {
        self.0.challenges = challenges.cloned().collect();
        self
    }

    /// Why something can't be kept or read; what the store said is for the log.
    pub(super) fn store(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "the admin API can't reach its store");
        Self::new(
            Kind::UNAVAILABLE,
            "the store can't be reached; nothing was changed; try again",
        )
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::Invalid(invalid) => return Self::invalid(invalid.field, invalid.why),
            KeyError::NotFound => Kind::NOT_FOUND,
            KeyError::Ended | KeyError::NameTaken => Kind::CONFLICT,
            KeyError::Changed => Kind::CHANGED,
            KeyError::Store(why) => return Self::store(&why),
            KeyError::Randomness(_) => Kind::UNAVAILABLE,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        let kind = match &error {
            GrantError::Unknown(_) => Kind::NOT_FOUND,
            GrantError::Changed => Kind::CHANGED,
            GrantError::Store(why) => return Self::store(why),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        let kind = match &error {
            LinkError::Server(_) => Kind::NOT_FOUND,
            LinkError::Person(_) => Kind::INVALID,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BlockStoreError> for Problem {
    fn from(error: BlockStoreError) -> Self {
        Self::store(&error.to_string())
    }
}

impl From<PinError> for Problem {
    fn from(error: PinError) -> Self {
        let kind = match &error {
            PinError::Locked | PinError::Offered => Kind::CONFLICT,
            PinError::Store(PinStoreError::NotFound) => Kind::NOT_FOUND,
            PinError::Store(PinStoreError::Changed) => Kind::CHANGED,
            PinError::Store(PinStoreError::Failed(why)) => return Self::store(why),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::Off | RegistryError::InFile(_) | RegistryError::ShutsOut => {
                Kind::CONFLICT
            }
            RegistryError::NotFound => Kind::NOT_FOUND,
            RegistryError::Name(why) => return Self::invalid("id", *why),
            RegistryError::TooMuch(why) | RegistryError::Refused(why) => {
                return Self::invalid("text", why);
            }
            RegistryError::Busy => Kind::UNAVAILABLE,
            RegistryError::Store(why) => return Self::store(why),
        };
        Self::new(kind, error.to_string())
    }
}

/// Any endpoint may answer with one.
impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let content = Content::new(Some(Ref::from_schema_name(Document::name())));
        let response = response::ResponseBuilder::new()
            .description("A problem")
            .content("application/problem+json", content);
        BTreeMap::from([("default".to_owned(), response.build().into())])
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(document) = self;
        let status =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_string(&document).unwrap_or_default();
        let mut response = (status, text).into_response();
        let map = response.headers_mut();
        map.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for challenge in document.challenges {
            map.append(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            map.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    Problem::new(
        Kind::NOT_FOUND,
        format!(
            "nothing is served at {}; see /api/v1/openapi.json",
            uri.path()
        ),
    )
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(Kind::METHOD, "see /api/v1/openapi.json for what is served")
}
