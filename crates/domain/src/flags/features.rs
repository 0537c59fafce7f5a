use super::{Flag, FlagContext, FlagType, FlagValue, Flags};

/// What the keys of flags for parts of the gateway begin with. No other flag may begin so: it would
/// look as if it did something.
const PREFIX: &str = "gateway.";

/// A part of the gateway that can be released, or retired, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// New sessions of clients that speak 2025-11-25 or earlier: where it is off, `initialize` is
    /// refused. Without a flag it is on.
    LegacySessions,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::LegacySessions];

    /// The key of its flag, which is a boolean one.
    pub fn key(self) -> &'static str {
        match self {
            Self::LegacySessions => "gateway.legacy-sessions.enabled",
        }
    }

    /// Whether it is on for a caller. What a flag is disabled for, or can't say, is as without it.
    pub fn is_on(self, flags: &Flags, context: &FlagContext<'_>) -> bool {
        let details = flags.evaluate_as(self.key(), FlagType::Boolean, context);
        !matches!(details.value, Some(FlagValue::Boolean(false)))
    }

    /// What is wrong with a flag whose key is that of a feature or looks like one, in words.
    pub(super) fn fault(flag: &Flag) -> Option<String> {
        let key = flag.key();
        if !key.starts_with(PREFIX) {
            return None;
        }
        let known = Self::ALL.map(Self::key);
        if !known.contains(&key) {
            return Some(format!(
                "there is no part of the gateway that \"{key}\" would switch; keys that begin with {PREFIX} are {}",
                known.join(", ")
            ));
        }
        (flag.flag_type() != FlagType::Boolean).then(|| {
            format!(
                "\"{key}\" switches a part of the gateway, so its variants must be true and false"
            )
        })
    }
}
