use std::{borrow::Cow, cell::Cell};

use serde_json::Value as Json;

use super::{
    super::{FlagContext, context::Attribute},
    expression::{Expression, Quantifier},
    value::Value,
    version,
};

/// How many parts of a rule are looked at for one answer. A rule of the largest size takes less, but
/// for what is asked of each element of long lists.
const MOST_STEPS: u32 = 50_000;

/// The longest text that `cat` makes, in bytes.
const LONGEST: usize = 64 << 10;

/// A rule asks for more than one answer may cost.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct TooMuch;

/// One answer in the making.
pub(in super::super) struct Evaluation<'a> {
    pub(super) key: &'a str,
    pub(super) context: &'a FlagContext<'a>,
    steps: Cell<u32>,
    split: Cell<bool>,
}

type Answer<'a> = Result<Value<'a>, TooMuch>;

impl<'a> Evaluation<'a> {
    /// For the flag of that key.
    pub(in super::super) fn new(key: &'a str, context: &'a FlagContext<'a>) -> Self {
        Self {
            key,
            context,
            steps: Cell::new(0),
            split: Cell::new(false),
        }
    }

    /// Whether a share had a part in the answer.
    pub(in super::super) fn has_split(&self) -> bool {
        self.split.get()
    }

    pub(super) fn note_split(&self) {
        self.split.set(true);
    }

    /// The value of a rule, or of a part of one; `element` is what `var` means in `all`, `some` and
    /// `none`.
    pub(in super::super) fn value(
        &self,
        expression: &'a Expression,
        element: Option<&Value<'a>>,
    ) -> Answer<'a> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > MOST_STEPS {
            return Err(TooMuch);
        }
        let value = |part: &'a Expression| self.value(part, element);
        Ok(match expression {
            Expression::Literal(json) => Value::of(json),
            Expression::List(parts) => Value::List(self.values(parts, element)?),
            Expression::Attribute(attribute, or) => {
                let found = self.context.value(attribute, self.key);
                self.or(found, or.as_deref(), element)?
            }
            Expression::Element(path, or) => {
                let found = element.cloned().unwrap_or(Value::Null).member(path);
                self.or(found, or.as_deref(), element)?
            }
            Expression::Missing(names) => Value::List(self.missing(names)),
            Expression::MissingSome(wanted, names) => {
                let missing = self.missing(names);
                let there = names.len() - missing.len();
                Value::List(if there >= *wanted {
                    Vec::new()
                } else {
                    missing
                })
            }
            Expression::If(parts) => self.chosen(parts, element)?,
            Expression::And(parts) => self.first(parts, false, element)?,
            Expression::Or(parts) => self.first(parts, true, element)?,
            Expression::Not(part) => Value::Bool(!value(part)?.is_true()),
            Expression::Truth(part) => Value::Bool(value(part)?.is_true()),
            Expression::Equal {
                strict,
                negated,
                sides,
            } => {
                let (one, other) = (value(&sides[0])?, value(&sides[1])?);
                let equal = if *strict {
                    one.is_same(&other)
                } else {
                    one.is_alike(&other)
                };
                Value::Bool(equal != *negated)
            }
            Expression::Compare(comparison, parts) => {
                let values = self.values(parts, element)?;
                let mut pairs = values.windows(2);
                Value::Bool(pairs.all(|pair| comparison.holds(&pair[0], &pair[1])))
            }
            Expression::Arithmetic(arithmetic, parts) => {
                let values = self.values(parts, element)?;
                let numbers: Vec<f64> = values.iter().map(Value::number).collect();
                arithmetic.of(&numbers)
            }
            Expression::In(sides) => contains(&value(&sides[1])?, &value(&sides[0])?),
            Expression::Cat(parts) => self.cat(parts, element)?,
            Expression::Substr(parts) => substring(&self.values(parts, element)?),
            Expression::Merge(parts) => {
                let values = self.values(parts, element)?;
                Value::List(values.into_iter().flat_map(Value::into_elements).collect())
            }
            Expression::Each(quantifier, sides) => {
                let list = value(&sides[0])?;
                self.each(*quantifier, &list, &sides[1])?
            }
            Expression::StartsWith(sides) => match (value(&sides[0])?, value(&sides[1])?) {
                (Value::Text(text), Value::Text(part)) => Value::Bool(text.starts_with(&*part)),
                _ => Value::Null,
            },
            Expression::EndsWith(sides) => match (value(&sides[0])?, value(&sides[1])?) {
                (Value::Text(text), Value::Text(part)) => Value::Bool(text.ends_with(&*part)),
                _ => Value::Null,
            },
            Expression::Version(parts) => {
                let [one, comparison, other] =
                    [value(&parts[0])?, value(&parts[1])?, value(&parts[2])?];
                match comparison {
                    Value::Text(comparison) => {
                        version::compare(&one.text(), &comparison, &other.text())
                            .map_or(Value::Null, Value::Bool)
                    }
                    _ => Value::Null,
                }
            }
            Expression::Fractional { by, buckets } => {
                self.fractional(by.as_deref(), buckets, element)?
            }
        })
    }

    fn values(
        &self,
        parts: &'a [Expression],
        element: Option<&Value<'a>>,
    ) -> Result<Vec<Value<'a>>, TooMuch> {
        parts.iter().map(|part| self.value(part, element)).collect()
    }

    fn or(
        &self,
        found: Value<'a>,
        or: Option<&'a Expression>,
        element: Option<&Value<'a>>,
    ) -> Answer<'a> {
        match (found, or) {
            (Value::Null, Some(or)) => self.value(or, element),
            (found, _) => Ok(found),
        }
    }

    fn missing(&self, names: &'a [(Box<str>, Attribute)]) -> Vec<Value<'a>> {
        let is_missing = |attribute: &Attribute| match self.context.value(attribute, self.key) {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            _ => false,
        };
        let missing = names.iter().filter(|(_, attribute)| is_missing(attribute));
        missing
            .map(|(name, _)| Value::Text(Cow::Borrowed(name)))
            .collect()
    }

    fn chosen(&self, parts: &'a [Expression], element: Option<&Value<'a>>) -> Answer<'a> {
        let (pairs, rest) = parts.as_chunks::<2>();
        for [condition, result] in pairs {
            if self.value(condition, element)?.is_true() {
                return self.value(result, element);
            }
        }
        rest.first()
            .map_or(Ok(Value::Null), |rest| self.value(rest, element))
    }

    /// The first part that is as true as that; without one the last.
    fn first(
        &self,
        parts: &'a [Expression],
        wanted: bool,
        element: Option<&Value<'a>>,
    ) -> Answer<'a> {
        let mut last = Value::Null;
        for part in parts {
            last = self.value(part, element)?;
            if last.is_true() == wanted {
                break;
            }
        }
        Ok(last)
    }

    fn cat(&self, parts: &'a [Expression], element: Option<&Value<'a>>) -> Answer<'a> {
        let mut text = String::new();
        for part in parts {
            text.push_str(&self.value(part, element)?.text());
            if text.len() > LONGEST {
                return Err(TooMuch);
            }
        }
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn each(&self, quantifier: Quantifier, list: &Value<'a>, test: &'a Expression) -> Answer<'a> {
        let wanted = !matches!(quantifier, Quantifier::All);
        let found = list.any(|element| {
            let passes = self.value(test, Some(&element))?.is_true();
            Ok(passes == wanted)
        });
        let found = found.transpose()?.unwrap_or(false);
        Ok(Value::Bool(match quantifier {
            // As in JsonLogic, nothing passes where there is nothing.
            Quantifier::All => list.is_true() && !found,
            Quantifier::Some => found,
            Quantifier::None => !found,
        }))
    }
}

