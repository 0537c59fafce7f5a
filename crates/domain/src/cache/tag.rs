use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use super::Kind;

/// How many buckets there are for resources of a server, and for people. What is marked as outdated is
/// a whole bucket: so what is remembered of it is bounded, and says nobody's name and no URI.
pub const BUCKETS: u16 = 1024;

/// The bucket of a text.
pub fn bucket(text: &str) -> u16 {
    let digest = digest(&SHA256, text.as_bytes());
    let bytes = digest.as_ref();
    u16::from_be_bytes([bytes[0], bytes[1]]) % BUCKETS
}

/// What an answer of a server is found by when something about it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// All answers of a kind.
    Kind(Kind),
    /// What was read of a resource, by the [`bucket`] of the server's own URI of it.
    Resource(u16),
    /// What was answered to, or is about, a person, by the [`bucket`] of what identifies them.
    Subject(u16),
}

/// What is outdated of a server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outdated {
    /// All of them.
    All,
    /// Those with a tag.
    Tagged(Tag),
}

impl Outdated {
    /// The tags that it is about.
    pub fn tags(self) -> impl Iterator<Item = Tag> {
        let (kinds, one) = match self {
            Self::All => (&Kind::ALL[..], None),
            Self::Tagged(tag) => (&[][..], Some(tag)),
        };
        kinds.iter().map(|kind| Tag::Kind(*kind)).chain(one)
    }

    /// By its text.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        let (what, which) = text.split_once(':')?;
        let number = || which.parse().ok().filter(|bucket| *bucket < BUCKETS);
        Some(Self::Tagged(match what {
            "kind" => Tag::Kind(Kind::ALL.into_iter().find(|kind| kind.as_str() == which)?),
            "resource" => Tag::Resource(number()?),
            "subject" => Tag::Subject(number()?),
            _ => return None,
        }))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "kind:{}", kind.as_str()),
            Self::Resource(bucket) => write!(f, "resource:{bucket}"),
            Self::Subject(bucket) => write!(f, "subject:{bucket}"),
        }
    }
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tagged(tag) => tag.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let kinds = Kind::ALL.map(|kind| Outdated::Tagged(Tag::Kind(kind)));
        let others = [
            Outdated::All,
            Outdated::Tagged(Tag::Resource(1023)),
            Outdated::Tagged(Tag::Subject(0)),
        ];
        for outdated in kinds.into_iter().chain(others) {
            assert_eq!(Outdated::parse(&outdated.to_string()), Some(outdated));
        }
        for bad in ["", "kind", "kind:x", "resource:1024", "resource:-1", "x:1"] {
            assert_eq!(Outdated::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_is_every_kind() {
        let tags: Vec<Tag> = Outdated::All.tags().collect();
        assert_eq!(tags, Kind::ALL.map(Tag::Kind));
        let one = Outdated::Tagged(Tag::Subject(3));
        assert_eq!(one.tags().collect::<Vec<_>>(), [Tag::Subject(3)]);
    }
}
