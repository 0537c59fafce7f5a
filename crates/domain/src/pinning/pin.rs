use std::time::Duration;

use bytestring::ByteString;

use super::{Fingerprint, Standing, fingerprint};
use crate::scan::Finding;

/// How many tools of one server are known at most. One that offers others all the time must not
/// fill the store; what is beyond it counts as unknown.
pub const MOST_PINS: usize = 16_384;

/// The longest name of a tool that is known, in bytes: what stores can look up. One that has a longer
/// name counts as unknown.
pub const LONGEST_NAME: usize = 2_000;

/// The largest text of a definition that is kept to be shown, in bytes.
pub const LARGEST_TEXT: usize = 64 * 1024;

/// A definition that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its text as the server sent it; `None` where that is larger than [`LARGEST_TEXT`].
    pub text: Option<ByteString>,
    /// When it was approved, or first seen waiting: the time since the Unix epoch.
    pub at: Duration,
}

/// What is known of a tool of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The server's name in the configuration.
    pub server: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// The definition that was agreed to.
    pub approved: Option<Definition>,
    /// Who agreed; `None` where it was the first that was seen, or the lock file.
    pub approved_by: Option<String>,
    /// Another one, which the server offers now, and what it is beside the pin.
    pub waiting: Option<(Definition, Standing)>,
    /// What the scan found in the one that the server offers.
    pub findings: Vec<Finding>,
    /// Since when the server offers the tool no more, as the time since the Unix epoch; `None` where
    /// it offered it the last time.
    pub gone: Option<Duration>,
}

/// The part of a [`Pin`] that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinHead {
    /// The server's own name of the tool.
    pub tool: String,
    /// The fingerprint of the definition that was agreed to.
    pub approved: Option<Fingerprint>,
    /// The one that waits.
    pub waiting: Option<(Fingerprint, Standing)>,
    /// Whether the server offered the tool the last time.
    pub offered: bool,
}

/// A definition that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The server's own name of the tool.
    pub tool: String,
    /// What it offers. Its time does not count.
    pub definition: Definition,
    /// What the scan found in it.
    pub findings: Vec<Finding>,
    /// By what it is judged.
    pub ground: Ground,
}

/// By what a definition is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// By what the store knows of the tool; the first definition is approved, unless the scan
    /// found something of high severity in it.
    FirstSight {
        /// Whether it did.
        suspicious: bool,
    },
    /// By a lock file, which says this.
    Lock(Standing),
}

/// What a sighting changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinChange {
    /// Nothing but that the tool is offered.
    Nothing,
    /// The definition becomes the approved one.
    Approve,
    /// It is the approved one again: nothing waits any more.
    Return,
    /// It waits for approval.
    Wait(Standing),
}

impl Definition {
    /// A definition, by its text.
    pub fn new(text: &ByteString) -> Self {
        Self::known(text, fingerprint(text))
    }

    /// The same where the fingerprint is known.
    pub fn known(text: &ByteString, fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            text: (text.len() <= LARGEST_TEXT).then(|| text.clone()),
            at: Duration::ZERO,
        }
    }

    /// The same at another time.
    #[must_use]
    pub fn at(self, at: Duration) -> Self {
        Self { at, ..self }
    }
}

impl Pin {
    /// The part that decides.
    pub fn head(&self) -> PinHead {
        PinHead {
            tool: self.tool.clone(),
            approved: self.approved.as_ref().map(|one| one.fingerprint),
            waiting: self
                .waiting
                .as_ref()
                .map(|(one, standing)| (one.fingerprint, *standing)),
            offered: self.is_offered(),
        }
    }

    /// Whether the server offered the tool the last time.
    pub fn is_offered(&self) -> bool {
        self.gone.is_none()
    }

    /// What the definition is that the server offers.
    pub fn standing(&self) -> Standing {
        match &self.waiting {
            None => Standing::Approved,
            Some((_, standing)) => *standing,
        }
    }

