use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
};

use super::{
    input,
    problem::{Kind, Problem},
};

/// The `ETag` of a revision, for `If-Match`: what a change may be meant for is the same under one revision.
pub(super) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(tag(revision)).unwrap_or(HeaderValue::from_static("\"\""))
}

fn tag(revision: u64) -> String {
    format!("\"r{revision}\"")
}

/// The revisions that a change is meant for. A request without it is refused
/// (RFC 6585, 3): whoever changes something has read it.
#[derive(Debug)]
pub(super) struct IfMatch(String);

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
    pub(super) fn check(&self, revision: u64) -> Result<(), Problem> {
        self.check_tag(&tag(revision))
    }

    /// The same for something that has no revision, by its tag.
    pub(super) fn check_tag(&self, there: &str) -> Result<(), Problem> {
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
    pub(super) fn has(&self, revision: u64) -> bool {
        self.has_tag(&tag(revision))
    }

    /// The same for something that has no revision, by its tag.
    pub(super) fn has_tag(&self, there: &str) -> bool {
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
        let matches = |value: &str| IfMatch(value.into()).check(3).is_ok();
        for value in ["\"r3\"", "*", "\"r2\", \"r3\""] {
            assert!(matches(value), "{value}");
        }
        for value in ["", "r3", "\"r2\"", "W/\"r3\"", "\"r33\""] {
            assert!(!matches(value), "{value}");
        }
        assert!(IfNoneMatch(Some("W/\"r3\"".into())).has(3));
        assert!(!IfNoneMatch(Some("\"r2\"".into())).has(3));
        assert!(!IfNoneMatch(None).has(3));
        assert_eq!(etag(3), "\"r3\"");
    }
}
