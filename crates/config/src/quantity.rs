//! What a [`Period`](crate::period::Period) and a [`Size`](crate::size::Size) have in common: a
//! whole number with a unit, written as a text, or as a bare number where that has a meaning.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

/// What is written as a number with a unit.
pub(crate) trait Quantity: FromStr<Err = String> {
    /// What one looks like, for messages.
    const EXPECTED: &'static str;
}

/// The number and the unit, as written, of the trimmed `text`.
///
/// # Errors
/// The message for a text that does not begin with a number which fits.
pub(crate) fn split<Q: Quantity>(text: &str) -> Result<(u64, &str), String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match number.parse() {
        Ok(number) => Ok((number, unit.trim())),
        Err(_) => Err(not_one::<Q>(text)),
    }
}

/// The message for a text that is no such quantity.
pub(crate) fn not_one<Q: Quantity>(text: &str) -> String {
    format!("`{text}` is not {}", Q::EXPECTED)
}

/// The largest of `units`, which come with the largest first, that divides `number`, and how often.
pub(crate) fn in_largest_unit(
    number: u128,
    units: &[(&'static str, u128)],
) -> Option<(u128, &'static str)> {
    units
        .iter()
        .find(|(_, size)| number != 0 && number.is_multiple_of(*size))
        .map(|(unit, size)| (number / size, *unit))
}

/// Reads a quantity from a text or a bare number.
pub(crate) fn deserialize<'de, Q: Quantity, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Q, D::Error> {
    deserializer.deserialize_any(Visitor(PhantomData))
}

struct Visitor<Q>(PhantomData<Q>);

impl<Q: Quantity> de::Visitor<'_> for Visitor<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Q::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Q, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Q, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Q, E> {
        self.visit_str(&number.to_string())
    }
}