    /// The definition that the server offers, or offered the last time.
    pub fn current(&self) -> Option<&Definition> {
        match &self.waiting {
            Some((waiting, _)) => Some(waiting),
            None => self.approved.as_ref(),
        }
    }
}

impl PinHead {
    /// What a definition with this fingerprint is, of a tool that is known.
    pub fn standing(&self, seen: Fingerprint) -> Standing {
        match (self.approved, self.waiting) {
            (Some(approved), _) => Standing::by_first_sight(seen, approved, false),
            (None, Some((waiting, standing))) if waiting == seen => standing,
            (None, _) => Standing::Unknown,
        }
    }
}

impl PinChange {
    /// What a sighting changes of what is known.
    pub fn of(known: Option<&PinHead>, seen: &Sighting) -> Self {
        let print = seen.definition.fingerprint;
        let standing = match (seen.ground, known.and_then(|known| known.approved)) {
            (Ground::Lock(standing), _) => standing,
            // Whoever approved it has seen what the scan finds.
            (_, Some(approved)) => Standing::by_first_sight(print, approved, false),
            (Ground::FirstSight { suspicious: true }, None) => Standing::Suspicious,
            // A second definition of a tool whose first one was not approved is no first sight.
            _ if known.is_some() => Standing::Unknown,
            _ => Standing::Approved,
        };
        let approved = known.is_some_and(|known| known.approved == Some(print));
        let waiting = known.and_then(|known| known.waiting);
        match standing {
            Standing::Approved if !approved => Self::Approve,
            Standing::Approved if waiting.is_some() => Self::Return,
            Standing::Approved => Self::Nothing,
            _ if waiting == Some((print, standing)) => Self::Nothing,
            _ => Self::Wait(standing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(text: &str, ground: Ground) -> Sighting {
        Sighting {
            tool: "a".into(),
            definition: Definition::new(&text.into()),
            findings: Vec::new(),
            ground,
        }
    }

    fn head(approved: Option<&str>, waiting: Option<(&str, Standing)>) -> PinHead {
        PinHead {
            tool: "a".into(),
            approved: approved.map(fingerprint),
            waiting: waiting.map(|(text, standing)| (fingerprint(text), standing)),
            offered: true,
        }
    }

    #[test]
    fn a_sighting_changes_what_is_known() {
        let first = |suspicious| Ground::FirstSight { suspicious };
        let changed = Standing::Changed;
        let suspicious = Standing::Suspicious;
        let cases = [
            (None, first(false), PinChange::Approve),
            (None, first(true), PinChange::Wait(suspicious)),
            (Some(head(Some("1"), None)), first(true), PinChange::Nothing),
            (
                Some(head(Some("1"), Some(("2", changed)))),
                first(false),
                PinChange::Return,
            ),
            (
                Some(head(Some("2"), None)),
                first(false),
                PinChange::Wait(changed),
            ),
            (
                Some(head(Some("2"), Some(("1", changed)))),
                first(true),
                PinChange::Nothing,
            ),
            // A harmless second definition does not slip in where the first one was suspicious.
            (
                Some(head(None, Some(("2", suspicious)))),
                first(false),
                PinChange::Wait(Standing::Unknown),
            ),
            (
                Some(head(None, Some(("1", suspicious)))),
                first(true),
                PinChange::Nothing,
            ),
            (
                Some(head(Some("2"), None)),
                Ground::Lock(Standing::Approved),
                PinChange::Approve,
            ),
            (
                Some(head(Some("1"), None)),
                Ground::Lock(Standing::Unknown),
                PinChange::Wait(Standing::Unknown),
            ),
        ];
        for (known, ground, expected) in cases {
            let found = PinChange::of(known.as_ref(), &sighting("1", ground));
            assert_eq!(found, expected, "{known:?} {ground:?}");
        }
    }

    #[test]
    fn large_texts_are_known_by_their_fingerprint_alone() {
        let text: ByteString = format!("\"{}\"", "x".repeat(LARGEST_TEXT)).into();
        let definition = Definition::new(&text);
        assert_eq!(definition.text, None);
        assert_eq!(definition.fingerprint, fingerprint(&text));
    }
}
