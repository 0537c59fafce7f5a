//! A serde deserializer over a node of the tree.

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, Unexpected, value::SeqDeserializer},
    forward_to_deserialize_any,
};

use super::ReadError;
use crate::{
    node::{Entry, Node, Scalar, Segment, Value},
    reference::Lookup,
    text::REFERENCES,
};

/// Reads one value of the tree.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) lookup: &'a Lookup<'a>,
}

impl<'a> Reader<'a> {
    /// The value as text, if it has a spelling.
    fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Typed(_, text) | Value::Str(text) | Value::Loose(text) => Some(text),
            _ => None,
        }
    }

    fn number<'de, V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Loose(text) => match text.trim().parse() {
                Ok(number) => visit_int(number, visitor),
                Err(_) => visitor.visit_str(text),
            },
            _ => self.deserialize_any(visitor),
        }
    }
}

fn visit_int<'de, V: de::Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, ReadError> {
    if let Ok(number) = u64::try_from(number) {
        visitor.visit_u64(number)
    } else if let Ok(number) = i64::try_from(number) {
        visitor.visit_i64(number)
    } else {
        // Past every field: 64 bits are enough to say that it is too large.
        visitor.visit_u64(u64::MAX)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null | Value::Removed => visitor.visit_unit(),
            Value::Typed(Scalar::Bool(value), _) => visitor.visit_bool(*value),
            Value::Typed(Scalar::Int(value), _) => visit_int(*value, visitor),
            Value::Typed(Scalar::Float(value), _) => visitor.visit_f64(*value),
            Value::Str(text) | Value::Loose(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                lookup: self.lookup,
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                iter: entries.iter(),
                current: None,
                lookup: self.lookup,
            }),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Loose(text) => match text.trim() {
                "true" | "1" => visitor.visit_bool(true),
                "false" | "0" => visitor.visit_bool(false),
                _ => visitor.visit_str(text),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // `servers:` with every item commented out.
            Value::Null => visitor.visit_seq(Items {
                items: [].iter().enumerate(),
                lookup: self.lookup,
            }),
            Value::Loose(text) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // `server:` with every key commented out.
            Value::Null => visitor.visit_map(Entries {
                iter: [].iter(),
                current: None,
                lookup: self.lookup,
            }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            // serde's structs can be read from lists, by position: nobody means that here.
            Value::List(_) => Err(de::Error::invalid_type(
                Unexpected::Seq,
                &format!("struct {name}").as_str(),
            )),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name != REFERENCES {
            return visitor.visit_newtype_struct(self);
        }
        let Some(written) = self.text() else {
            return String::deserialize(self).and_then(|text| visitor.visit_string(text));
        };
        let value = self
            .lookup
            .expand(written)
            .map_err(<ReadError as de::Error>::custom)?;
        visitor.visit_seq(SeqDeserializer::new(
            [written.to_owned(), value].into_iter(),
        ))
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.text() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any }
}

struct Items<'a, I> {
    items: I,
    lookup: &'a Lookup<'a>,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> de::SeqAccess<'de> for Items<'a, I> {
    type Error = ReadError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let next = self
            .items
            .find(|(_, node)| !matches!(node.value, Value::Removed));
        let Some((index, node)) = next else {
            return Ok(None);
        };
        seed.deserialize(Reader {
            node,
            lookup: self.lookup,
        })
        .map(Some)
        .map_err(|error| error.under(Segment::Index(index)))
    }
}

struct Entries<'a, I> {
    iter: I,
    current: Option<&'a Entry>,
    lookup: &'a Lookup<'a>,
}

impl<'de, 'a, I: Iterator<Item = &'a Entry>> de::MapAccess<'de> for Entries<'a, I> {
    type Error = ReadError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.current = self
            .iter
            .find(|entry| !matches!(entry.node.value, Value::Removed));
        let Some(entry) = self.current else {
            return Ok(None);
        };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|error: ReadError| error.under(Segment::Key(entry.key.clone())))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ReadError> {
        let Some(entry) = self.current.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        seed.deserialize(Reader {
            node: &entry.node,
            lookup: self.lookup,
        })
        .map_err(|error| error.under(Segment::Key(entry.key.clone())))
    }
}
