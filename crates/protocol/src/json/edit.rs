use std::borrow::Cow;

use super::object::Object;

/// A changed copy of an [`Object`] in the making: what is not named in a change keeps its bytes.
#[derive(Debug)]
#[must_use = "an edit does nothing until `finish` is called"]
pub struct Edit<'o, 'a> {
    object: &'o Object<'a>,
    changes: Vec<Change<'o>>,
}

#[derive(Debug)]
struct Change<'o> {
    key: Cow<'o, str>,
    /// `None` removes the member.
    value: Option<Cow<'o, str>>,
}

impl<'o, 'a> Edit<'o, 'a> {
    pub(super) fn new(object: &'o Object<'a>) -> Self {
        Self {
            object,
            changes: Vec::new(),
        }
    }

    /// Sets `key` to the JSON text `value`: in its place where it exists, at the end otherwise.
    pub fn set(mut self, key: impl Into<Cow<'o, str>>, value: impl Into<Cow<'o, str>>) -> Self {
        self.change(key.into(), Some(value.into()));
        self
    }

    /// Sets `key` to the string `text`.
    pub fn set_str(self, key: impl Into<Cow<'o, str>>, text: &str) -> Self {
        self.set(key, super::quote(text))
    }

    /// Sets `key` to the JSON text `value` where there is one, and leaves it alone otherwise.
    pub fn set_some(self, key: &'o str, value: Option<impl Into<Cow<'o, str>>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Removes `key` where it exists.
    pub fn remove(mut self, key: impl Into<Cow<'o, str>>) -> Self {
        self.change(key.into(), None);
        self
    }

    fn change(&mut self, key: Cow<'o, str>, value: Option<Cow<'o, str>>) {
        match self.changes.iter_mut().find(|change| change.key == key) {
            Some(change) => change.value = value,
            None => self.changes.push(Change { key, value }),
        }
    }

    /// The text of the changed object.
    pub fn finish(self) -> String {
        let Self { object, changes } = self;
        let grown: usize = changes
            .iter()
            .map(|change| change.key.len() + 4 + change.value.as_ref().map_or(0, |v| v.len()))
            .sum();
        let mut out = String::with_capacity(object.text.len() + grown);
        out.push('{');
        let mut is_empty = true;
        let mut at = 1;
        for member in &object.members {
            // Every value is a slice of the text that the object was read from.
            let Some(value) = super::place(object.text, member.value) else {
                continue;
            };
            // From behind the previous value: the comma, the key as it was spelled, the colon.
            let (lead, is_first) = (&object.text[at..value.start], at == 1);
            at = value.end;
            let kept = match changes.iter().find(|change| change.key == member.key) {
                None => member.value,
                Some(Change {
                    value: Some(value), ..
                }) => value,
                Some(Change { value: None, .. }) => continue,
            };
            out.push_str(if is_empty && !is_first {
                // The first that stays: those before it are gone, and so is their comma.
                lead.trim_start_matches([',', ' ', '\t', '\r', '\n'])
            } else {
                lead
            });
            out.push_str(kept);
            is_empty = false;
        }
        for change in &changes {
            let Some(value) = &change.value else { continue };
            if object.members.iter().any(|member| member.key == change.key) {
                continue;
            }
            if !std::mem::take(&mut is_empty) {
                out.push(',');
            }
            out.push_str(&super::quote(&change.key));
            out.push(':');
            out.push_str(value);
        }
        out.push_str(&object.text[at..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(text: &str, edit: impl for<'o, 'a> FnOnce(Edit<'o, 'a>) -> Edit<'o, 'a>) -> String {
        let object = Object::parse(text).unwrap();
        edit(object.edit()).finish()
    }

    #[test]
    fn replaces_in_place_and_keeps_the_rest() {
        let text = r#"{ "z" : 1e2, "i\u0064": 7 ,"params":{"b":1, "a":2}, "x-vendor":[ ] }"#;
        assert_eq!(
            edited(text, |e| e.set("id", "\"n\"")),
            r#"{ "z" : 1e2, "i\u0064": "n" ,"params":{"b":1, "a":2}, "x-vendor":[ ] }"#
        );
    }

    #[test]
    fn removes_first_middle_and_last() {
        let text = r#"{"a":1, "b":2, "c":3}"#;
        assert_eq!(edited(text, |e| e.remove("a")), r#"{"b":2, "c":3}"#);
        assert_eq!(edited(text, |e| e.remove("b")), r#"{"a":1, "c":3}"#);
        assert_eq!(edited(text, |e| e.remove("c")), r#"{"a":1, "b":2}"#);
        assert_eq!(
            edited(text, |e| e.remove("a").remove("b").remove("c")),
            "{}"
        );
    }

    #[test]
    fn appends_to_empty_and_filled() {
        assert_eq!(edited("{}", |e| e.set("a", "1")), r#"{"a":1}"#);
        assert_eq!(
            edited(r#"{"b":0}"#, |e| e.set_str("a", "\"")),
            r#"{"b":0,"a":"\""}"#
        );
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        assert_eq!(edited("{}", |e| e.set("a", "1").remove("a")), "{}");
        assert_eq!(
            edited(r#"{"a":1}"#, |e| e.remove("a").set("a", "2")),
            r#"{"a":2}"#
        );
    }

    proptest! {
        #[test]
        fn an_edit_means_the_same_as_on_a_tree(
            members in proptest::collection::btree_map("[a-e\\PC]{0,3}", -9i32..9, 0..8),
            key in "[a-e]{1,2}",
            value in proptest::option::of(0i32..9),
        ) {
            let mut tree = serde_json::to_value(&members).unwrap();
            let text = serde_json::to_string_pretty(&tree).unwrap();
            let out = edited(&text, |e| match value {
                Some(value) => e.set(key.clone(), value.to_string()),
                None => e.remove(key.clone()),
            });
            let map = tree.as_object_mut().unwrap();
            match value {
                Some(value) => { map.insert(key, value.into()); }
                None => { map.remove(&key); }
            }
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), tree);
        }
    }
}
