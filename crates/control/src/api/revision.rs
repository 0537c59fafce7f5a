use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::IntoParams;

use super::{
    input,
    problem::{Kind, Problem},
};

/// The `ETag` of something, for `If-Match`: what a change may be meant for is the same under one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// That of a revision.
    pub(super) fn of(revision: u64) -> Self {
        Self(format!("\"r{revision}\""))
    }

    /// That of something that has no revision, in its quotes.
    pub(super) fn quoted(tag: String) -> Self {
        Self(tag)
    }

    fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// One thing as it is answered with: its view, under its `ETag`.
#[derive(Debug)]
pub(super) struct Shown<V> {
    tag: Tag,
    view: V,
}

impl<V: Serialize> Shown<V> {
    pub(super) fn new(tag: Tag, view: V) -> Self {
        Self { tag, view }
    }

    /// The `ETag` alone where the client has it already. Not for what changes without its tag.
    pub(super) fn unless(self, known: &IfNoneMatch) -> Response {
        if known.has(&self.tag) {
            let tag = [(header::ETAG, self.tag.header())];
            return (StatusCode::NOT_MODIFIED, tag).into_response();
        }
        self.into_response()
    }
}

impl<V: Serialize> IntoResponse for Shown<V> {
    fn into_response(self) -> Response {
        ([(header::ETAG, self.tag.header())], Json(self.view)).into_response()
    }
}

/// The revisions that a change is meant for. A request without it is refused
/// (RFC 6585, 3): whoever changes something has read it.
#[derive(Debug, IntoParams)]
#[into_params(names("If-Match"), parameter_in = Header)]
#[expect(
    clippy::doc_markdown,
    reason = "the description of the API has it as plain text"
)]
pub(super) struct IfMatch(
    /// The ETag of what was read
    String,
);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = input::header(&parts.headers, "if-match")?;
        value.map(|value| Self(value.to_owned())).ok_or_else(|| {
            Problem::new(
                Kind::PRECONDITION,
                "send If-Match with the ETag of what you have read",
            )
        })
    }
}

impl IfMatch {
    /// Whether what is there is what the change is meant for (RFC 9110, 13.1.1: strong
    /// comparison).
    pub(super) fn check(&self, there: &Tag) -> Result<(), Problem> {
        let Tag(there) = there;
        if self.0 == "*" || tags(&self.0).any(|one| one == there) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::CHANGED,
            format!("it has the ETag {there} now; read it again"),
        ))
    }

    /// Whether it is meant for whatever is there, where it is many things at once.
    pub(super) fn check_any(&self) -> Result<(), Problem> {
        if self.0 == "*" {
            return Ok(());
        }
        Err(Problem::new(
            Kind::CHANGED,
            "what is meant is no one thing that has an ETag; send If-Match: *",
        ))
    }

    /// Whether it is meant for a tool whose definition with this fingerprint waits.
    pub(super) fn has_waited(&self, fingerprint: Option<&str>) -> bool {
        fingerprint.is_some_and(|one| {
            let end = format!(".{one}\"");
            tags(&self.0).any(|tag| tag.ends_with(&end))
        })
    }
}

/// What a change is meant for that may make something, too: the revision that is there, or nothing. A
/// request with neither is refused.
#[derive(Debug, IntoParams)]
#[into_params(names("If-Match", "If-None-Match"), parameter_in = Header)]
#[expect(
    clippy::doc_markdown,
    reason = "the description of the API has it as plain text"
)]
pub(super) struct MeantOrNew(
    /// The ETag of what was read, where something is changed
    Option<String>,
    /// `*`, where something is made
    Option<String>,
);

impl<S: Send + Sync> FromRequestParts<S> for MeantOrNew {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = input::header(&parts.headers, "if-match")?.map(str::to_owned);
        let new = input::header(&parts.headers, "if-none-match")?.map(str::to_owned);
        match (&known, new.as_deref()) {
            (Some(_), None) | (None, Some("*")) => Ok(Self(known, new)),
            (None, None) => Err(Problem::new(
                Kind::PRECONDITION,
                "send If-Match with the ETag of what you have read, or If-None-Match: * to make something new",
            )),
            (_, Some(_)) => Err(Problem::invalid(
                "If-None-Match",
                "send `*` alone, and no If-Match beside it",
            )),
        }
    }
}

impl From<IfMatch> for MeantOrNew {
    fn from(IfMatch(known): IfMatch) -> Self {
        Self(Some(known), None)
    }
}

impl MeantOrNew {
    /// Whether what is there, or that nothing is, is what the change is meant for.
    pub(super) fn check(&self, there: Option<&Tag>) -> Result<(), Problem> {
        let Self(known, new) = self;
        match (known, there) {
            (Some(known), Some(there)) => IfMatch(known.clone()).check(there),
            (None, None) if new.is_some() => Ok(()),
            (_, None) => Err(Problem::new(
                Kind::CHANGED,
                "there is nothing of that name; send If-None-Match: * to make it",
            )),
            (None, Some(Tag(there))) => Err(Problem::new(
                Kind::CHANGED,
                format!("there is one of that name, with the ETag {there}; read it"),
            )),
        }
    }
}

/// The revision that a client has already (RFC 9110, 13.1.2).
#[derive(Debug)]
pub(super) struct IfNoneMatch(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name = header::IF_NONE_MATCH;
        let value = input::header(&parts.headers, name.as_str())?;
        Ok(Self(value.map(str::to_owned)))
    }
}

impl IfNoneMatch {
    fn has(&self, Tag(there): &Tag) -> bool {
        self.0.as_deref().is_some_and(|value| {
            value == "*" || tags(value).any(|one| one.trim_start_matches("W/") == there)
        })
    }
}

fn tags(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_revision_matches() {
        let there = Tag::of(3);
        let matches = |value: &str| IfMatch(value.into()).check(&there).is_ok();
        for value in ["\"r3\"", "*", "\"r2\", \"r3\""] {
            assert!(matches(value), "{value}");
        }
        for value in ["", "r3", "\"r2\"", "W/\"r3\"", "\"r33\""] {
            assert!(!matches(value), "{value}");
        }
    }

    #[test]
    fn what_is_made_is_told_apart_from_what_is_changed() {
        let there = Tag::of(3);
        let change = |tag: &str| MeantOrNew::from(IfMatch(tag.into()));
        let new = MeantOrNew(None, Some("*".into()));
        assert!(new.check(None).is_ok() && new.check(Some(&there)).is_err());
        for (tag, fine) in [("\"r3\"", true), ("*", true), ("\"r2\"", false)] {
            assert_eq!(change(tag).check(Some(&there)).is_ok(), fine, "{tag}");
            assert!(change(tag).check(None).is_err(), "{tag}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for (known, status) in [
            (Some("\"r3\""), 304),
            (Some("W/\"r3\""), 304),
            (Some("*"), 304),
            (Some("\"r2\""), 200),
            (None, 200),
        ] {
            let known = IfNoneMatch(known.map(str::to_owned));
            let answer = Shown::new(Tag::of(3), "it").unless(&known);
            assert_eq!(answer.status(), status, "{known:?}");
            assert_eq!(answer.headers()[header::ETAG], "\"r3\"");
        }
    }
}
