//! Public names: how tools, prompts and resources of several upstreams share one endpoint.
//!
//! With a prefix `files`, the tool `read_file` is public as `files_read_file` and the resource
//! `file:///a` as `files+file:///a`: a valid URI still, since `+` may stand in a scheme
//! (RFC 3986, section 3.1), and a valid URI template (RFC 6570). Without a prefix (identity
//! mode) public names are the upstream's own.

use std::borrow::Cow;

/// The longest prefix.
pub const MAX_PREFIX: usize = 32;

/// How the names of one upstream become public.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Naming {
    prefix: Option<Box<str>>,
}

/// A prefix that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a prefix has 1 to 32 characters of a-z, 0-9 and -, and starts with a letter (it becomes part of URI schemes)"
)]
pub struct InvalidPrefix;

impl Naming {
    /// Public names are the upstream's own.
    pub fn identity() -> Self {
        Self::default()
    }

    /// Public names carry `prefix`.
    ///
    /// # Errors
    /// [`InvalidPrefix`] for what can't stand in front of a URI scheme, or holds the separator.
    pub fn prefixed(prefix: &str) -> Result<Self, InvalidPrefix> {
        let valid = prefix.len() <= MAX_PREFIX
            && prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && prefix
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Ok(Self {
                prefix: Some(prefix.into()),
            })
        } else {
            Err(InvalidPrefix)
        }
    }

    /// Whether public names are the upstream's own.
    pub fn is_identity(&self) -> bool {
        self.prefix.is_none()
    }

    /// The public name of a tool or prompt.
    pub fn public_name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        self.add(name, '_')
    }

    /// The upstream's name of a public tool or prompt name; `None` where it is not of here.
    pub fn original_name<'a>(&self, public: &'a str) -> Option<&'a str> {
        self.strip(public, '_')
    }

    /// The public form of a URI or URI template.
    pub fn public_uri<'a>(&self, uri: &'a str) -> Cow<'a, str> {
        self.add(uri, '+')
    }

    /// The upstream's form of a public URI; `None` where it is not of here.
    pub fn original_uri<'a>(&self, public: &'a str) -> Option<&'a str> {
        self.strip(public, '+')
    }

    fn add<'a>(&self, name: &'a str, separator: char) -> Cow<'a, str> {
        match &self.prefix {
            None => Cow::Borrowed(name),
            Some(prefix) => Cow::Owned(format!("{prefix}{separator}{name}")),
        }
    }

    fn strip<'a>(&self, public: &'a str, separator: char) -> Option<&'a str> {
        match &self.prefix {
            None => Some(public),
            Some(prefix) => public.strip_prefix(&**prefix)?.strip_prefix(separator),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_uris_carry_the_prefix() {
        let files = Naming::prefixed("files").unwrap();
        assert_eq!(files.public_name("read_file"), "files_read_file");
        assert_eq!(files.public_uri("file:///{path}"), "files+file:///{path}");
        assert_eq!(files.original_name("files_read_file"), Some("read_file"));
        assert_eq!(files.original_name("filesread_file"), None);
        assert_eq!(files.original_uri("other+file:///a"), None);
    }

    #[test]
    fn a_prefix_must_fit_a_uri_scheme() {
        for bad in ["", "a_b", "1a", "-a", "A", "ü", "a+b", &"a".repeat(33)] {
            assert_eq!(Naming::prefixed(bad), Err(InvalidPrefix), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(prefix in "[a-z][a-z0-9-]{0,31}", name in "\\PC{0,30}") {
            for naming in [Naming::prefixed(&prefix).unwrap(), Naming::identity()] {
                let public = naming.public_name(&name);
                prop_assert_eq!(naming.original_name(&public), Some(&*name));
                let public = naming.public_uri(&name);
                prop_assert_eq!(naming.original_uri(&public), Some(&*name));
            }
        }

        #[test]
        fn two_prefixes_never_share_a_name(a in "[a-z][a-z0-9-]{0,5}", b in "[a-z][a-z0-9-]{0,5}", name in "[a-z_]{0,8}") {
            prop_assume!(a != b);
            let (a, b) = (Naming::prefixed(&a).unwrap(), Naming::prefixed(&b).unwrap());
            let (tool, uri) = (a.public_name(&name), a.public_uri(&name));
            prop_assert_eq!(b.original_name(&tool), None);
            prop_assert_eq!(b.original_uri(&uri), None);
        }
    }
}
