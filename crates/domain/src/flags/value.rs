use std::{fmt, sync::Arc};

use serde_json::{Map, Value as Json};

/// What the variants of a flag are; all of one flag are of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlagType {
    /// `true` or `false`.
    Boolean,
    /// A text.
    Text,
    /// A number.
    Number,
    /// A JSON object.
    Object,
}

impl FlagType {
    /// Its name in messages and in the output of commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Text => "string",
            Self::Number => "number",
            Self::Object => "object",
        }
    }
}

/// The value of a variant.
#[derive(Debug, Clone, PartialEq)]
pub enum FlagValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A text.
    Text(Arc<str>),
    /// A number, never infinite.
    Number(f64),
    /// A JSON object.
    Object(Arc<Map<String, Json>>),
}

impl FlagValue {
    /// Of which type it is.
    pub fn flag_type(&self) -> FlagType {
        match self {
            Self::Boolean(_) => FlagType::Boolean,
            Self::Text(_) => FlagType::Text,
            Self::Number(_) => FlagType::Number,
            Self::Object(_) => FlagType::Object,
        }
    }

    /// The value of a JSON value; `None` for `null` and arrays, which no flag may have.
    pub(super) fn of(json: Json) -> Option<Self> {
        match json {
            Json::Bool(value) => Some(Self::Boolean(value)),
            Json::String(text) => Some(Self::Text(text.into())),
            Json::Number(number) => number.as_f64().map(Self::Number),
            Json::Object(members) => Some(Self::Object(Arc::new(members))),
            Json::Null | Json::Array(_) => None,
        }
    }

    /// The same as JSON. Whole numbers have no decimal point.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Boolean(value) => Json::Bool(*value),
            Self::Text(text) => Json::String(text.to_string()),
            Self::Number(number) => whole(*number).map_or_else(
                || serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
                Json::from,
            ),
            Self::Object(members) => Json::Object((**members).clone()),
        }
    }
}

impl fmt::Display for FlagValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(out)
    }
}

/// The number where it is a whole one that a double tells from its neighbours.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it is whole, and far below the bounds of an i64"
)]
pub(crate) fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_and_whole_numbers_stay_whole() {
        for json in [
            json!(true),
            json!("x"),
            json!(7),
            json!(-0.5),
            json!({"a": [1]}),
        ] {
            assert_eq!(FlagValue::of(json.clone()).unwrap().to_json(), json);
        }
        assert_eq!(FlagValue::of(json!(2.0)).unwrap().to_string(), "2");
        assert!(FlagValue::of(json!(null)).is_none() && FlagValue::of(json!([1])).is_none());
    }
}
