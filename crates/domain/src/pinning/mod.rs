//! Pins: the definition of a tool that somebody has agreed to, by its fingerprint.
//!
//! A server may change what a tool says of itself after it was looked at. [`fingerprint`] is of the
//! meaning of a definition, [`Standing`] is what a definition is beside its pin, and [`Mode`]
//! decides what follows from it. Pins come from a [`LockFile`], or are made where a tool is first
//! seen and kept by a [`crate::ports::PinStore`].

mod difference;
mod fingerprint;
mod lock;
mod pin;

pub use difference::{Difference, difference};
pub use fingerprint::{Fingerprint, NoFingerprint, fingerprint};
pub use lock::{LockChange, LockFile};
pub use pin::{
    Definition, Ground, LARGEST_TEXT, LONGEST_NAME, MOST_PINS, Pin, PinChange, PinHead, Sighting,
};

/// What is done about definitions that nobody has agreed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// They are reported.
    #[default]
    Warn,
    /// They are reported and held back: neither listed nor callable.
    Enforce,
}

/// What a definition is beside its pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The one that was pinned, or the first that was seen.
    Approved,
    /// There is a lock file, and the tool is not in it; or nobody has agreed to any definition of
    /// a tool that was not seen for the first time.
    Unknown,
    /// Another one than was pinned.
    Changed,
    /// The first that was seen, and the scan found something of high severity in it.
    Suspicious,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Approved,
        Self::Unknown,
        Self::Changed,
        Self::Suspicious,
    ];

    /// The standing of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// Its name in output and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Unknown => "unknown",
            Self::Changed => "changed",
            Self::Suspicious => "suspicious",
        }
    }

    /// By a lock file, whose word outweighs what the scan finds.
    pub fn by_lock(seen: Fingerprint, pinned: Option<Fingerprint>) -> Self {
        match pinned {
            None => Self::Unknown,
            Some(pinned) if pinned == seen => Self::Approved,
            Some(_) => Self::Changed,
        }
    }

    /// Without a lock file: by the first definition that was seen, which is this one where there
    /// was none before.
    pub fn by_first_sight(seen: Fingerprint, first: Fingerprint, suspicious: bool) -> Self {
        if first != seen {
            Self::Changed
        } else if suspicious {
            Self::Suspicious
        } else {
            Self::Approved
        }
    }
}

impl Mode {
    /// Whether a definition of this standing is neither listed nor callable.
    pub fn holds_back(self, standing: Standing) -> bool {
        self == Self::Enforce && standing != Standing::Approved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_agreed_to_passes_in_enforce() {
        let (one, other) = (fingerprint("1"), fingerprint("2"));
        let cases = [
            (Standing::by_lock(one, Some(one)), Standing::Approved),
            (Standing::by_lock(one, Some(other)), Standing::Changed),
            (Standing::by_lock(one, None), Standing::Unknown),
            (
                Standing::by_first_sight(one, one, false),
                Standing::Approved,
            ),
            (
                Standing::by_first_sight(one, one, true),
                Standing::Suspicious,
            ),
            (
                Standing::by_first_sight(one, other, true),
                Standing::Changed,
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
            let passes = expected == Standing::Approved;
            assert_eq!(Mode::Enforce.holds_back(found), !passes);
            assert!(!Mode::Warn.holds_back(found) && !Mode::Off.holds_back(found));
        }
    }
}
