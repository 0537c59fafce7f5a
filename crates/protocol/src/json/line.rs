use bytestring::ByteString;
use memchr::memchr2;

/// `text` without raw CR and LF.
///
/// Valid JSON holds them only between tokens, so the meaning does not change. On a stdio line or
/// in an SSE `data:` field a raw line break would end the message and start a second one of the
/// sender's choosing. Text without any is returned as it is, without a copy.
pub fn to_line(text: &ByteString) -> ByteString {
    if memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
        return text.clone();
    }
    text.chars()
        .filter(|c| !matches!(c, '\r' | '\n'))
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_line_breaks_between_tokens_go() {
        let text = ByteString::from("{\r\n \"a\": 1,\n\"b\":\"\\n\"}\n");
        assert_eq!(to_line(&text), "{ \"a\": 1,\"b\":\"\\n\"}");
    }

    #[test]
    fn text_without_line_breaks_is_not_copied() {
        let text = ByteString::from("{\"a\":1}");
        assert_eq!(to_line(&text).as_ptr(), text.as_ptr());
    }
}
