use std::{borrow::Cow, collections::HashSet};

use serde_json::value::RawValue;

use super::{
    depth::TooDeep,
    edit::Edit,
    outline::Outline,
    scan::{Fault, Scanner},
};

/// From how many members on duplicates are looked for in a set instead of by comparing all pairs.
const LINEAR_LIMIT: usize = 16;

/// One member of an [`Object`].
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The key, unescaped.
    pub key: Cow<'a, str>,
    /// The text of the value, as it came.
    pub value: &'a str,
}

/// A JSON object that has been read one level deep; the values stay text.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    pub(super) text: &'a str,
    pub(super) members: Vec<Member<'a>>,
}

/// Why a text could not be read as an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The text is JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Arrays and objects nest too deep to be read safely.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    /// A key stands more than once: two readers would see two values.
    #[error("the key \"{0}\" stands more than once in one object")]
    DuplicateKey(String),
}

impl<'a> Object<'a> {
    /// Reads the object in `text`.
    ///
    /// # Errors
    /// [`ObjectError`] for what is not JSON, nests deeper than [`super::MAX_DEPTH`], is not an
    /// object, or has a key twice.
    pub fn parse(text: &'a str) -> Result<Self, ObjectError> {
        Self::read(text, |_, scanner| scanner.value())
    }

    /// Reads a message, and on the way what stands where in its `params`.
    pub(crate) fn parse_outlined(text: &'a str) -> Result<(Self, Outline), ObjectError> {
        let mut outline = Outline::default();
        let object = Self::read(text, |key, scanner| outline.value(key, text, scanner))?;
        Ok((object, outline))
    }

    /// `value` reads the value of a key.
    fn read(
        text: &'a str,
        value: impl FnMut(&str, &mut Scanner<'a>) -> Result<&'a str, Fault>,
    ) -> Result<Self, ObjectError> {
        let members = members(text, value);
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let members = members.map_err(|fault| explain(text, fault))?;
        if let Some(key) = duplicate(&members) {
            return Err(ObjectError::DuplicateKey(key));
        }
        Ok(Self { text, members })
    }

    /// The text of the value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.members
            .iter()
            .find(|member| member.key == key)
            .map(|member| member.value)
    }

    /// The value of `key` where it is a string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(super::as_str)
    }

    /// The value of `key` read as an object; `Ok(None)` where the key is absent.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn get_object(&self, key: &str) -> Result<Option<Object<'a>>, ObjectError> {
        self.get(key).map(Object::parse).transpose()
    }

    /// All members in their order.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// All members in their order, for keeping.
    pub fn into_members(self) -> Vec<Member<'a>> {
        self.members
    }

    /// The text of the whole object.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Starts a changed copy.
    pub fn edit(&self) -> Edit<'_, 'a> {
        Edit::new(self)
    }
}

fn members<'a>(
    text: &'a str,
    mut value: impl FnMut(&str, &mut Scanner<'a>) -> Result<&'a str, Fault>,
) -> Result<Vec<Member<'a>>, Fault> {
    let mut scanner = Scanner::new(text);
    scanner.enter(b'{')?;
    let mut members = Vec::with_capacity(4);
    if !scanner.take(b'}') {
        loop {
            let key = unescaped(scanner.key()?)?;
            let value = value(&key, &mut scanner)?;
            members.push(Member { key, value });
            if !scanner.take(b',') {
                break;
            }
        }
        if !scanner.take(b'}') {
            return Err(Fault::Syntax);
        }
    }
    scanner.end()?;
    Ok(members)
}

/// A key without quotes and escapes. One with a lone surrogate has no meaning to compare by.
fn unescaped(key: &str) -> Result<Cow<'_, str>, Fault> {
    super::as_str(key).ok_or(Fault::Syntax)
}

/// What is wrong with a text that is not an object, in words. Costs a second reading, which only
/// a refused message pays for.
fn explain(text: &str, fault: Fault) -> ObjectError {
    if fault == Fault::TooDeep {
        return TooDeep.into();
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) if text.starts_with('{') => {
            ObjectError::Syntax("a key holds a lone surrogate".into())
        }
        Ok(_) => ObjectError::NotAnObject,
        Err(error) => ObjectError::Syntax(error.to_string()),
    }
}

pub(super) fn duplicate(members: &[Member<'_>]) -> Option<String> {
    if members.len() <= LINEAR_LIMIT {
        return members.iter().enumerate().find_map(|(at, member)| {
            members[..at]
                .iter()
                .any(|other| other.key == member.key)
                .then(|| cut(&member.key))
        });
    }
    let mut seen = HashSet::with_capacity(members.len());
    members
        .iter()
        .find(|member| !seen.insert(&member.key))
        .map(|member| cut(&member.key))
}

/// A key as it may stand in an error: it comes from the sender, so only its beginning.
fn cut(key: &str) -> String {
    key.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_came() {
        let big = "9".repeat(400);
        let text = format!(r#" {{ "a" : {big} , "b":[1 , 2.50e+1], "ü":"\ud800" }} "#);
        let object = Object::parse(&text).unwrap();
        assert_eq!(object.get("a"), Some(big.as_str()));
        assert_eq!(object.get("b"), Some("[1 , 2.50e+1]"));
        assert_eq!(object.get("ü"), Some(r#""\ud800""#));
        assert_eq!(object.get_str("ü"), None, "a lone surrogate has no text");
    }

    #[test]
    fn escaped_keys_and_strings_compare_by_meaning() {
        let object = Object::parse(r#"{"m\u0065thod":"tools\/call"}"#).unwrap();
        assert_eq!(object.get_str("method").unwrap(), "tools/call");
    }

    #[test]
    fn a_key_twice_is_refused_also_when_escaped() {
        for text in [r#"{"id":1,"id":2}"#, r#"{"id":1,"\u0069d":2}"#] {
            assert_eq!(
                Object::parse(text).unwrap_err(),
                ObjectError::DuplicateKey("id".into()),
                "{text}"
            );
        }
        let many: Vec<String> = (0..40).map(|n| format!("\"k{}\":0", n % 39)).collect();
        let text = format!("{{{}}}", many.join(","));
        assert_eq!(
            Object::parse(&text).unwrap_err(),
            ObjectError::DuplicateKey("k0".into())
        );
    }

    #[test]
    fn what_is_not_an_object_is_told_from_what_is_not_json() {
        assert_eq!(Object::parse("[1]").unwrap_err(), ObjectError::NotAnObject);
        assert_eq!(
            Object::parse("\"x\"").unwrap_err(),
            ObjectError::NotAnObject
        );
        for text in [
            "",
            "{",
            "{\"a\":}",
            "{\"a\":1}}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\0\"}",
            "\0{}",
            "nul",
        ] {
            assert!(
                matches!(Object::parse(text), Err(ObjectError::Syntax(_))),
                "{text:?}"
            );
        }
    }
}
