use std::collections::{BTreeMap, BTreeSet};

use mcp_ultra_protocol::json::{self, Object};
use serde_json::Value as Json;

use super::{
    super::{Depends, context::Attribute},
    expression::{Arithmetic, Bucket, Comparison, Expression, Quantifier},
    fractional::{MOST_WEIGHT, weight_of},
};

/// How deep a rule may be nested, with the shared rules that it refers to. It bounds the stack that
/// reading and evaluating one takes.
const DEEPEST: usize = 48;

/// The most parts that a rule may have, with the shared rules that it refers to.
const MOST_PARTS: usize = 4_000;

/// What is wrong with a part of the text.
#[derive(Debug)]
pub(in super::super) struct Fault {
    /// Where it is, in bytes from the beginning of the text.
    pub offset: usize,
    /// Where it is in the JSON (RFC 6901).
    pub pointer: String,
    pub message: String,
    pub help: Option<String>,
}

/// Reads the rules of one text, and knows where in it it is.
pub(in super::super) struct Parser<'t> {
    text: &'t str,
    /// The shared rules (`$evaluators`), by name.
    shared: &'t BTreeMap<String, &'t str>,
    path: Vec<String>,
    parts: usize,
    depth: usize,
    is_shared: bool,
    /// What the rules that were read depend on.
    pub depends: Depends,
    /// The attributes in them that the gateway does not have.
    pub unknown: BTreeSet<String>,
}

type Read<T> = Result<T, Fault>;

/// Names of attributes, with what they mean.
type Names = Box<[(Box<str>, Attribute)]>;

impl<'t> Parser<'t> {
    /// For a text with these shared rules, at the place that `path` leads to.
    pub(in super::super) fn new(
        text: &'t str,
        shared: &'t BTreeMap<String, &'t str>,
        path: &[&str],
    ) -> Self {
        Self {
            text,
            shared,
            path: path.iter().map(|&step| step.to_owned()).collect(),
            parts: 0,
            depth: 0,
            is_shared: false,
            depends: Depends::default(),
            unknown: BTreeSet::new(),
        }
    }

    /// The same for a rule that others refer to.
    pub(in super::super) fn of_shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Reads a rule.
    pub(in super::super) fn rule(&mut self, raw: &'t str) -> Read<Expression> {
        self.expression(raw, false)
    }

    /// A fault at the place where the parser is, which stands at `raw` in the text.
    pub(in super::super) fn fault(&self, raw: &str, message: impl Into<String>) -> Fault {
        let start = raw.as_ptr() as usize;
        let pointer = self.path.iter().fold(String::new(), |pointer, step| {
            pointer + "/" + &step.replace('~', "~0").replace('/', "~1")
        });
        Fault {
            offset: start.saturating_sub(self.text.as_ptr() as usize),
            pointer,
            message: message.into(),
            help: None,
        }
    }

