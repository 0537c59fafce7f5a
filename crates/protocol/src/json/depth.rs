use memchr::memchr2;

/// How deep arrays and objects may nest. Deeper messages are refused: every JSON reader behind
/// the gateway that recurses would overflow its stack at some depth.
pub const MAX_DEPTH: usize = 128;

/// A message nests deeper than [`MAX_DEPTH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("arrays and objects nest deeper than {MAX_DEPTH} levels")]
pub struct TooDeep;

/// Checks that `text` nests at most [`MAX_DEPTH`] levels.
///
/// It does not check the grammar: text that is not JSON gets whatever answer its brackets give,
/// and is refused by the parser that follows.
pub fn check_depth(text: &str) -> Result<(), TooDeep> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The position behind the string whose content starts at `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn the_limit_is_inclusive() {
        assert_eq!(check_depth(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check_depth(&nested(MAX_DEPTH + 1)), Err(TooDeep));
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        let text = format!(
            r#"{{"a":"{}","b":"\"{}"}}"#,
            "[".repeat(500),
            "{".repeat(500)
        );
        assert_eq!(check_depth(&text), Ok(()));
    }

    #[test]
    fn a_million_levels_do_not_overflow_the_stack() {
        assert_eq!(check_depth(&"[".repeat(1_000_000)), Err(TooDeep));
    }

    #[test]
    fn an_unfinished_string_ends_the_scan() {
        assert_eq!(check_depth(r#"{"a":"\"#), Ok(()));
    }
}
