use std::{borrow::Cow, ops::Range};

use super::{
    Member, Object, ObjectError,
    object::duplicate,
    place,
    scan::{Fault, Scanner},
};

/// What stands where in `params` and its `_meta`, found on the way when the message around them was
/// read, so that they need not be read again.
///
/// It is of one text and holds places in it, not the text itself. Asked about anything else it is no
/// use and no harm: then that is read.
#[derive(Debug, Clone, Default)]
pub struct Outline(Option<Box<Found>>);

/// Boxed, so that a message that is moved does not carry it along.
#[derive(Debug, Clone)]
struct Found {
    params: Spots,
    meta: Option<Spots>,
}

/// The members of an object by their places in a text.
#[derive(Debug, Clone)]
struct Spots {
    object: Range<usize>,
    members: Vec<Spot>,
    /// Whether every key has a meaning.
    is_clear: bool,
}

#[derive(Debug, Clone)]
struct Spot {
    key: Key,
    value: Range<usize>,
}

#[derive(Debug, Clone)]
enum Key {
    /// As it stands there, without its quotes.
    Plain(Range<usize>),
    /// One with escapes, without them.
    Unescaped(String),
}

/// The keys of the objects that are found on the way, each in the one before.
const PARAMS: &str = "params";
const META: &str = "_meta";

impl Outline {
    /// The object that `params` is, which is part of `text`.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn params<'a>(&'a self, text: &'a str, params: &'a str) -> Result<Object<'a>, ObjectError> {
        let found = self.0.as_ref().map(|found| &found.params);
        known(found, text, params).map_or_else(|| Object::parse(params), Ok)
    }

    /// The object that the `_meta` of its `params` is.
    ///
    /// # Errors
    /// As [`Object::parse`].
    pub fn meta<'a>(&'a self, text: &'a str, meta: &'a str) -> Result<Object<'a>, ObjectError> {
        let found = self.0.as_ref().and_then(|found| found.meta.as_ref());
        known(found, text, meta).map_or_else(|| Object::parse(meta), Ok)
    }

    /// Reads the value that comes next, which stands under `key` of the outermost object.
    pub(super) fn value<'a>(
        &mut self,
        key: &str,
        text: &'a str,
        scanner: &mut Scanner<'a>,
    ) -> Result<&'a str, Fault> {
        if key != PARAMS || scanner.peek() != Some(b'{') {
            return scanner.value();
        }
        let mut meta = None;
        let params = spots(text, scanner, |key, scanner| {
            if key != META || scanner.peek() != Some(b'{') {
                return Ok(false);
            }
            meta = Some(spots(text, scanner, |_, _| Ok(false))?);
            Ok(true)
        })?;
        let value = text.get(params.object.clone()).ok_or(Fault::Syntax)?;
        self.0 = Some(Box::new(Found { params, meta }));
        Ok(value)
    }
}

/// The object `part` of `text`, where its members are known and their keys are told apart.
fn known<'a>(spots: Option<&'a Spots>, text: &'a str, part: &'a str) -> Option<Object<'a>> {
    let is_it = |spots: &&Spots| spots.is_clear && place(text, part) == Some(spots.object.clone());
    let spots = spots.filter(is_it)?;
    let mut members = Vec::with_capacity(spots.members.len());
    for spot in &spots.members {
        let key = match &spot.key {
            Key::Plain(place) => text.get(place.clone())?,
            Key::Unescaped(key) => key,
        };
        members.push(Member {
            key: Cow::Borrowed(key),
            value: text.get(spot.value.clone())?,
        });
    }
    // What is wrong with it is said by whoever reads it.
    let is_clear = duplicate(&members).is_none();
    is_clear.then_some(Object {
        text: part,
        members,
    })
}