    fn at<T>(
        &mut self,
        step: impl Into<String>,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<T> {
        self.path.push(step.into());
        let found = read(self);
        self.path.pop();
        found
    }

    /// `scoped` says that `var` means parts of an element.
    fn expression(&mut self, raw: &'t str, scoped: bool) -> Read<Expression> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(self.fault(raw, format!("the rule has more than {MOST_PARTS} parts")));
        }
        if self.depth >= DEEPEST {
            return Err(self.fault(raw, format!("the rule is nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        let found = match raw.as_bytes().first() {
            Some(b'{') => self.operation(raw, scoped),
            Some(b'[') => {
                let elements = json::elements(raw).unwrap_or_default();
                let parts = self.all(&elements, scoped)?;
                if parts.iter().all(Expression::is_literal) {
                    self.literal(raw)
                } else {
                    Ok(Expression::List(parts))
                }
            }
            _ => self.literal(raw),
        };
        self.depth -= 1;
        found
    }

    fn literal(&self, raw: &'t str) -> Read<Expression> {
        match serde_json::from_str(raw) {
            Ok(json) => Ok(Expression::Literal(json)),
            Err(error) => Err(self.fault(raw, format!("this is no JSON: {error}"))),
        }
    }

    fn all(&mut self, parts: &[&'t str], scoped: bool) -> Read<Box<[Expression]>> {
        let parts = parts.iter().enumerate();
        parts
            .map(|(at, raw)| self.at(at.to_string(), |parser| parser.expression(raw, scoped)))
            .collect()
    }

    fn operation(&mut self, raw: &'t str, scoped: bool) -> Read<Expression> {
        let object = Object::parse(raw).map_err(|error| self.fault(raw, error.to_string()))?;
        // An object of none or several members is a value.
        let [member] = object.members() else {
            return self.literal(raw);
        };
        let (name, operand) = (member.key.clone().into_owned(), member.value);
        if name == "$ref" {
            return self.shared(operand);
        }
        let operands = match json::elements(operand) {
            Some(operands) => operands,
            None => vec![operand],
        };
        let is_list = operand.starts_with('[');
        self.at(name.as_str(), |parser| {
            let operands = Operands {
                name: &name,
                raw: operand,
                parts: operands,
                is_list,
                scoped,
            };
            parser.named(&operands)
        })
    }

    fn named(&mut self, operands: &Operands<'_, 't>) -> Read<Expression> {
        let equal = |strict, negated| {
            move |sides| Expression::Equal {
                strict,
                negated,
                sides,
            }
        };
        Ok(match operands.name {
            "var" => self.variable(operands)?,
            "missing" => Expression::Missing(self.names(&operands.parts, operands)?),
            "missing_some" => self.missing_some(operands)?,
            "if" | "?:" => Expression::If(self.some(operands, 0)?),
            "and" => Expression::And(self.some(operands, 1)?),
            "or" => Expression::Or(self.some(operands, 1)?),
            "!" => Expression::Not(self.one(operands)?),
            "!!" => Expression::Truth(self.one(operands)?),
            "==" => equal(false, false)(self.exactly(operands)?),
            "===" => equal(true, false)(self.exactly(operands)?),
            "!=" => equal(false, true)(self.exactly(operands)?),
            "!==" => equal(true, true)(self.exactly(operands)?),
            "<" => self.comparison(Comparison::Less, operands)?,
            "<=" => self.comparison(Comparison::AtMost, operands)?,
            ">" => self.comparison(Comparison::Greater, operands)?,
            ">=" => self.comparison(Comparison::AtLeast, operands)?,
            "+" => Expression::Arithmetic(Arithmetic::Add, self.some(operands, 1)?),
            "-" => Expression::Arithmetic(Arithmetic::Subtract, self.some(operands, 1)?),
            "*" => Expression::Arithmetic(Arithmetic::Multiply, self.some(operands, 1)?),
            "/" => Expression::Arithmetic(Arithmetic::Divide, self.some(operands, 2)?),
            "%" => Expression::Arithmetic(Arithmetic::Remainder, self.some(operands, 2)?),
            "min" => Expression::Arithmetic(Arithmetic::Least, self.some(operands, 1)?),
            "max" => Expression::Arithmetic(Arithmetic::Greatest, self.some(operands, 1)?),
            "in" => Expression::In(self.exactly(operands)?),
            "cat" => Expression::Cat(self.some(operands, 1)?),
            "substr" => Expression::Substr(self.some(operands, 2)?),
            "merge" => Expression::Merge(self.some(operands, 0)?),
            "all" => self.each(Quantifier::All, operands)?,
            "some" => self.each(Quantifier::Some, operands)?,
            "none" => self.each(Quantifier::None, operands)?,
            "starts_with" => Expression::StartsWith(self.exactly(operands)?),
            "ends_with" => Expression::EndsWith(self.exactly(operands)?),
            "sem_ver" => Expression::Version(self.exactly(operands)?),
            "fractional" => self.fractional(operands)?,
            other => {
                let shown: String = other.chars().take(60).collect();
                let mut fault = self.fault(
                    operands.raw,
                    format!("there is no operation \"{shown}\" here"),
                );
                fault.help = Some(
                    "rules have the operations of JsonLogic, but for map, filter, reduce and log, and fractional, starts_with, ends_with and sem_ver".to_owned(),
                );
                return Err(fault);
            }
        })
    }

    fn shared(&mut self, raw: &'t str) -> Read<Expression> {
        let name = json::as_str(raw)
            .ok_or_else(|| self.fault(raw, "$ref names a rule of $evaluators, as a text"))?;
        if self.is_shared {
            let message = "rules of $evaluators may not refer to others of them";
            return Err(self.fault(raw, message));
        }
        let Some(rule) = self.shared.get(&*name) else {
            return Err(self.fault(raw, format!("there is no rule \"{name}\" in $evaluators")));
        };
        let here = std::mem::replace(
            &mut self.path,
            vec!["$evaluators".to_owned(), name.into_owned()],
        );
        self.is_shared = true;
        let found = self.expression(rule, false);
        self.is_shared = false;
        self.path = here;
        found
    }

    fn variable(&mut self, operands: &Operands<'_, 't>) -> Read<Expression> {
        let (name, or) = match &operands.parts[..] {
            [] => ("\"\"", None),
            [name] => (*name, None),
            [name, or] => (*name, Some(*or)),
            _ => return Err(self.fault(operands.raw, "var has a name and a value besides")),
        };
        let path = match json::as_str(name) {
            Some(path) => path.into_owned(),
            // Elements of arrays are numbered.
            None if name.parse::<u32>().is_ok() => name.to_owned(),
            None => {
                let mut fault = self.fault(name, "the name of an attribute must be written out");
                fault.help = Some("write a text, such as {\"var\": \"tenant\"}".to_owned());
                return Err(fault);
            }
        };
        let or = match or {
            None => None,
            Some(or) => {
                let scoped = operands.scoped;
                Some(Box::new(
                    self.at("1", |parser| parser.expression(or, scoped))?,
                ))
            }
        };
        if operands.scoped {
            let steps = path.split('.').filter(|step| !step.is_empty());
            return Ok(Expression::Element(steps.map(Into::into).collect(), or));
        }
        Ok(Expression::Attribute(self.attribute(&path, name)?, or))
    }

    fn attribute(&mut self, path: &str, raw: &str) -> Read<Attribute> {
        if path.is_empty() {
            let mut fault = self.fault(raw, "it names no attribute");
            fault.help = Some("write the name of one, such as {\"var\": \"tenant\"}".to_owned());
            return Err(fault);
        }
        let attribute = Attribute::named(path);
        self.depends.note(&attribute);
        if matches!(attribute, Attribute::Other(_)) {
            self.unknown.insert(path.to_owned());
        }
        Ok(attribute)
    }

    fn names(&mut self, parts: &[&'t str], operands: &Operands<'_, 't>) -> Read<Names> {
        if operands.scoped {
            let message = format!("{} can't be asked of an element", operands.name);
            return Err(self.fault(operands.raw, message));
        }
        let name = |raw: &&'t str| {
            self.parts += 1;
            let name = json::as_str(raw)
                .ok_or_else(|| self.fault(raw, "names of attributes must be written out"))?;
            let attribute = self.attribute(&name, raw)?;
            Ok((name.into(), attribute))
        };
        parts.iter().map(name).collect()
    }

    fn missing_some(&mut self, operands: &Operands<'_, 't>) -> Read<Expression> {
        let wrong = "missing_some has a number and an array of names";
        let [count, names] = &operands.parts[..] else {
            return Err(self.fault(operands.raw, wrong));
        };
        let (Ok(count), Some(names)) = (count.parse(), json::elements(names)) else {
            return Err(self.fault(operands.raw, wrong));
        };
        Ok(Expression::MissingSome(
            count,
            self.names(&names, operands)?,
        ))
    }

    fn comparison(
        &mut self,
        comparison: Comparison,
        operands: &Operands<'_, 't>,
    ) -> Read<Expression> {
        let parts = self.some(operands, 2)?;
        if parts.len() > 3 {
            let message = format!("\"{}\" has two or three operands", operands.name);
            return Err(self.fault(operands.raw, message));
        }
        Ok(Expression::Compare(comparison, parts))
    }

    fn each(&mut self, quantifier: Quantifier, operands: &Operands<'_, 't>) -> Read<Expression> {
        let [list, test] = &operands.parts[..] else {
            let message = format!("\"{}\" has a list and a rule", operands.name);
            return Err(self.fault(operands.raw, message));
        };
        let scoped = operands.scoped;
        let list = self.at("0", |parser| parser.expression(list, scoped))?;
        let test = self.at("1", |parser| parser.expression(test, true))?;
        Ok(Expression::Each(quantifier, Box::new([list, test])))
    }

    fn one(&mut self, operands: &Operands<'_, 't>) -> Read<Box<Expression>> {
        let [part]: [Expression; 1] = *self.exactly(operands)?;
        Ok(Box::new(part))
    }

    fn exactly<const N: usize>(
        &mut self,
        operands: &Operands<'_, 't>,
    ) -> Read<Box<[Expression; N]>> {
        let parts = self.some(operands, 0)?;
        <Box<[Expression; N]>>::try_from(parts).map_err(|parts| {
            let (name, found) = (operands.name, parts.len());
            self.fault(
                operands.raw,
                format!(
                    "\"{name}\" has {N} operand{}, not {found}",
                    if N == 1 { "" } else { "s" }
                ),
            )
        })
    }

    /// All operands, at least so many.
    fn some(&mut self, operands: &Operands<'_, 't>, least: usize) -> Read<Box<[Expression]>> {
        if operands.parts.len() < least {
            let name = operands.name;
            let message = format!("\"{name}\" has too few operands: it needs {least}");
            return Err(self.fault(operands.raw, message));
        }
        if operands.is_list {
            return self.all(&operands.parts, operands.scoped);
        }
        let parts = operands.parts.iter();
        parts
            .map(|raw| self.expression(raw, operands.scoped))
            .collect()
    }

    fn fractional(&mut self, operands: &Operands<'_, 't>) -> Read<Expression> {
        let (by, buckets) = match operands.parts.split_first() {
            Some((first, rest)) if operands.is_list && !first.starts_with('[') => {
                let scoped = operands.scoped;
                let by = self.at("0", |parser| parser.expression(first, scoped))?;
                (Some(Box::new(by)), rest)
            }
            _ => (None, &operands.parts[..]),
        };
        if by.is_none() || matches!(by.as_deref(), Some(Expression::Literal(Json::Null))) {
            self.depends.identity = true;
        } else {
            // What is no text leaves it to the caller.
            self.depends.identity |= !matches!(by.as_deref(), Some(Expression::Cat(_)));
        }
        if buckets.is_empty() || !operands.is_list {
            let mut fault = self.fault(operands.raw, "fractional has no shares");
            fault.help = Some("write some, such as [\"on\", 10], [\"off\", 90]".to_owned());
            return Err(fault);
        }
        let first = usize::from(by.is_some());
        let numbered = buckets.iter().enumerate();
        let buckets = numbered
            .map(|(at, raw)| {
                self.at((at + first).to_string(), |parser| {
                    parser.bucket(raw, operands.scoped)
                })
            })
            .collect::<Read<Box<[_]>>>()?;
        let written = |bucket: &Bucket| match &bucket.weight {
            None => 1,
            Some(weight) => weight
                .literal_number()
                .and_then(weight_of)
                .unwrap_or_default(),
        };
        let sum: u64 = buckets.iter().map(written).sum();
        if sum > MOST_WEIGHT {
            let message = format!("the weights are {sum} together, more than {MOST_WEIGHT}");
            return Err(self.fault(operands.raw, message));
        }
        Ok(Expression::Fractional { by, buckets })
    }

    fn bucket(&mut self, raw: &'t str, scoped: bool) -> Read<Bucket> {
        let parts = json::elements(raw).unwrap_or_default();
        let (variant, weight) = match &parts[..] {
            [variant] => (*variant, None),
            [variant, weight] => (*variant, Some(*weight)),
            _ => {
                let message = "a share is an array of a variant and a weight";
                return Err(self.fault(raw, message));
            }
        };
        let variant = self.at("0", |parser| parser.expression(variant, scoped))?;
        let Some(raw) = weight else {
            return Ok(Bucket {
                variant,
                weight: None,
            });
        };
        self.at("1", |parser| {
            let weight = parser.expression(raw, scoped)?;
            let number = weight.literal_number();
            let is_wrong = weight.is_literal() && raw != "null";
            if is_wrong && number.and_then(weight_of).is_none() {
                let message = format!("a weight is a whole number of at most {MOST_WEIGHT}");
                return Err(parser.fault(raw, message));
            }
            Ok(Bucket {
                variant,
                weight: Some(weight),
            })
        })
    }
}

/// An operation with what it is done to.
struct Operands<'n, 't> {
    name: &'n str,
    /// All of it, as text.
    raw: &'t str,
    parts: Vec<&'t str>,
    /// Whether it is an array; `JsonLogic` allows one operand to stand alone.
    is_list: bool,
    scoped: bool,
}
