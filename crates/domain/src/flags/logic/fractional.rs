//! Shares, as flagd assigns them: whoever has the same key has the same share on every machine, and
//! a share more at the end moves those alone who are to have it.

use std::borrow::Cow;

use super::{
    evaluate::{Evaluation, TooMuch},
    expression::{Bucket, Expression},
    murmur,
    value::Value,
};

/// The largest weight, and the largest sum of all: what flagd allows.
pub(super) const MOST_WEIGHT: u64 = 0x7fff_ffff;

impl<'a> Evaluation<'a> {
    /// `null` where there is nothing that shares could be assigned by, or the weights are none.
    pub(super) fn fractional(
        &self,
        by: Option<&'a Expression>,
        buckets: &'a [Bucket],
        element: Option<&Value<'a>>,
    ) -> Result<Value<'a>, TooMuch> {
        let by = by.map(|by| self.value(by, element)).transpose()?;
        let key = match by {
            Some(Value::Text(key)) => key,
            None | Some(Value::Null) => match self.context.targeting_key() {
                Some(key) => Cow::Owned(format!("{}{key}", self.key)),
                None => return Ok(Value::Null),
            },
            Some(_) => return Ok(Value::Null),
        };
        let mut sum = 0;
        for bucket in buckets {
            let Some(weight) = self.weight(bucket, element)? else {
                return Ok(Value::Null);
            };
            sum += weight;
        }
        if sum == 0 || sum > MOST_WEIGHT {
            return Ok(Value::Null);
        }
        let share = (u64::from(murmur::hash(&key)) * sum) >> 32;
        let mut end = 0;
        for bucket in buckets {
            end += self.weight(bucket, element)?.unwrap_or_default();
            if share < end {
                self.note_split();
                let variant = self.value(&bucket.variant, element)?;
                let is_name = matches!(variant, Value::Text(_) | Value::Bool(_) | Value::Number(_));
                return Ok(if is_name { variant } else { Value::Null });
            }
        }
        Ok(Value::Null)
    }

    /// A whole number; less than nothing is nothing. `None` where it is no weight.
    fn weight(
        &self,
        bucket: &'a Bucket,
        element: Option<&Value<'a>>,
    ) -> Result<Option<u64>, TooMuch> {
        let Some(weight) = &bucket.weight else {
            return Ok(Some(1));
        };
        Ok(match self.value(weight, element)? {
            Value::Null => Some(1),
            Value::Number(number) => weight_of(number),
            _ => None,
        })
    }
}

/// The weight that a number is; `None` where it is not a whole one, or too large.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "it is whole, not negative and at most 2^31"
)]
pub(super) fn weight_of(number: f64) -> Option<u64> {
    if number.fract() != 0.0 || number > MOST_WEIGHT as f64 {
        return None;
    }
    Some(number.max(0.0) as u64)
}
