//! How often something may happen, as people write it: `100/s`, `6000/min burst 500`; and how much
//! of something there may be.

use std::{borrow::Cow, fmt, num::NonZeroU32, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{self, Quantity};

/// The word for no limit.
const OFF: &str = "off";
/// The most that can be written, of events and of bursts: more is no limit but a mistake.
const MOST: u32 = 1_000_000;

/// At most `count` events in each `period`, and up to `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many events.
    pub count: NonZeroU32,
    /// In which time: a second, a minute, an hour or a day.
    pub period: Period,
    /// How many may come at once after a rest.
    pub burst: NonZeroU32,
}

/// What the events of a [`Rate`] are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

/// A rate, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// No limit.
    Off,
    /// This much.
    At(Rate),
}

/// A number of things, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountLimit {
    /// No limit.
    Off,
    /// This many.
    At(NonZeroU32),
}

impl Period {
    const ALL: [(&'static str, Self); 4] = [
        ("s", Self::Second),
        ("min", Self::Minute),
        ("h", Self::Hour),
        ("d", Self::Day),
    ];

    /// How long it is.
    pub const fn get(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
        }
    }
}

impl RateLimit {
    /// The rate, where there is a limit.
    pub fn rate(self) -> Option<Rate> {
        match self {
            Self::Off => None,
            Self::At(rate) => Some(rate),
        }
    }
}

impl CountLimit {
    /// The number, where there is a limit.
    pub fn count(self) -> Option<NonZeroU32> {
        match self {
            Self::Off => None,
            Self::At(count) => Some(count),
        }
    }
}

impl Quantity for RateLimit {
    const EXPECTED: &'static str =
        "a rate such as 100/s, 6000/min or 10/min burst 3 (at most 1000000), or `off`";
}

impl Quantity for CountLimit {
    const EXPECTED: &'static str = "a number from 1 on, or `off`";
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == OFF {
            return Ok(Self::Off);
        }
        rate(text)
            .map(Self::At)
            .ok_or_else(|| quantity::not_one::<Self>(text))
    }
}

fn rate(text: &str) -> Option<Rate> {
    let mut words = text.split_ascii_whitespace();
    let (count, unit) = words.next()?.split_once('/')?;
    let count = events(count)?;
    let period = Period::ALL.iter().find(|(name, _)| *name == unit)?.1;
    let burst = match (words.next(), words.next()) {
        (None, _) => count,
        (Some("burst"), Some(number)) => events(number)?,
        _ => return None,
    };
    words.next().is_none().then_some(Rate {
        count,
        period,
        burst,
    })
}

fn events(text: &str) -> Option<NonZeroU32> {
    // `parse` would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| *number <= MOST && digits)?;
    NonZeroU32::new(number)
}

impl FromStr for CountLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == OFF {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| quantity::not_one::<Self>(text))
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::At(rate) = self else {
            return f.write_str(OFF);
        };
        write!(f, "{}/{}", rate.count, rate.period.unit())?;
        if rate.burst == rate.count {
            return Ok(());
        }
        write!(f, " burst {}", rate.burst)
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for CountLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::At(count) => serializer.serialize_u32(count.get()),
        }
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        quantity::deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for CountLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        quantity::deserialize(deserializer)
    }
}

impl JsonSchema for RateLimit {
    fn schema_name() -> Cow<'static, str> {
        "RateLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "How many in a second (s), minute (min), hour (h) or day (d), and how many at once after a rest: without `burst`, as many as stand before the slash. `off`: no limit.",
            "pattern": "^(off|[0-9]+/(s|min|h|d)( burst [0-9]+)?)$",
            "examples": ["100/s", "6000/min burst 500", "off"],
        })
    }
}

impl JsonSchema for CountLimit {
    fn schema_name() -> Cow<'static, str> {
        "CountLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number from 1 on, or `off` for no limit.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
                { "type": "string", "const": "off" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write_and_writes_the_shortest_form() {
        for (text, written) in [
            ("100/s", "100/s"),
            (" 6000/min ", "6000/min"),
            ("10/h burst 3", "10/h burst 3"),
            ("10/d  burst 10", "10/d"),
            ("off", "off"),
        ] {
            let limit: RateLimit = text.parse().expect(text);
            assert_eq!(limit.to_string(), written);
            assert_eq!(written.parse(), Ok(limit));
        }
        let rate = "60/min".parse::<RateLimit>().ok().and_then(RateLimit::rate);
        let rate = rate.expect("a rate");
        assert_eq!((rate.count.get(), rate.burst.get()), (60, 60));
        assert_eq!(rate.period.get(), Duration::from_mins(1));
    }

    #[test]
    fn refuses_everything_else_without_a_panic() {
        for text in [
            "",
            "100",
            "0/s",
            "-1/s",
            "+1/s",
            "1/week",
            "1/",
            "/s",
            "1000001/s",
            "99999999999/s",
            "1/s burst",
            "1/s burst 0",
            "1/s 5",
            "1/s burst 5 6",
            "1 / s",
            "Off",
            "é/s",
        ] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
        for text in ["", "0", "-1", "many", "4294967296"] {
            assert!(text.parse::<CountLimit>().is_err(), "{text}");
        }
    }
}
