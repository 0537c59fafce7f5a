//! Public names lead back to their upstream's own, and never to another upstream.
//!
//! The input is two prefixes and a name, separated by [`crate::SEPARATOR`].

use mcp_ultra_protocol::names::Naming;

/// The property.
pub fn holds(data: &[u8]) {
    let mut parts = crate::parts(data);
    let (first, second) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let name = parts.next().unwrap_or_default();
    let naming = Naming::prefixed(first);
    for naming in naming.iter().chain([&Naming::identity()]) {
        assert_eq!(naming.original_name(&naming.public_name(name)), Some(name));
        assert_eq!(naming.original_uri(&naming.public_uri(name)), Some(name));
        // A name that someone sends leads nowhere, or back to itself.
        if let Some(original) = naming.original_name(name) {
            assert_eq!(naming.public_name(original), name);
        }
        if let Some(original) = naming.original_uri(name) {
            assert_eq!(naming.public_uri(original), name);
        }
    }
    if let (Ok(a), Ok(b)) = (&naming, Naming::prefixed(second))
        && first != second
    {
        assert_eq!(b.original_name(&a.public_name(name)), None);
        assert_eq!(b.original_uri(&a.public_uri(name)), None);
    }
    if let Ok(naming) = &naming {
        let uri = naming.public_uri(name);
        let scheme = uri.split(':').next().unwrap_or_default();
        let own = name.split(':').next().unwrap_or_default();
        assert_eq!(is_scheme(scheme), own.bytes().all(in_scheme));
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(in_scheme)
}

fn in_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}
