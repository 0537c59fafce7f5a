use std::borrow::Cow;

use super::scan::Scanner;

/// The members of the object that `text` is the beginning of, as far as they are there: the last
/// one, which breaks off, is without its value. `None` where no object begins.
pub(crate) fn beginning(text: &str) -> Option<Vec<(Cow<'_, str>, Option<&str>)>> {
    let mut scanner = Scanner::new(text);
    scanner.enter(b'{').ok()?;
    let mut members = Vec::new();
    while let Ok(key) = scanner.key() {
        let Some(key) = super::as_str(key) else { break };
        // A number at the very end may go on.
        let value = scanner.value().ok().filter(|_| scanner.peek().is_some());
        members.push((key, value));
        if value.is_none() || !scanner.take(b',') {
            break;
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_read_and_what_breaks_off_is_named() {
        let whole = r#" {"a":1, "b\u0063":[{}], "d":"long text"#;
        let read = beginning(whole).unwrap();
        let read: Vec<_> = read.iter().map(|(key, value)| (&**key, *value)).collect();
        assert_eq!(read, [("a", Some("1")), ("bc", Some("[{}]")), ("d", None)]);
        for end in 0..whole.len() {
            let members = beginning(&whole[..end]).unwrap_or_default();
            assert!(
                members
                    .iter()
                    .all(|(_, value)| value.is_none_or(|text| text != "["))
            );
        }
        assert_eq!(beginning(r#"{"id":12"#).unwrap(), [("id".into(), None)]);
        assert_eq!(beginning("{").unwrap(), []);
        assert!(beginning("[{").is_none());
        assert!(beginning("log line").is_none());
    }
}
