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
    /// What was answered to somebody alone, by the [`bucket`] of what identifies them.
    Subject(u16),
    /// What was answered to anybody of a tenant, by the [`bucket`] of its name.
    Tenant(u16),
    /// Of that, what is the same for everyone.
    Common(u16),
}

/// What is outdated of a server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outdated {
    /// All of them.
    All,
    /// Those with a tag.
    Tagged(Tag),
    /// Those that somebody who has changed something would see it by: what was answered to them alone,
    /// and what is the same for everyone of their tenant. Both by their buckets.
    Written {
        /// Of who has changed something.
        subject: u16,
        /// Of their tenant.
        tenant: u16,
    },
}

impl Outdated {
    /// The tags that it is about.
    pub fn tags(self) -> impl Iterator<Item = Tag> {
        let (kinds, others) = match self {
            Self::All => (&Kind::ALL[..], [None, None]),
            Self::Tagged(tag) => (&[][..], [Some(tag), None]),
            Self::Written { subject, tenant } => {
                let tags = [Tag::Subject(subject), Tag::Common(tenant)];
                (&[][..], tags.map(Some))
            }
        };
        let kinds = kinds.iter().map(|kind| Tag::Kind(*kind));
        kinds.chain(others.into_iter().flatten())
    }

    /// By its text.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        let (what, which) = text.split_once(':')?;
        let bucket = |text: &str| text.parse().ok().filter(|bucket| *bucket < BUCKETS);
        let number = || bucket(which);
        if what == "written" {
            let (subject, tenant) = which.split_once(':')?;
            return Some(Self::Written {
                subject: bucket(subject)?,
                tenant: bucket(tenant)?,
            });
        }
        Some(Self::Tagged(match what {
            "kind" => Tag::Kind(Kind::ALL.into_iter().find(|kind| kind.as_str() == which)?),
            "resource" => Tag::Resource(number()?),
            "subject" => Tag::Subject(number()?),
            "tenant" => Tag::Tenant(number()?),
            "common" => Tag::Common(number()?),
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
            Self::Tenant(bucket) => write!(f, "tenant:{bucket}"),
            Self::Common(bucket) => write!(f, "common:{bucket}"),
        }
    }
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tagged(tag) => tag.fmt(f),
            Self::Written { subject, tenant } => write!(f, "written:{subject}:{tenant}"),
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
            Outdated::Tagged(Tag::Tenant(7)),
            Outdated::Tagged(Tag::Common(7)),
            Outdated::Written {
                subject: 1,
                tenant: 1023,
            },
        ];
        for outdated in kinds.into_iter().chain(others) {
            assert_eq!(Outdated::parse(&outdated.to_string()), Some(outdated));
        }
        for bad in [
            "",
            "kind",
            "kind:x",
            "resource:1024",
            "resource:-1",
            "x:1",
            "written:1",
            "written:1:1024",
            "written:1:2:3",
        ] {
            assert_eq!(Outdated::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_is_every_kind() {
        let tags: Vec<Tag> = Outdated::All.tags().collect();
        assert_eq!(tags, Kind::ALL.map(Tag::Kind));
        let one = Outdated::Tagged(Tag::Subject(3));
        assert_eq!(one.tags().collect::<Vec<_>>(), [Tag::Subject(3)]);
        let written = Outdated::Written {
            subject: 3,
            tenant: 4,
        };
        let tags: Vec<Tag> = written.tags().collect();
        assert_eq!(tags, [Tag::Subject(3), Tag::Common(4)]);
    }
}
