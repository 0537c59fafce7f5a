//! Targeting rules: `JsonLogic`, with the operations of flagd.
//!
//! A rule is read once into an [`Expression`] (`parse`), which bounds how deep and how large it is;
//! [`Evaluation`] answers for one context within a bound of steps. No input makes it panic, and an
//! operation that can't be done has the value `null`, as in `JsonLogic` and flagd.
//!
//! Left out of `JsonLogic`: `map`, `filter`, `reduce` and `log`, and names of attributes that are
//! computed. A rule that needs them is refused when it is read.

mod arithmetic;
mod evaluate;
mod expression;
mod fractional;
mod murmur;
mod parse;
mod value;
mod version;

pub(super) use evaluate::Evaluation;
pub(super) use expression::Expression;
pub(super) use parse::{Fault, Parser};
pub(super) use value::Value;
