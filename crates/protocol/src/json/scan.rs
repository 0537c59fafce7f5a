use memchr::memchr2;

use super::depth::MAX_DEPTH;

/// Why a text could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON (RFC 8259).
    Syntax,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Reads JSON text from front to back and checks its grammar, without making values of it.
///
/// `serde_json` checks a `RawValue` as strictly, but with the bound on nesting, which it does not
/// know, takes half as long again for many small values and two to four times as long for long
/// strings (`examples/envelope_cost.rs`). Property tests and the fuzz targets hold the two readers
/// against each other.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// How many arrays and objects are open around the value that is read next.
    depth: usize,
    /// Whether a byte below 0x20 stands anywhere in the text. Most texts have none, so that no
    /// string of theirs need be looked through for one.
    has_controls: bool,
}

/// Which containers are open inside a value, innermost in the lowest bit: 1 is an object, 0 an
/// array. A recursion would put as many frames on the stack as the sender likes.
#[derive(Default)]
struct Open {
    kinds: u128,
    count: usize,
}

const _: () = assert!(MAX_DEPTH <= 128, "`Open` has a bit for each level");

impl Open {
    fn push(&mut self, is_object: bool) {
        self.kinds = (self.kinds << 1) | u128::from(is_object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.kinds >>= 1;
        self.count -= 1;
    }

    fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            has_controls: has_controls(text.as_bytes()),
        }
    }

    /// The next byte that is no white space; what comes before it is skipped.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Steps over `wanted` where it comes next.
    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Where the next byte stands that is no white space.
    #[inline]
    pub(super) fn position(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// How far it has read.
    pub(super) fn reached(&self) -> usize {
        self.at
    }

    /// Steps into the array or object that opens with `bracket`.
    pub(super) fn enter(&mut self, bracket: u8) -> Result<(), Fault> {
        self.depth += 1;
        self.take(bracket).then_some(()).ok_or(Fault::Syntax)
    }

    /// Steps out of the array or object that was [entered](Self::enter) last.
    pub(super) fn leave(&mut self, bracket: u8) -> Result<(), Fault> {
        self.depth = self.depth.saturating_sub(1);
        self.take(bracket).then_some(()).ok_or(Fault::Syntax)
    }

    /// Checks that nothing but white space follows.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.peek().map_or(Ok(()), |_| Err(Fault::Syntax))
    }

    /// The text of the value that comes next.
    pub(super) fn value(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        self.text.get(start..self.at).ok_or(Fault::Syntax)
    }

    /// The text of the key that comes next, with its quotes; the colon behind it is stepped over.
    pub(super) fn key(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.at;
        self.skip_string()?;
        let key = self.text.get(start..self.at).ok_or(Fault::Syntax)?;
        self.take(b':').then_some(key).ok_or(Fault::Syntax)
    }

    fn skip_value(&mut self) -> Result<(), Fault> {
        let mut open = Open::default();
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(bracket @ (b'{' | b'[')) => {
                    if self.depth + open.count >= MAX_DEPTH {
                        return Err(Fault::TooDeep);
                    }
                    self.at += 1;
                    open.push(bracket == b'{');
                    // An empty one ends as any other does, below.
                    if !matches!(self.peek(), Some(b'}' | b']')) {
                        self.skip_key(&open)?;
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_literal("true")?,
                Some(b'f') => self.skip_literal("false")?,
                Some(b'n') => self.skip_literal("null")?,
                _ => return Err(Fault::Syntax),
            }
            if self.after_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: closes what ends there, and says whether that was all of it. Otherwise the
    /// next value comes.
    #[inline]
    fn after_value(&mut self, open: &mut Open) -> Result<bool, Fault> {
        while open.count > 0 {
            match (self.peek(), open.in_object()) {
                (Some(b','), _) => {
                    self.at += 1;
                    self.skip_key(open)?;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    open.pop();
                }
                _ => return Err(Fault::Syntax),
            }
        }
        Ok(true)
    }

    /// The key in front of a value, where the innermost container is an object.
    #[inline]
    fn skip_key(&mut self, open: &Open) -> Result<(), Fault> {
        if open.in_object() {
            self.peek();
            self.skip_string()?;
            if !self.take(b':') {
                return Err(Fault::Syntax);
            }
        }
        Ok(())
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return Err(Fault::Syntax);
        }
        let mut at = self.at + 1;
        loop {
            // Most strings are short: eight bytes first, and a search only behind eight plain ones.
            if let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
                let special = special_bytes(*eight);
                if special == 0 {
                    at = self.plain_run(at + eight.len())?;
                } else {
                    at += (special.trailing_zeros() / 8) as usize;
                }
            }
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += escape_length(bytes.get(at + 1..).unwrap_or_default())?,
                Some(0x20..) => at += 1,
                _ => return Err(Fault::Syntax),
            }
        }
        self.at = at + 1;
        Ok(())
    }

    /// Where the string that goes on at `at` ends or escapes.
    fn plain_run(&self, at: usize) -> Result<usize, Fault> {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let found = memchr2(b'"', b'\\', rest).ok_or(Fault::Syntax)?;
        if self.has_controls && has_controls(&rest[..found]) {
            return Err(Fault::Syntax);
        }
        Ok(at + found)
    }

    fn skip_number(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + usize::from(bytes.get(self.at) == Some(&b'-'));
        let whole = digits(bytes, at);
        // A leading zero stands alone.
        if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
            return Err(Fault::Syntax);
        }
        at += whole;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(bytes, at + 1);
            if fraction == 0 {
                return Err(Fault::Syntax);
            }
            at += 1 + fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = digits(bytes, at);
            if exponent == 0 {
                return Err(Fault::Syntax);
            }
            at += exponent;
        }
        self.at = at;
        Ok(())
    }

    fn skip_literal(&mut self, literal: &str) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(literal.as_bytes()) {
            return Err(Fault::Syntax);
        }
        self.at += literal.len();
        Ok(())
    }
}

