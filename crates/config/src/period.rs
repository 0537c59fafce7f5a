//! A length of time as people write it: `250ms`, `30s`, `5m`, `1h`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{self, Quantity};

/// The longest period that is accepted: 366 days. Longer ones overflow timers and are mistakes.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A length of time, written as a whole number with a unit: `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

impl Period {
    /// A period of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A period of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The period for timers.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether the period is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl Quantity for Period {
    const EXPECTED: &'static str = "a time with its unit, such as 250ms, 30s, 5m or 1h";
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = quantity::split::<Self>(text)?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" | "min" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "d" => number.checked_mul(86_400_000),
            "" if number == 0 => Some(0),
            "" => {
                let expected = Self::EXPECTED;
                return Err(format!("`{text}` has no unit: expected {expected}"));
            }
            _ => return Err(quantity::not_one::<Self>(text)),
        };
        match millis.map(Duration::from_millis) {
            Some(period) if period <= LONGEST => Ok(Self(period)),
            _ => Err(format!("`{text}` is longer than the longest period, 366d")),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let (number, unit) = quantity::in_largest_unit(millis, &units).unwrap_or((0, "s"));
        write!(f, "{number}{unit}")
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        quantity::deserialize(deserializer)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time with its unit: 250ms, 30s, 5m, 1h or 1d.",
            "pattern": "^[0-9]+ ?(ms|s|m|min|h|d)$",
            "examples": ["250ms", "30s", "5m"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1 h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(
                text.parse::<Period>(),
                Ok(Period::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn writes_the_shortest_form() {
        for text in ["250ms", "30s", "5m", "2h", "0s", "1500ms"] {
            assert_eq!(text.parse::<Period>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else_without_a_panic() {
        for text in [
            "",
            "30",
            "-5s",
            "5 weeks",
            "99999999999999999999s",
            "18446744073709551615d",
            "é",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        assert!(
            "30".parse::<Period>()
                .expect_err("no unit")
                .contains("no unit")
        );
    }
}
