use std::fmt;

/// A revision of the protocol that the gateway speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 2025-03-26: the first with streamable HTTP, and the only one with batches.
    V2025_03_26,
    /// 2025-06-18: the `MCP-Protocol-Version` header, elicitation, structured output.
    V2025_06_18,
    /// 2025-11-25: the last legacy revision.
    V2025_11_25,
    /// 2026-07-28: stateless.
    V2026_07_28,
}

/// How a revision carries version, identity and capabilities
/// (2026-07-28, Versioning and Compatibility, Terminology).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// In a session opened by `initialize`.
    Legacy,
    /// In the `_meta` of every request.
    Modern,
}

impl Version {
    /// All revisions, newest first.
    pub const ALL: [Self; 4] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
    ];
    /// The newest modern revision.
    pub const LATEST: Self = Self::V2026_07_28;
    /// The newest legacy revision: the answer to an `initialize` that names an unknown one.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// The revision named `name`, where the gateway speaks it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == name)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era of the revision.
    pub fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// Whether JSON-RPC batches exist (2025-03-26, Base Protocol, Batching; removed afterwards).
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// What to answer to an `initialize` that asks for `requested`: the same where it is a
    /// legacy revision that the gateway speaks, the newest legacy one otherwise.
    pub fn negotiate(requested: &str) -> Self {
        Self::parse(requested)
            .filter(|version| version.era() == Era::Legacy)
            .unwrap_or(Self::LATEST_LEGACY)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_is_answered_with_a_legacy_revision() {
        for (asked, answered) in [
            ("2025-03-26", "2025-03-26"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2024-11-05", "2025-11-25"),
            ("nonsense", "2025-11-25"),
        ] {
            assert_eq!(Version::negotiate(asked).as_str(), answered, "{asked}");
        }
    }
}
