use std::{borrow::Cow, collections::BTreeSet};

use serde_json::Value as Json;

use super::super::value::whole;

/// A value on the way through a rule. What comes from the rule or the context is borrowed.
#[derive(Debug, Clone)]
pub(in super::super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// Roles and scopes.
    Words(&'a BTreeSet<String>),
    List(Vec<Value<'a>>),
    /// An array or an object.
    Json(&'a Json),
}

impl<'a> Value<'a> {
    pub(in super::super) fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number.as_f64().map_or(Self::Null, Self::Number),
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(_) | Json::Object(_) => Self::Json(json),
        }
    }

    /// What a path leads to from here.
    pub(in super::super) fn member(self, path: &[Box<str>]) -> Self {
        path.iter().fold(self, |value, name| {
            let Self::Json(json) = value else {
                return Self::Null;
            };
            let found = match json {
                Json::Object(members) => members.get(&**name),
                Json::Array(elements) => name.parse().ok().and_then(|at: usize| elements.get(at)),
                _ => None,
            };
            found.map_or(Self::Null, Self::of)
        })
    }

    /// Whether it counts as true: everything but `null`, `false`, `0`, the empty text and the empty
    /// array.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::Words(words) => !words.is_empty(),
            Self::List(elements) => !elements.is_empty(),
            Self::Json(Json::Array(elements)) => !elements.is_empty(),
            Self::Json(_) => true,
        }
    }

    /// As a number; what is none is not a number.
    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Bool(value) => f64::from(u8::from(*value)),
            Self::Number(number) => *number,
            Self::Text(text) => number_of(text),
            Self::Words(_) | Self::List(_) | Self::Json(_) => f64::NAN,
        }
    }

    /// As a part of a text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Number(number) => Cow::Owned(number_text(*number)),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Words(words) => Cow::Owned(joined(words.iter().map(|word| word.as_str().into()))),
            Self::List(elements) => Cow::Owned(joined(elements.iter().map(Self::text))),
            Self::Json(Json::Array(elements)) => Cow::Owned(joined(
                elements
                    .iter()
                    .map(|element| Value::of(element).text().into_owned().into()),
            )),
            Self::Json(_) => Cow::Borrowed("[object Object]"),
        }
    }

    /// The name of the variant that a rule means by it; `None` where it can be none.
    pub(in super::super) fn variant(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bool(_) | Self::Number(_) | Self::Text(_) => Some(self.text()),
            Self::Null | Self::Words(_) | Self::List(_) | Self::Json(_) => None,
        }
    }

    /// `===`
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            #[expect(clippy::float_cmp, reason = "JsonLogic compares exactly")]
            (Self::Number(one), Self::Number(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            _ => false,
        }
    }

    /// `==`: numbers, texts and truth values are compared as numbers where they differ in kind.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let is_plain =
            |value: &Self| matches!(value, Self::Bool(_) | Self::Number(_) | Self::Text(_));
        if std::mem::discriminant(self) == std::mem::discriminant(other) {
            return self.is_same(other);
        }
        #[expect(clippy::float_cmp, reason = "JsonLogic compares exactly")]
        let same = self.number() == other.number();
        is_plain(self) && is_plain(other) && same
    }

    /// Whether any element passes; `None` where it has no elements to ask.
    pub(super) fn any<E>(
        &self,
        mut passes: impl FnMut(Value<'a>) -> Result<bool, E>,
    ) -> Option<Result<bool, E>> {
        let mut found = false;
        let mut failed = None;
        let mut ask = |value: Value<'a>| {
            match passes(value) {
                Ok(passed) => found = passed,
                Err(error) => failed = Some(error),
            }
            found || failed.is_some()
        };
        match self {
            Self::Words(words) => {
                let mut words = words.iter();
                words.any(|word| ask(Value::Text(Cow::Borrowed(word))));
            }
            Self::List(elements) => {
                elements.iter().any(|element| ask(element.clone()));
            }
            Self::Json(Json::Array(elements)) => {
                elements.iter().any(|element| ask(Value::of(element)));
            }
            _ => return None,
        }
        Some(failed.map_or(Ok(found), Err))
    }

    /// Its elements; itself where it has none.
    pub(super) fn into_elements(self) -> Vec<Self> {
        match self {
            Self::List(elements) => elements,
            Self::Words(words) => {
                let words = words.iter();
                words.map(|word| Self::Text(Cow::Borrowed(word))).collect()
            }
            Self::Json(Json::Array(elements)) => elements.iter().map(Self::of).collect(),
            other => vec![other],
        }
    }
}

fn number_of(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    // Rust reads "inf" and "nan" as numbers.
    let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if text.bytes().all(is_number) {
        text.parse().unwrap_or(f64::NAN)
    } else {
        f64::NAN
    }
}

fn number_text(number: f64) -> String {
    whole(number).map_or_else(|| number.to_string(), |whole| whole.to_string())
}

fn joined<'t>(parts: impl Iterator<Item = Cow<'t, str>>) -> String {
    let parts: Vec<_> = parts.collect();
    parts.join(",")
}
