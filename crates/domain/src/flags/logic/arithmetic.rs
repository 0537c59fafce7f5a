//! Comparison and arithmetic of `JsonLogic`: what is no number gives no number, which is `null`.

use super::{
    expression::{Arithmetic, Comparison},
    value::Value,
};

impl Comparison {
    pub(super) fn holds(self, one: &Value<'_>, other: &Value<'_>) -> bool {
        let order = match (one, other) {
            (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
            _ => one.number().partial_cmp(&other.number()),
        };
        order.is_some_and(|order| match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        })
    }
}

impl Arithmetic {
    /// The value for some numbers.
    pub(super) fn of<'a>(self, numbers: &[f64]) -> Value<'a> {
        let folded = |with: fn(f64, f64) -> f64| numbers.iter().copied().reduce(with);
        let pair = |with: fn(f64, f64) -> f64| match numbers {
            [one, other] => Some(with(*one, *other)),
            _ => None,
        };
        let least = |one: f64, other: f64| {
            if one.is_nan() || one < other {
                one
            } else {
                other
            }
        };
        let greatest = |one: f64, other: f64| {
            if one.is_nan() || one > other {
                one
            } else {
                other
            }
        };
        let number = match self {
            Self::Add => Some(numbers.iter().sum()),
            Self::Multiply => folded(|one, other| one * other),
            Self::Subtract => match numbers {
                [one] => Some(-one),
                _ => pair(|one, other| one - other),
            },
            Self::Divide => pair(|one, other| one / other),
            Self::Remainder => pair(|one, other| one % other),
            Self::Least => folded(least),
            Self::Greatest => folded(greatest),
        };
        match number {
            Some(number) if number.is_finite() => Value::Number(number),
            _ => Value::Null,
        }
    }
}