/// Reads the object that comes next. `inner` may read the value of a key, and says whether it has.
fn spots<'a>(
    text: &'a str,
    scanner: &mut Scanner<'a>,
    mut inner: impl FnMut(&str, &mut Scanner<'a>) -> Result<bool, Fault>,
) -> Result<Spots, Fault> {
    let start = scanner.position();
    let mut members = Vec::with_capacity(4);
    let mut is_clear = true;
    scanner.enter(b'{')?;
    if scanner.peek() != Some(b'}') {
        loop {
            let raw = scanner.key()?;
            let from = scanner.position();
            let key = super::as_str(raw);
            if !inner(key.as_deref().unwrap_or_default(), scanner)? {
                scanner.value()?;
            }
            let value = from..scanner.reached();
            match key {
                Some(Cow::Borrowed(key)) => {
                    let key = Key::Plain(place(text, key).unwrap_or_default());
                    members.push(Spot { key, value });
                }
                Some(Cow::Owned(key)) => {
                    let key = Key::Unescaped(key);
                    members.push(Spot { key, value });
                }
                // A lone surrogate, which has no meaning to compare by.
                None => is_clear = false,
            }
            if !scanner.take(b',') {
                break;
            }
        }
    }
    scanner.leave(b'}')?;
    Ok(Spots {
        object: start..scanner.reached(),
        members,
        is_clear,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is known of a message is what reading its parts says.
    fn agrees(text: &str) {
        let Ok((envelope, outline)) = Object::parse_outlined(text) else {
            assert!(Object::parse(text).is_err(), "{text}");
            return;
        };
        let plain = Object::parse(text).unwrap();
        assert_eq!(envelope.text(), plain.text());
        assert_eq!(seen(&envelope), seen(&plain));
        let Some(params) = envelope.get("params") else {
            return;
        };
        let read = Object::parse(params);
        let known = outline.params(text, params);
        assert_eq!(known.as_ref().map(seen), read.as_ref().map(seen));
        let Some(meta) = read.ok().and_then(|params| params.get("_meta")) else {
            return;
        };
        let known = outline.meta(text, meta);
        assert_eq!(
            known.as_ref().map(seen),
            Object::parse(meta).as_ref().map(seen)
        );
    }

    fn seen(object: &Object<'_>) -> Vec<(String, String)> {
        let members = object.members().iter();
        members
            .map(|member| (member.key.to_string(), member.value.to_owned()))
            .collect()
    }

    #[test]
    fn what_is_known_is_what_stands_there() {
        for text in [
            r#"{"params":{"_meta":{"a":1}}}"#,
            " \n { \"params\" : { \"a\" : [ 1 ] , \"_meta\" : { } } } ",
            r#"{"params":{}}"#,
            r#"{"params":[{"_meta":1}],"x":{"_meta":{}}}"#,
            r#"{"params":{"_meta":{"a":1,"a":2}}}"#,
            r#"{"params":{"_meta":{},"_meta":{"a":1}}}"#,
            r#"{"params":{"_meta":1,"x":{"_meta":{"b":2}}}}"#,
            r#"{"par\u0061ms":{"_m\u0065ta":{"\u0061":"\u0062"}}}"#,
            r#"{"params":{"\ud800":1,"_meta":{"\ud800":1}}}"#,
            r#"{"params":{"_meta":{"a":1},"b":"}"}"#,
            r#"{"params":{"_meta":{"a":1}"#,
            r#"{"params":{"_meta":{"a":1}}]"#,
        ] {
            agrees(text);
        }
    }

    #[test]
    fn nesting_is_bounded_as_everywhere() {
        for levels in [125, 126, 127, 128, 129] {
            let deep = "[".repeat(levels) + &"]".repeat(levels);
            agrees(&format!(r#"{{"params":{{"_meta":{{"a":{deep}}}}}}}"#));
            agrees(&format!(r#"{{"params":{{"_meta":{{}},"a":{deep}}}}}"#));
        }
    }

    #[test]
    fn of_another_text_nothing_is_known() {
        let text = r#"{"params":{"_meta":{"a":1}}}"#;
        let (_, outline) = Object::parse_outlined(text).unwrap();
        let other = r#"{"b":2}"#;
        let params = outline.params(text, other).unwrap();
        assert_eq!(params.get("b"), Some("2"));
        let meta = outline.meta(other, other).unwrap();
        assert_eq!(meta.get("b"), Some("2"));
    }

    proptest! {
        #[test]
        fn agrees_on_text_that_looks_like_a_message(
            text in r#"\{"params":([\[\]{},:]|"_meta"|"[a-b\\]{0,3}"|1|null| ){0,20}\}\}"#
        ) {
            agrees(&text);
        }
    }
}
