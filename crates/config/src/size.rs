//! A number of bytes as people write it: `64KiB`, `4MiB`, `10MB`, or plain bytes.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a size looks like, for messages.
const EXPECTED: &str = "a size such as 65536, 64KiB, 4MiB or 1GiB";

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

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let Ok(number) = number.parse::<u64>() else {
            return Err(format!("`{text}` is not {EXPECTED}"));
        };
        let factor = match unit.trim() {
            "" | "B" => 1,
            "KiB" | "Ki" => 1 << 10,
            "MiB" | "Mi" => 1 << 20,
            "GiB" | "Gi" => 1 << 30,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(format!("`{text}` is not {EXPECTED}")),
        };
        match number.checked_mul(factor) {
            Some(bytes) if bytes <= Self::LARGEST => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is larger than the largest size, 1024GiB")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 != 0 && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl de::Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(SizeVisitor)
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
