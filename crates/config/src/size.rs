//! A number of bytes as people write it: `64KiB`, `4MiB`, `10MB`, or plain bytes.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantity::{self, Quantity};

/// A number of bytes, at most 1 TiB. `KiB`, `MiB`, `GiB` count in 1024s; `kB`, `MB`, `GB` in 1000s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// The largest size that is accepted.
    const LARGEST: u64 = 1 << 40;

    /// A size of `count` × 1024 bytes.
    pub const fn kib(count: u32) -> Self {
        Self(count as u64 * 1024)
    }

    /// A size of `count` × 1024 × 1024 bytes.
    pub const fn mib(count: u32) -> Self {
        Self(count as u64 * 1024 * 1024)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; on a 32-bit machine at most its address space.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Quantity for Size {
    const EXPECTED: &'static str = "a size such as 65536, 64KiB, 4MiB or 1GiB";
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = quantity::split::<Self>(text)?;
        let factor = match unit {
            "" | "B" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(quantity::not_one::<Self>(text)),
        };
        match number.checked_mul(factor) {
            Some(bytes) if bytes <= Self::LARGEST => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is larger than the largest size, 1024GiB")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("B", 1),
        ];
        let bytes = u128::from(self.0);
        let (number, unit) = quantity::in_largest_unit(bytes, &units).unwrap_or((0, "B"));
        write!(f, "{number}{unit}")
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        quantity::deserialize(deserializer)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, plain or with a unit: 65536, 64KiB, 4MiB, 1GiB.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": Size::LARGEST },
                { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|Ki|MiB|Mi|GiB|Gi|kB|KB|MB|GB)?$" },
            ],
            "examples": ["64KiB", "4MiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("4 MiB", 4 << 20),
            ("10MB", 10_000_000),
        ] {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn writes_the_largest_whole_unit() {
        for text in ["64KiB", "4MiB", "1GiB", "1000B", "0B"] {
            assert_eq!(text.parse::<Size>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else_without_a_panic() {
        for text in [
            "",
            "-1",
            "4 parsecs",
            "2000GiB",
            "18446744073709551615GiB",
            "MiB",
            "ç",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