/// Without a branch inside, so that the compiler compares many bytes at once.
fn has_controls(bytes: &[u8]) -> bool {
    bytes.iter().copied().fold(u8::MAX, u8::min) < 0x20
}

/// Marks the highest bit of the bytes that end a string, escape or are control characters. A byte
/// may be marked wrongly only behind one that is marked rightly: the first mark is right.
fn special_bytes(bytes: [u8; 8]) -> u64 {
    const EVERY: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EVERY * 0x80;
    let word = u64::from_le_bytes(bytes);
    let below = |word: u64, limit: u64| word.wrapping_sub(EVERY * limit) & !word;
    let special = below(word, 0x20)
        | below(word ^ (EVERY * u64::from(b'"')), 1)
        | below(word ^ (EVERY * u64::from(b'\\')), 1);
    special & HIGH
}

/// The length of an escape with its backslash; `rest` is what follows the backslash.
fn escape_length(rest: &[u8]) -> Result<usize, Fault> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(2),
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => {
            Ok(6)
        }
        _ => Err(Fault::Syntax),
    }
}

fn digits(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).map_or(0, |rest| {
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn scan(text: &str) -> Result<&str, Fault> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    /// The scanner and `serde_json` agree on what is JSON, and on where it starts and ends.
    fn agrees(text: &str) {
        let other: Option<&RawValue> = serde_json::from_str(text).ok();
        match scan(text) {
            Err(Fault::TooDeep) => {}
            scanned => assert_eq!(scanned.ok(), other.map(RawValue::get), "{text:?}"),
        }
    }

    #[test]
    fn every_rule_of_the_grammar() {
        for text in [
            "",
            " ",
            "nul",
            "null",
            "nulll",
            " true ",
            "false",
            "truefalse",
            "-",
            "-0",
            "0",
            "00",
            "01",
            "-01",
            "1.",
            ".1",
            "1.5",
            "1e",
            "1e+",
            "1e+7",
            "1E-07",
            "1.e1",
            "+1",
            "0x1",
            "NaN",
            "\"\"",
            "\"",
            "\"\\\"",
            "\"\\\\\"",
            "\"\\q\"",
            "\"\\u12\"",
            "\"\\u12G4\"",
            "\"\\ud800\"",
            "\"\\u00e9\"",
            "\"é世界é世界é\"",
            "\"1234567\n\"",
            "\"\u{1f}\"",
            "\"\u{7f}\"",
            "\"12345678\\n123456789\"",
            "[]",
            "[ ]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1,2]",
            "[}",
            "{]",
            "{}",
            "{ }",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":[{},[],{\"b\":[1,{}]}]}",
            "[[[]]",
            "[]]",
            "[]x",
            "\u{feff}1",
            "\u{a0}1",
            "1\0",
        ] {
            agrees(text);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(scan(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(scan(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep));
        assert_eq!(scan(&"{\"a\":".repeat(1_000_000)), Err(Fault::TooDeep));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_text_that_looks_like_json(
            text in r#"([\[\]{},:]|"[a-z\\"u0é]{0,12}"|\\u[0-9a-f]{4}|-?[0-9.eE+-]{1,4}|true|null|false|[ \n]){0,24}"#
        ) {
            agrees(&text);
        }

        #[test]
        fn agrees_with_serde_json_on_any_string(content in "[ -~\u{0}-\u{20}é世\"\\\\]{0,30}") {
            agrees(&format!("\"{content}\""));
        }

        #[test]
        fn agrees_with_serde_json_on_one_changed_byte(at: prop::sample::Index, byte in 0u8..127) {
            let text = r#"{"a":[1,-2.5e+3,"x\n\u00e9 y",{}],"b" : {"c":null,"d":[true, false]} }"#;
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            agrees(std::str::from_utf8(&bytes).unwrap());
        }
    }
}
