//! How an announcement looks on the way: compact JSON with a version. What another version of the
//! gateway says that this one does not know is told apart from what is nothing at all.

use mcp_ultra_domain::Announcement;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that is written. One that is higher is of a gateway whose announcements may mean
/// something that this one would get wrong.
const VERSION: u32 = 1;
/// The longest message; the stream takes no longer ones either.
pub(super) const LONGEST: usize = 4096;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// An announcement.
    Announced(Announcement),
    /// The sender had too much to tell.
    Everything,
}

/// A message, and from whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The replica.
    pub(super) from: String,
    /// Counts what it tells, from 1.
    pub(super) number: u64,
    /// `None` is of a kind that is not known here, and no business of this version.
    pub(super) told: Option<Told>,
}

/// Why a message can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is of a later version.
    Later,
    /// It is no message of a gateway.
    Nonsense,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    from: String,
    n: u64,
    #[serde(flatten)]
    what: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    KeyChanged { id: String },
    BlocksChanged,
    PinsChanged,
    AnswersOutdated { server: String, what: String },
    RegistryChanged,
    BreakersChanged,
    GrantWithdrawn { server: String, holder: String },
    Everything,
}

/// The bytes of a message.
pub(super) fn encode(from: &str, number: u64, told: &Told) -> Vec<u8> {
    let kind = match told.clone() {
        Told::Everything => Kind::Everything,
        Told::Announced(announcement) => match announcement {
            Announcement::KeyChanged { id } => Kind::KeyChanged { id },
            Announcement::BlocksChanged => Kind::BlocksChanged,
            Announcement::PinsChanged => Kind::PinsChanged,
            Announcement::AnswersOutdated { server, what } => {
                Kind::AnswersOutdated { server, what }
            }
            Announcement::RegistryChanged => Kind::RegistryChanged,
            Announcement::BreakersChanged => Kind::BreakersChanged,
            Announcement::GrantWithdrawn { server, holder } => {
                Kind::GrantWithdrawn { server, holder }
            }
        },
    };
    let message = Envelope {
        v: VERSION,
        from: from.to_owned(),
        n: number,
        what: serde_json::to_value(kind).unwrap_or_default(),
    };
    // Texts and numbers are always JSON.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// A message from its bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Message, Unread> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    if bytes.len() > LONGEST {
        return Err(Unread::Nonsense);
    }
    let nonsense = |_| Unread::Nonsense;
    let Version { v } = serde_json::from_slice(bytes).map_err(nonsense)?;
    if v > VERSION {
        return Err(Unread::Later);
    }
    let Envelope { from, n, what, .. } = serde_json::from_slice(bytes).map_err(nonsense)?;
    let told = serde_json::from_value(what).ok().map(|kind| match kind {
        Kind::KeyChanged { id } => Told::Announced(Announcement::KeyChanged { id }),
        Kind::BlocksChanged => Told::Announced(Announcement::BlocksChanged),
        Kind::PinsChanged => Told::Announced(Announcement::PinsChanged),
        Kind::AnswersOutdated { server, what } => {
            Told::Announced(Announcement::AnswersOutdated { server, what })
        }
        Kind::RegistryChanged => Told::Announced(Announcement::RegistryChanged),
        Kind::BreakersChanged => Told::Announced(Announcement::BreakersChanged),
        Kind::GrantWithdrawn { server, holder } => {
            Told::Announced(Announcement::GrantWithdrawn { server, holder })
        }
        Kind::Everything => Told::Everything,
    });
    Ok(Message {
        from,
        number: n,
        told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Told::Announced(Announcement::KeyChanged { id: "k\"1".into() }),
            Told::Announced(Announcement::BlocksChanged),
            Told::Announced(Announcement::PinsChanged),
            Told::Announced(Announcement::AnswersOutdated {
                server: "crm".into(),
                what: "resource:7".into(),
            }),
            Told::Announced(Announcement::RegistryChanged),
            Told::Announced(Announcement::BreakersChanged),
            Told::Announced(Announcement::GrantWithdrawn {
                server: "crm".into(),
                holder: "abc".into(),
            }),
            Told::Everything,
        ];
        for told in all {
            let bytes = encode("a", 7, &told);
            let message = decode(&bytes).unwrap();
            assert_eq!((&*message.from, message.number), ("a", 7));
            assert_eq!(message.told, Some(told));
        }
        let bytes = encode("a", 7, &Told::Announced(Announcement::PinsChanged));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, r#"{"v":1,"from":"a","n":7,"kind":"pins_changed"}"#);
    }

    #[test]
    fn what_other_versions_say_is_ignored_or_told_apart() {
        let of = |text: &str| decode(text.as_bytes());
        let unknown = of(r#"{"v":1,"from":"a","n":1,"kind":"flags_changed","more":[1]}"#).unwrap();
        assert_eq!(unknown.told, None);
        let more = of(r#"{"v":1,"from":"a","n":1,"kind":"pins_changed","since":3}"#).unwrap();
        assert!(more.told.is_some());
        assert_eq!(of(r#"{"v":2,"who":"a"}"#), Err(Unread::Later));
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"v":1}"#,
            r#"{"v":1,"from":1,"n":1}"#,
            "\u{0}",
        ] {
            assert_eq!(of(bad), Err(Unread::Nonsense), "{bad}");
        }
        let long = format!(r#"{{"v":1,"from":"{}","n":1}}"#, "a".repeat(LONGEST));
        assert_eq!(of(&long), Err(Unread::Nonsense));
    }
}
