//! What a template expands to (RFC 6570, section 3).
//!
//! The places in the URI that the parts so far may end at are carried from part to part, so that
//! the time is that of the URI for each variable and each literal, whatever either consists of.

use super::expression::{Expression, Part, Variable, is_reserved, is_triplet, is_unreserved};

/// For each place in a URI, whether what has been read so far may end there.
type Places = Vec<bool>;

/// Whether `uri` is an expansion of the template that consists of `parts`.
pub(super) fn is_expansion(parts: &[Part], uri: &str) -> bool {
    let uri = uri.as_bytes();
    let mut places = vec![false; uri.len() + 1];
    places[0] = true;
    for part in parts {
        places = match part {
            Part::Literal(literal) => after_text(&places, uri, literal),
            Part::Expression(expression) => after_expression(places, uri, expression),
        };
    }
    places[uri.len()]
}

/// How many bytes a comparison looks at.
pub(super) fn cost(parts: &[Part], uri: &str) -> usize {
    let of = |part: &Part| match part {
        Part::Literal(_) => 1,
        Part::Expression(expression) => 4 * expression.variables.len(),
    };
    let rounds: usize = parts.iter().map(of).sum();
    rounds.saturating_mul(uri.len() + 1)
}

fn after_text(places: &Places, uri: &[u8], text: &[u8]) -> Places {
    let mut after = vec![false; places.len()];
    for at in (0..places.len()).filter(|at| places[*at]) {
        if uri[at..].starts_with(text) {
            after[at + text.len()] = true;
        }
    }
    after
}

/// Every variable may be undefined, and so every expression empty.
fn after_expression(before: Places, uri: &[u8], expression: &Expression) -> Places {
    let operator = &expression.operator;
    let mut started: Places = vec![false; before.len()];
    for variable in &expression.variables {
        let first = match operator.first {
            Some(sign) => after_text(&before, uri, &[sign]),
            None => before.clone(),
        };
        let begun = union(first, &after_text(&started, uri, &[operator.separator]));
        let ended = after_variable(begun, uri, expression, variable);
        started = union(started, &ended);
    }
    union(before, &started)
}

fn after_variable(
    begun: Places,
    uri: &[u8],
    expression: &Expression,
    variable: &Variable,
) -> Places {
    let operator = &expression.operator;
    if operator.is_named && !variable.is_exploded {
        let named = after_text(&begun, uri, &variable.name);
        let values = after_text(&named, uri, b"=");
        let ended = run(values, uri, |byte| is_unreserved(byte) || byte == b',');
        return if operator.drops_equals {
            union(ended, &named)
        } else {
            ended
        };
    }
    let between = if variable.is_exploded {
        operator.separator
    } else {
        b','
    };
    run(begun, uri, |byte| {
        is_unreserved(byte)
            || byte == between
            || (variable.is_exploded && byte == b'=')
            || (operator.is_reserved && is_reserved(byte))
    })
}

/// The places that bytes of `class`, and percent-encoded ones, lead on to.
fn run(mut places: Places, uri: &[u8], class: impl Fn(u8) -> bool) -> Places {
    for at in 0..uri.len() {
        if !places[at] {
            continue;
        }
        if class(uri[at]) {
            places[at + 1] = true;
        } else if is_triplet(&uri[at..]) {
            places[at + 3] = true;
        }
    }
    places
}

fn union(mut places: Places, others: &Places) -> Places {
    for (place, other) in places.iter_mut().zip(others) {
        *place |= other;
    }
    places
}
