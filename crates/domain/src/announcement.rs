//! What one replica of the gateway tells the others: that something which all of them keep in memory
//! has changed in the store that they share.

use aws_lc_rs::digest::{SHA256, digest};

/// Something has changed. It says where to look and never what is there: whoever hears it reads the
/// store, so that one that is forged, late or heard twice does no harm. It carries no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Announcement {
    /// An API key was changed or revoked.
    KeyChanged {
        /// The identifier of the key, which opens nothing.
        id: String,
    },
    /// Callers were blocked, or let in again.
    BlocksChanged,
    /// Definitions of tools were approved.
    PinsChanged,
    /// Answers of a server that are kept are outdated.
    AnswersOutdated {
        /// The name of the server in the configuration.
        server: String,
        /// The text of a [`cache::Outdated`](crate::cache::Outdated), which names nobody and no resource.
        what: String,
    },
    /// Servers, policies or flags of the registry were changed.
    RegistryChanged,
    /// Circuit breakers of servers have opened, closed or were forced.
    BreakersChanged,
    /// What a person has granted was withdrawn.
    GrantWithdrawn {
        /// The name of the server in the configuration.
        server: String,
        /// Whose it was: [`holder`] of the principal's id.
        holder: String,
    },
}

impl Announcement {
    /// The names of all kinds, for metrics.
    pub const KINDS: [&'static str; 7] = [
        "key_changed",
        "blocks_changed",
        "pins_changed",
        "answers_outdated",
        "registry_changed",
        "breakers_changed",
        "grant_withdrawn",
    ];

    /// The name of its kind: one of [`KINDS`](Self::KINDS).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeyChanged { .. } => "key_changed",
            Self::BlocksChanged => "blocks_changed",
            Self::PinsChanged => "pins_changed",
            Self::AnswersOutdated { .. } => "answers_outdated",
            Self::RegistryChanged => "registry_changed",
            Self::BreakersChanged => "breakers_changed",
            Self::GrantWithdrawn { .. } => "grant_withdrawn",
        }
    }
}

/// A principal by a digest of its id, which names the person: SHA-256 in hexadecimal.
pub fn holder(principal: &str) -> String {
    use std::fmt::Write as _;

    let digest = digest(&SHA256, principal.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_among_the_kinds() {
        for announcement in [
            Announcement::KeyChanged { id: "k".into() },
            Announcement::BlocksChanged,
            Announcement::PinsChanged,
            Announcement::AnswersOutdated {
                server: "crm".into(),
                what: "kind:tool".into(),
            },
            Announcement::RegistryChanged,
            Announcement::BreakersChanged,
            Announcement::GrantWithdrawn {
                server: "crm".into(),
                holder: holder("user:4:acme:ana"),
            },
        ] {
            assert!(Announcement::KINDS.contains(&announcement.kind()));
            assert!(!format!("{announcement:?}").contains("ana"));
        }
    }
}
