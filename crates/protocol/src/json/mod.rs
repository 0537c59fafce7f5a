//! Reading and editing JSON text without building a tree of it.
//!
//! Values are checked against the grammar and stay text. What a reader of values as text has to
//! take care of is taken care of here: a bound on nesting ([`MAX_DEPTH`]), refusal of duplicate
//! keys in an object that is read ([`Object::parse`]), comparison of escaped keys by their meaning
//! (`tools\/call`), and removal of raw line breaks before a message goes onto a line of its own
//! ([`to_line`]).

mod array;
mod beginning;
mod depth;
mod edit;
mod line;
mod object;
mod outline;
mod scan;

pub(crate) use array::read_elements;
pub(crate) use beginning::beginning;
pub use depth::{MAX_DEPTH, TooDeep, check_depth};
pub use edit::Edit;
pub use line::to_line;
pub use object::{Member, Object, ObjectError};
pub use outline::Outline;

use std::{borrow::Cow, ops::Range};

/// The text of a JSON string value, unescaped; `None` where `raw` is not a string, or holds a
/// lone surrogate (which has no meaning as text).
pub fn as_str(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// `text` as a JSON string, quoted and escaped.
pub fn quote(text: &str) -> String {
    // A `str` always serialises: `to_string` fails only for maps with odd keys and broken writers.
    serde_json::to_string(text).unwrap_or_else(|_| String::from("\"\""))
}

/// The elements of a JSON array, as text; `None` where `raw` is not an array.
pub fn elements(raw: &str) -> Option<Vec<&str>> {
    read_elements(raw).ok()
}

/// Where `part` stands in `text`; `None` where it is not a slice of it.
pub(crate) fn place(text: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= text.len()).then_some(start..end)
}

/// Whether `raw` is the text of a JSON object.
pub fn is_object(raw: &str) -> bool {
    raw.starts_with('{')
}
