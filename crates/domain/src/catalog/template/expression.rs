//! The parts of a template (RFC 6570, section 2).

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Text, as it stands in what the template expands to.
    Literal(Box<[u8]>),
    /// `{…}`
    Expression(Expression),
}

/// An expression: an operator and variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub operator: Operator,
    pub variables: Vec<Variable>,
}

/// What the operator of an expression says (RFC 6570, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    /// What the first value begins with.
    pub first: Option<u8>,
    /// What stands between values.
    pub separator: u8,
    /// Whether values come with the name of their variable.
    pub is_named: bool,
    /// Whether an empty value has no `=` after its name.
    pub drops_equals: bool,
    /// Whether reserved characters stand as they are.
    pub is_reserved: bool,
}

/// A variable of an expression. How much of its value is taken (`{x:3}`) is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub name: Box<[u8]>,
    /// `*`: the members of a list or map stand for themselves.
    pub is_exploded: bool,
}

/// The most variables of a template: it bounds what a comparison takes.
const MOST_VARIABLES: usize = 64;

const SIMPLE: Operator = Operator {
    first: None,
    separator: b',',
    is_named: false,
    drops_equals: false,
    is_reserved: false,
};

impl Operator {
    /// The operator that an expression begins with; `None` for those that are reserved.
    fn of(first: u8) -> Option<Self> {
        let with = |sign| Self {
            first: Some(sign),
            separator: sign,
            ..SIMPLE
        };
        Some(match first {
            b'+' => Self {
                is_reserved: true,
                ..SIMPLE
            },
            b'#' => Self {
                first: Some(b'#'),
                is_reserved: true,
                ..SIMPLE
            },
            b'.' | b'/' => with(first),
            b';' => Self {
                is_named: true,
                drops_equals: true,
                ..with(b';')
            },
            b'&' => Self {
                is_named: true,
                ..with(b'&')
            },
            b'?' => Self {
                first: Some(b'?'),
                is_named: true,
                ..with(b'&')
            },
            _ => return None,
        })
    }
}

/// Reads a template; `None` where it is not valid, or has too many variables.
pub(super) fn parse(template: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut variables = 0;
    let mut rest = template;
    while !rest.is_empty() {
        let (literal, expression) = rest.split_once('{').unwrap_or((rest, ""));
        let is_open = literal.len() < rest.len();
        if literal.contains('}') {
            return None;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(encoded(literal)));
        }
        if !is_open {
            break;
        }
        let (expression, after) = expression.split_once('}')?;
        let expression = Expression::parse(expression)?;
        variables += expression.variables.len();
        if variables > MOST_VARIABLES {
            return None;
        }
        parts.push(Part::Expression(expression));
        rest = after;
    }
    Some(parts)
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let first = *text.as_bytes().first()?;
        let (operator, list) = if is_of_name(first) && first != b'.' {
            (SIMPLE, text)
        } else {
            (Operator::of(first)?, text.get(1..)?)
        };
        let variables: Option<Vec<_>> = list.split(',').map(Variable::parse).collect();
        Some(Self {
            operator,
            variables: variables?,
        })
    }
}

impl Variable {
    fn parse(text: &str) -> Option<Self> {
        let (name, is_exploded) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = match name.split_once(':') {
            Some(_) if is_exploded => return None,
            Some((name, length)) => {
                let is_length = (1..=4).contains(&length.len())
                    && length.bytes().all(|byte| byte.is_ascii_digit())
                    && !length.starts_with('0');
                is_length.then_some(name)?
            }
            None => name,
        };
        (!name.is_empty() && name.bytes().all(is_of_name)).then(|| Self {
            name: name.as_bytes().into(),
            is_exploded,
        })
    }
}

/// What names of variables consist of. The RFC knows no `-`, but servers do.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'%')
}

/// A literal as it is expanded: what no URI has is encoded (RFC 6570, section 3.1).
fn encoded(literal: &str) -> Box<[u8]> {
    let bytes = literal.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().copied().enumerate() {
        if is_unreserved(byte) || is_reserved(byte) || is_triplet(&bytes[at..]) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out.into()
}

/// RFC 3986, section 2.3.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, section 2.2.
pub(super) fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

/// Whether `bytes` begin with a percent-encoded byte.
pub(super) fn is_triplet(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}
