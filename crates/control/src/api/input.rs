use axum::{
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{BytesRejection, JsonRejection},
    },
    http::{HeaderMap, request::Parts},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use utoipa::IntoParams;

use super::problem::{Kind, Problem};
use crate::pins::tool_of;

/// A JSON body.
#[derive(Debug)]
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = axum::Json::<T>::from_request(request, state).await;
        read.map(|axum::Json(value)| Self(value))
            .map_err(|rejection| match rejection {
                JsonRejection::MissingJsonContentType(_) => Problem::new(
                    Kind::MEDIA_TYPE,
                    "send the body as Content-Type: application/json",
                ),
                JsonRejection::BytesRejection(BytesRejection::FailedToBufferBody(failed))
                    if failed.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE =>
                {
                    Problem::new(Kind::TOO_LARGE, "a body may have 64 KiB")
                }
                // Says which field and why; the value itself may be anything, but it is theirs.
                other => Problem::new(Kind::INVALID, other.body_text()),
            })
    }
}

/// A field that may be left out, and be null (RFC 7396).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Field<T> {
    #[default]
    Missing,
    Null,
    Value(T),
}

impl<T: Default> Field<T> {
    /// What it is to become: null is the empty value.
    pub(super) fn or_empty(self) -> Option<T> {
        match self {
            Self::Missing => None,
            Self::Null => Some(T::default()),
            Self::Value(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// For the digest of a request, where the three are to be told apart.
impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Missing => serializer.serialize_bool(false),
            Self::Null => serializer.serialize_none(),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

/// Parameters of the query.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|rejection| Problem::new(Kind::INVALID, rejection.body_text()))
    }
}

/// The identifier in the path.
#[derive(Debug, IntoParams)]
#[into_params(names("id"), parameter_in = Path)]
pub(super) struct Identifier(
    /// Its identifier
    pub(super) String,
);

impl<S: Send + Sync> FromRequestParts<S> for Identifier {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        read.map(|Path(id)| Self(id))
            .map_err(|rejection| Problem::invalid("id", rejection.body_text()))
    }
}

/// The tool in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ToolName {
    /// The server's name in the configuration
    pub(super) server: String,
    /// The server's own name of the tool, or `~` and its base64url, as in `href`
    pub(super) tool: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ToolName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((server, tool)) =
            read.map_err(|rejection| Problem::invalid("tool", rejection.body_text()))?;
        let tool = tool_of(&tool).ok_or_else(|| {
            Problem::invalid(
                "tool",
                "after `~` stands the base64url of a name, as in `href`",
            )
        })?;
        Ok(Self { server, tool })
    }
}

/// Which tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfTenant {
    /// The tenant, where it is not the caller's own.
    pub(super) tenant: Option<String>,
}

/// Whether to do it, to what is of no tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DryRun {
    /// Answers as if it were done, and does nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Which tenant, and whether to do it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Change {
    /// The tenant, where it is not the caller's own.
    pub(super) tenant: Option<String>,
    /// Answers as if it were done, and does nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// The value of a header that may be there once.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value.trim())),
        _ => Err(Problem::invalid(name, "send this header once, in ASCII")),
    }
}
