//! Spellings of URIs: which of them mean the same by RFC 3986.
//!
//! [`normal`] is syntax-based normalization (section 6.2.2): the case of scheme and host, percent
//! encoding, `.` and `..`. Servers put URIs into such a form before they look at them, so who
//! decides by a URI has to look at it too. What is no URI gets what parsers of URLs make of it
//! (WHATWG URL): line breaks and outer blanks are left out, `\` is `/`, and what may not stand in a
//! URI is encoded.

use std::borrow::Cow;

/// The normal form of a URI, borrowed where it has that form already. That of a normal form is
/// itself.
pub fn normal(uri: &str) -> Cow<'_, str> {
    if is_normal(uri) {
        return Cow::Borrowed(uri);
    }
    let text = encoded(uri);
    let (scheme, rest) = split_scheme(&text);
    let mut out = String::with_capacity(text.len());
    if let Some(scheme) = scheme {
        out.extend(scheme.chars().map(|letter| letter.to_ascii_lowercase()));
        out.push(':');
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (hierarchy, tail) = rest.split_at(end);
    let path = match hierarchy.strip_prefix("//") {
        None => hierarchy,
        Some(behind) => {
            let end = behind.find('/').unwrap_or(behind.len());
            let (authority, path) = behind.split_at(end);
            out.push_str("//");
            lower_host(authority, &mut out);
            out.push_str(&without_dots(path));
            out.push_str(tail);
            return out.into();
        }
    };
    let path = without_dots(path);
    // What begins like this would be read as something else: see RFC 3986, section 4.2.
    if path.starts_with("//") {
        out.push_str("/.");
    } else if scheme.is_none() && split_scheme(&path).0.is_some() {
        out.push_str("./");
    }
    out.push_str(&path);
    out.push_str(tail);
    out.into()
}

/// `false` for some that are normal, and `true` for none that is not: for most of them, this is all
/// that is done.
fn is_normal(uri: &str) -> bool {
    let bytes = uri.as_bytes();
    let mut colons = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let is_fine = match byte {
            b'%' => triplet(&bytes[at..])
                .is_some_and(|(value, is_upper)| is_upper && !is_unreserved(value)),
            b'.' => at > 0 && !matches!(bytes[at - 1], b'/' | b':'),
            b':' => {
                colons += 1;
                true
            }
            other => is_of_uris(*other),
        };
        if !is_fine {
            return false;
        }
    }
    let (scheme, rest) = split_scheme(uri);
    let has_upper = |text: &str| text.bytes().any(|byte| byte.is_ascii_uppercase());
    let Some(scheme) = scheme else {
        return colons == 0 && !rest.starts_with("//");
    };
    if has_upper(scheme) {
        return false;
    }
    let Some(behind) = rest.strip_prefix("//") else {
        return true;
    };
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    !has_upper(&behind[..end])
}

/// What may stand in a URI, with percent encoding in its one form (section 6.2.2.1 and 6.2.2.2).
fn encoded(uri: &str) -> String {
    let outer = |c: char| c <= ' ';
    let cleaned: Vec<u8> = uri
        .trim_matches(outer)
        .bytes()
        .filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n'))
        .map(|byte| if byte == b'\\' { b'/' } else { byte })
        .collect();
    let mut out = String::with_capacity(cleaned.len());
    let mut at = 0;
    while at < cleaned.len() {
        let byte = cleaned[at];
        at += 1;
        if byte == b'%' {
            // What is no encoding is a character like others.
            let decoded = triplet(&cleaned[at - 1..]).map(|(value, _)| value);
            at += decoded.map_or(0, |_| 2);
            match decoded {
                Some(value) if is_unreserved(value) => out.push(value.into()),
                value => encode(value.unwrap_or(b'%'), &mut out),
            }
        } else if is_of_uris(byte) {
            out.push(byte.into());
        } else {
            encode(byte, &mut out);
        }
    }
    out
}

fn encode(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)].into());
    out.push(DIGITS[usize::from(byte & 15)].into());
}

/// The byte that `%` and two digits at the beginning stand for, and whether its digits have no
/// small letters.
fn triplet(text: &[u8]) -> Option<(u8, bool)> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digit(high)? * 16 + digit(low)?;
    let is_upper = ![high, low].iter().any(|digit| digit.is_ascii_lowercase());
    Some((u8::try_from(value).ok()?, is_upper))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Besides `%`.
fn is_of_uris(byte: u8) -> bool {
    is_unreserved(byte) || b":/?#[]@!$&'()*+,;=".contains(&byte)
}

/// The scheme (section 3.1) without its colon, and what comes after that.
fn split_scheme(uri: &str) -> (Option<&str>, &str) {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    match uri.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        _ => (None, uri),
    }
}

/// The authority with its host in small letters. Digits of percent encoding stay as they are.
fn lower_host(authority: &str, out: &mut String) {
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    let (user, host) = authority.split_at(host);
    out.push_str(user);
    let mut digits = 0;
    for letter in host.chars() {
        if digits > 0 {
            digits -= 1;
            out.push(letter);
        } else {
            if letter == '%' {
                digits = 2;
            }
            out.push(letter.to_ascii_lowercase());
        }
    }
}

/// The path without the segments `.` and `..` (section 5.2.4). What does not begin with a slash
/// does not begin with one afterwards, unless with an empty segment.
fn without_dots(path: &str) -> String {
    let (root, segments) = match path.strip_prefix('/') {
        Some(rest) => ("/", rest),
        None => ("", path),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut is_open = false;
    for segment in segments.split('/') {
        is_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    if is_open && !kept.is_empty() {
        kept.push("");
    }
    format!("{root}{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_uri_have_one_normal_form() {
        for (uri, expected) in [
            ("DB://Customers/Rows/1", "db://customers/Rows/1"),
            ("http://Ana@Host:80/A", "http://Ana@host:80/A"),
            ("db://%41%c3%a9/%7Ea%2f", "db://a%C3%A9/~a%2F"),
            ("file:///x/../y/./z/..", "file:///y/"),
            ("file:///x/%2E%2e/y", "file:///y"),
            ("file:///../y", "file:///y"),
            ("file:///x/..", "file:///"),
            ("db://a/b//../c", "db://a/b/c"),
            ("urn:a/../b", "urn:b"),
            ("a/../b", "b"),
            ("file:\\\\\\x\\..\\y", "file:///y"),
            (" fi\nle:///a\tb ", "file:///ab"),
            ("db://a/jos\u{e9} x", "db://a/jos%C3%A9%20x"),
            ("db://a/100%/%zz", "db://a/100%25/%25zz"),
            ("db://a/%%341", "db://a/%2541"),
            ("db://a?x=/../y#/./", "db://a?x=/../y#/./"),
            // What would be read as a host or as a scheme is not made.
            ("x:a/..///b", "x:/.//b"),
            ("a/../B:c", "./B:c"),
        ] {
            assert_eq!(normal(uri), expected, "{uri:?}");
        }
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        for uri in [
            "",
            "note://x",
            "fix+file:///C:/a.b/%20c?q=A#F",
            "urn:isbn:1",
            "db://[::1]:80/A",
        ] {
            assert!(
                matches!(normal(uri), Cow::Borrowed(same) if same == uri),
                "{uri}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(uri in "([A-Za-z+]{0,3}:)?(/{0,3}[aA.%~\\\\ 24eE?#@:\u{e9}\\t]{0,4}){0,6}") {
            let once = normal(&uri).into_owned();
            prop_assert_eq!(normal(&once), &*once);
        }
    }
}
