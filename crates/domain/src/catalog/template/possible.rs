//! What a server may take for an expansion of a template that is less strict than the RFC.
//!
//! Servers let `{path}` have slashes, decode a URI before they compare it, or put it into a normal
//! form (WHATWG URL: lower case, no `.` and `..`, no line breaks). So here variables are any text,
//! and literals are compared in such a form.

use memchr::memmem;

use super::expression::is_triplet;

/// The literals of a template, in their order.
#[derive(Debug, Clone)]
pub(super) struct Loose {
    /// What it begins with.
    first: Box<[u8]>,
    /// What comes after each expression.
    others: Vec<Box<[u8]>>,
}

impl Loose {
    /// Of what is not a valid template, only its beginning counts.
    pub(super) fn new(template: &str, is_valid: bool) -> Self {
        let mut pieces = template.split(['{', '}']);
        let first = simplified(pieces.next().unwrap_or_default().as_bytes());
        let others = if is_valid {
            // Expressions and literals take turns.
            let literals = pieces.skip(1).step_by(2);
            literals
                .map(|literal| simplified(literal.as_bytes()).into())
                .collect()
        } else {
            vec![Box::default()]
        };
        Self {
            first: first.into(),
            others,
        }
    }

    /// How many bytes a comparison looks at.
    pub(super) fn cost(&self, spellings: &[Vec<u8>]) -> usize {
        let lengths = spellings.iter().map(Vec::len);
        let longest = lengths.max().unwrap_or_default();
        1 + spellings
            .iter()
            .filter(|spelling| spelling.starts_with(&self.first))
            .map(|_| longest + self.others.len())
            .sum::<usize>()
    }
}

/// Whether any spelling of a URI has the literals in their order.
pub(super) fn may_be(template: &Loose, spellings: &[Vec<u8>]) -> bool {
    spellings.iter().any(|spelling| has(template, spelling))
}

fn has(template: &Loose, uri: &[u8]) -> bool {
    let Some(mut rest) = uri.strip_prefix(&*template.first) else {
        return false;
    };
    let Some((last, between)) = template.others.split_last() else {
        return rest.is_empty();
    };
    for literal in between {
        let Some(at) = memmem::find(rest, literal) else {
            return false;
        };
        rest = &rest[at + literal.len()..];
    }
    rest.ends_with(last)
}

/// The forms in which servers may compare a URI: also without what a server may not look at.
pub(super) fn spellings(uri: &str) -> Vec<Vec<u8>> {
    let simple = simplified(uri.as_bytes());
    let end = memchr::memchr2(b'?', b'#', &simple).unwrap_or(simple.len());
    let cut = simple[..end].trim_ascii_end();
    let mut all = Vec::with_capacity(2);
    if cut.len() < simple.len() {
        all.push(cut.to_vec());
    }
    all.push(simple);
    let dotless: Vec<_> = all
        .iter()
        .filter(|spelling| memmem::find(spelling, b"/.").is_some())
        .map(|spelling| without_dots(spelling))
        .collect();
    all.extend(dotless);
    all
}

/// Percent-encoding is resolved, letters are lower case, `\` is `/`, and what parsers of URLs
/// skip is left out.
fn simplified(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let byte = if is_triplet(&text[at..]) {
            let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default();
            let value = digit(text[at + 1]) * 16 + digit(text[at + 2]);
            at += 3;
            u8::try_from(value).unwrap_or_default()
        } else {
            at += 1;
            text[at - 1]
        };
        match byte {
            b'\t' | b'\r' | b'\n' => {}
            b'\\' => out.push(b'/'),
            other => out.push(other.to_ascii_lowercase()),
        }
    }
    out
}

/// Without the segments `.` and `..` (RFC 3986, section 5.2.4), after the authority.
fn without_dots(uri: &[u8]) -> Vec<u8> {
    let start = memmem::find(uri, b"://").map_or(0, |at| at + 3);
    let start = memchr::memchr(b'/', &uri[start..]).map_or(uri.len(), |at| start + at);
    let (head, path) = uri.split_at(start);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut is_open = false;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        is_open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    if is_open {
        segments.push(b"");
    }
    let mut out = head.to_vec();
    for segment in segments {
        out.push(b'/');
        out.extend(segment);
    }
    out
}
