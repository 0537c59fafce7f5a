//! The normal form of a URI is its own, and one of the same scheme.

use std::borrow::Cow;

use mcp_ultra_protocol::uri::normal;

/// The property.
pub fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = normal(&text);
    assert_eq!(normal(&once), once);
    // What is normal is left as it is, byte by byte.
    if let Cow::Borrowed(same) = &once {
        assert_eq!(*same, text);
    }
    assert!(once.is_ascii());
    let path = once.split(['?', '#']).next().unwrap_or_default();
    // A host may have any name, and `/.` in front of a path keeps it from being read as one.
    let path = path.split_once("//").map_or(path, |(_, behind)| behind);
    assert!(
        !path
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "." | ".."))
    );
    if let Some((scheme, _)) = text.split_once(':')
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        assert!(once.starts_with(&format!("{}:", scheme.to_ascii_lowercase())));
    }
}
