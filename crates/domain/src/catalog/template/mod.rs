//! URI templates (RFC 6570) read backwards: which resources belong to which templates.
//!
//! [`Template`] is one that a server has listed. [`expansion`] finds what it expands to by the
//! letter of the RFC, [`possible`] what some server may take for it; [`templates_of`] sorts the
//! templates of a server by both for one URI.

mod expansion;
mod expression;
mod possible;

use bytestring::ByteString;

use self::{
    expansion::is_expansion,
    expression::Part,
    possible::{Loose, may_be},
};

/// The longest template and the longest URI, in bytes, that are compared by the RFC.
const LONGEST: usize = 8 * 1024;
/// How much may be compared for one URI, in bytes that are looked at. What it does not suffice for
/// is taken for possible.
const MOST_WORK: usize = 4 << 20;

/// The templates that a resource is of, under their public names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates {
    /// Those that expand to its URI (RFC 6570).
    pub exact: Vec<ByteString>,
    /// Those that do not, but that a server may find for it that is less strict. What policies
    /// permit has to be permitted without them and with them.
    pub possible: Vec<ByteString>,
}

impl Templates {
    /// Whether it is of none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.possible.is_empty()
    }
}

/// A listed template, read once.
#[derive(Debug, Clone)]
pub(super) struct Template {
    public: ByteString,
    /// `None` where it is not a valid template.
    parts: Option<Vec<Part>>,
    loose: Loose,
}

impl Template {
    pub(super) fn new(public: ByteString) -> Self {
        let parts = (public.len() <= LONGEST)
            .then(|| expression::parse(&public))
            .flatten();
        Self {
            loose: Loose::new(&public, parts.is_some()),
            parts,
            public,
        }
    }
}

/// Sorts `templates` by whether `uri` is of them.
pub(super) fn templates_of(templates: &[Template], uri: &str) -> Templates {
    let mut found = Templates::default();
    let spellings = possible::spellings(uri);
    let mut work = MOST_WORK;
    for template in templates {
        let cost = template.loose.cost(&spellings);
        if work < cost {
            found.possible.push(template.public.clone());
            continue;
        }
        work -= cost;
        if !may_be(&template.loose, &spellings) {
            continue;
        }
        let exact = template.parts.as_ref().filter(|_| uri.len() <= LONGEST);
        let cost = exact.map_or(0, |parts| expansion::cost(parts, uri));
        let exact = exact.filter(|_| cost <= work);
        work = work.saturating_sub(cost);
        if exact.is_some_and(|parts| is_expansion(parts, uri)) {
            found.exact.push(template.public.clone());
        } else {
            found.possible.push(template.public.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests;
