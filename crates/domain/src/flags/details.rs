use super::FlagValue;

/// Why a flag has the value that it has (`OpenFeature`, "resolution reason").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There are no rules: it is the default for everybody.
    Static,
    /// The rules leave it at the default.
    Default,
    /// The rules chose it.
    TargetingMatch,
    /// The rules chose it by a share (`fractional`). flagd calls that `TARGETING_MATCH`.
    Split,
    /// The flag is switched off: whoever asks takes what it would do without the flag.
    Disabled,
    /// There is no value: see [`ErrorCode`].
    Error,
}

impl Reason {
    /// Its name in `OpenFeature`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Split => "SPLIT",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

/// Why a flag has no value (`OpenFeature`, "error code"). What `OpenFeature` has besides cannot
/// happen here: definitions are read before anybody asks, and whoever has no targeting key gets the
/// default, as in flagd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// There is no flag of that key.
    FlagNotFound,
    /// Its values are of another type than the one that was asked for.
    TypeMismatch,
    /// The rules name no variant of the flag, or took too long.
    General,
}

impl ErrorCode {
    /// Its name in `OpenFeature`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FlagNotFound => "FLAG_NOT_FOUND",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::General => "GENERAL",
        }
    }
}

/// An answer (`OpenFeature`, "resolution details").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Details<'f> {
    /// The value; `None` where the flag is disabled, and where the reason is [`Reason::Error`].
    pub value: Option<&'f FlagValue>,
    /// The name of the variant that has it.
    pub variant: Option<&'f str>,
    /// Why it is that one.
    pub reason: Reason,
    /// Why there is none.
    pub error: Option<ErrorCode>,
}

impl<'f> Details<'f> {
    pub(super) fn of(variant: &'f (Box<str>, FlagValue), reason: Reason) -> Self {
        Self {
            value: Some(&variant.1),
            variant: Some(&variant.0),
            reason,
            error: None,
        }
    }

    pub(super) const DISABLED: Self = Self {
        value: None,
        variant: None,
        reason: Reason::Disabled,
        error: None,
    };

    pub(super) fn error(code: ErrorCode) -> Self {
        Self {
            value: None,
            variant: None,
            reason: Reason::Error,
            error: Some(code),
        }
    }
}
