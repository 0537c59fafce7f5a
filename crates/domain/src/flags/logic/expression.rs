use serde_json::Value as Json;

use super::super::context::Attribute;

/// A rule that has been read.
#[derive(Debug)]
pub(in super::super) enum Expression {
    /// A value that is written out.
    Literal(Json),
    /// An array of which not all is written out.
    List(Box<[Expression]>),
    /// `var`: an attribute of the context, else what is written besides.
    Attribute(Attribute, Option<Box<Expression>>),
    /// `var` in `all`, `some` and `none`: a part of the element, else what is written besides.
    Element(Box<[Box<str>]>, Option<Box<Expression>>),
    /// `missing`: which of these names the context does not have.
    Missing(Box<[(Box<str>, Attribute)]>),
    /// `missing_some`: the same, where fewer than so many are there.
    MissingSome(usize, Box<[(Box<str>, Attribute)]>),
    /// `if` and `?:`: conditions and results by turns, and what is left.
    If(Box<[Expression]>),
    And(Box<[Expression]>),
    Or(Box<[Expression]>),
    Not(Box<Expression>),
    /// `!!`
    Truth(Box<Expression>),
    Equal {
        strict: bool,
        negated: bool,
        sides: Box<[Expression; 2]>,
    },
    /// Two of them, or three that the middle one stands between.
    Compare(Comparison, Box<[Expression]>),
    Arithmetic(Arithmetic, Box<[Expression]>),
    In(Box<[Expression; 2]>),
    Cat(Box<[Expression]>),
    Substr(Box<[Expression]>),
    Merge(Box<[Expression]>),
    /// A list, and what is asked of its elements.
    Each(Quantifier, Box<[Expression; 2]>),
    StartsWith(Box<[Expression; 2]>),
    EndsWith(Box<[Expression; 2]>),
    /// A version, a comparison and a version.
    Version(Box<[Expression; 3]>),
    Fractional {
        /// What shares are assigned by; `None` for flag and caller.
        by: Option<Box<Expression>>,
        buckets: Box<[Bucket]>,
    },
}

/// A share of `fractional`.
#[derive(Debug)]
pub(in super::super) struct Bucket {
    pub variant: Expression,
    /// `None` for 1.
    pub weight: Option<Expression>,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Least,
    Greatest,
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Quantifier {
    All,
    Some,
    None,
}

impl Expression {
    /// Calls `each` with the names of variants that are written out as what comes of the rule.
    pub(in super::super) fn results(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Literal(Json::String(name)) => each(name),
            Self::Literal(Json::Bool(value)) => each(if *value { "true" } else { "false" }),
            Self::If(parts) => {
                let last = parts.len().saturating_sub(1);
                let mut results = parts.iter().enumerate();
                // Each second one is a result, and so is what is left over.
                let is_result = |at: usize| at % 2 == 1 || at == last;
                results
                    .by_ref()
                    .filter(|(at, _)| is_result(*at))
                    .for_each(|(_, part)| part.results(each));
            }
            Self::Fractional { buckets, .. } => {
                buckets
                    .iter()
                    .for_each(|bucket| bucket.variant.results(each));
            }
            _ => {}
        }
    }
}