fn contains<'a>(whole: &Value<'_>, part: &Value<'_>) -> Value<'a> {
    Value::Bool(match (whole, part) {
        (Value::Text(text), Value::Text(part)) => text.contains(&**part),
        (Value::Words(words), Value::Text(word)) => words.contains(&**word),
        _ => whole
            .any(|element| Ok::<_, TooMuch>(element.is_same(part)))
            .is_some_and(|found| found.unwrap_or(false)),
    })
}

/// `substr`: from a character on, so many of them; what is negative counts from the end.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a position beyond any text is as good as any other"
)]
fn substring<'a>(values: &[Value<'_>]) -> Value<'a> {
    let Some(text) = values.first().map(Value::text) else {
        return Value::Null;
    };
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let from_end = |position: i64| {
        if position < 0 {
            length.saturating_add(position).max(0)
        } else {
            position.min(length)
        }
    };
    let number = |at: usize| values.get(at).map(|value| value.number() as i64);
    let start = from_end(number(1).unwrap_or(0));
    let end = match number(2) {
        None => length,
        Some(count) if count < 0 => from_end(count),
        Some(count) => start.saturating_add(count).min(length),
    };
    let skipped = usize::try_from(start).unwrap_or_default();
    let taken = usize::try_from(end.saturating_sub(start)).unwrap_or_default();
    Value::Text(Cow::Owned(text.chars().skip(skipped).take(taken).collect()))
}

/// Kept beside the evaluation: what is written out can't be evaluated to anything else.
impl Expression {
    /// Whether it is written out.
    pub(super) fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// The number that it is.
    pub(super) fn literal_number(&self) -> Option<f64> {
        match self {
            Self::Literal(Json::Number(number)) => number.as_f64(),
            _ => None,
        }
    }
}
