//! Values that may hold references: [`Text`] is shown as written, [`Secret`] is masked,
//! [`UpstreamUrl`] is an address that was checked.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use crate::reference::{Part, STAND_IN, parts};

/// The newtype name by which [`crate::read`] recognises a value with references and hands over
/// both what was written and what it stands for.
pub(crate) const REFERENCES: &str = "$mcp-ultra-references";

/// What stands for a hidden value.
pub(crate) const MASK: &str = "***";

/// Words before a credential that are not the credential: they stay readable.
pub(crate) const SCHEMES: [&str; 5] = ["Bearer ", "bearer ", "Basic ", "Token ", "token "];

/// A text that may contain references such as `${NAME}`. Serialised as it was written, so that what
/// came out of a reference stays hidden; dereferences to the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    written: String,
    value: String,
}

impl Text {
    /// A text without references: `text` is taken literally.
    pub fn literal(text: impl Into<String>) -> Self {
        let value = text.into();
        Self {
            written: value.replace("${", "$${"),
            value,
        }
    }

    /// The text as it was written, references in place.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The value, references replaced.
    pub fn as_str(&self) -> &str {
        &self.value
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People put keys into arguments: `explain` knows which to mask, this does not.
        write!(f, "Text({} bytes)", self.written.len())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (written, value) = with_references(deserializer)?;
        Ok(Self { written, value })
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A text; ${NAME} is replaced by an environment variable, \
                ${NAME:-text} with a fallback, ${file:/path} by the content of a file, \
                ${secret:name} by a secret.",
        })
    }
}

/// A value that must not be seen: a key, a header, an environment variable of a server. Masked in
/// Debug, in `explain` and in everything that is serialised; wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret {
    shown: String,
    value: SecretString,
}

impl Secret {
    /// A secret whose value is given literally.
    pub fn literal(value: impl Into<String>) -> Self {
        Self {
            shown: MASK.to_owned(),
            value: SecretString::from(value.into()),
        }
    }

    /// The value itself. Only for the place that sends or uses it.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// What may be shown: references and scheme words as written, everything else masked.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Masks everything but references and well-known scheme words.
fn mask(written: &str) -> String {
    let Ok(parts) = parts(written) else {
        return MASK.to_owned();
    };
    let shown = |part: Part<'_>| match part {
        // A fallback may be the secret itself.
        Part::Reference(reference) => match reference.split_once(":-") {
            Some((name, _)) => format!("${{{name}:-{MASK}}}"),
            None => format!("${{{reference}}}"),
        },
        Part::Literal(literal) if SCHEMES.contains(&literal) => literal.to_owned(),
        Part::Literal(_) => MASK.to_owned(),
    };
    parts.into_iter().map(shown).collect()
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (written, value) = with_references(deserializer)?;
        Ok(Self {
            shown: mask(&written),
            value: SecretString::from(value),
        })
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "writeOnly": true,
            "description": "A value that is never shown. Better written as ${secret:name}, \
                ${NAME} (an environment variable) or ${file:/path} than in the file itself.",
        })
    }
}

/// The address of an MCP server: http or https, with a host, without credentials or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    written: String,
    url: Url,
}

impl UpstreamUrl {
    /// Checks an address given literally.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::checked(text.replace("${", "$${"), text)
    }

    /// The address, references replaced.
    pub fn url(&self) -> &Url {
        &self.url
    }

    // The message must not repeat the address: a reference or a query may hold a key.
    fn checked(written: String, value: &str) -> Result<Self, String> {
        let url = Url::parse(value).map_err(|error| {
            format!("not an address ({error}): expected http:// or https:// and a host")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "the scheme `{}` is not http or https",
                url.scheme()
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address must not carry credentials: put them into `headers`".into());
        }
        if url.fragment().is_some() {
            return Err("an address of a server has no fragment (`#…`)".into());
        }
        Ok(Self { written, url })
    }
}

/// As written, with what follows `?` masked: keys are put there.
impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written.split_once('?') {
            Some((address, query)) => write!(f, "{address}?{}", mask(query)),
            None => f.write_str(&self.written),
        }
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UpstreamUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UpstreamUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (written, value) = with_references(deserializer)?;
        let unknown = written.starts_with("${") && value.starts_with(STAND_IN);
        let value = if unknown {
            format!("http://{value}")
        } else {
            value
        };
        Self::checked(written, &value).map_err(de::Error::custom)
    }
}

impl JsonSchema for UpstreamUrl {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The address of an MCP server: http:// or https://, without \
                credentials; ${NAME}, ${file:/path} and ${secret:name} are replaced.",
            "pattern": "^(https?://|\\$\\{)",
        })
    }
}

/// What was written and what it stands for. From any other deserializer than ours there is nothing
/// to look references up in, so a text with one is refused rather than taken literally.
fn with_references<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(String, String), D::Error> {
    struct Pair<'de>(PhantomData<&'de ()>);
    impl<'de> de::Visitor<'de> for Pair<'de> {
        type Value = (String, String);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Self::Value, D::Error> {
            let text = String::deserialize(deserializer)?;
            if text.contains("${") {
                return Err(de::Error::custom(
                    "references are only replaced by the loader",
                ));
            }
            Ok((text.clone(), text))
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut pair: A) -> Result<Self::Value, A::Error> {
            let missing = || de::Error::invalid_length(0, &"what was written and its value");
            let written = pair.next_element()?.ok_or_else(missing)?;
            let value = pair.next_element()?.ok_or_else(missing)?;
            Ok((written, value))
        }
    }
    deserializer.deserialize_newtype_struct(REFERENCES, Pair(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_all_but_references_and_schemes() {
        for (written, shown) in [
            ("hunter2", "***"),
            ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
            ("Bearer abc", "***"),
            ("abc${TOKEN}", "***${TOKEN}"),
            ("${TOKEN:-hunter2}", "${TOKEN:-***}"),
            ("${broken", "***"),
        ] {
            assert_eq!(mask(written), shown, "{written}");
        }
        assert_eq!(format!("{:?}", Secret::literal("hunter2")), "***");
        assert_eq!(
            serde_json::to_string(&Secret::literal("hunter2")).expect("json"),
            "\"***\""
        );
    }

    #[test]
    fn an_address_is_checked_and_its_query_masked() {
        for bad in [
            "ftp://example.com",
            "example.com/mcp",
            "",
            "http://",
            "https://user:pw@example.com",
            "https://example.com/mcp#top",
        ] {
            let error = UpstreamUrl::parse(bad).expect_err(bad);
            assert!(!error.contains("pw"), "{error}");
        }
        let url = UpstreamUrl::parse("https://example.com/mcp?key=hunter2").expect("address");
        assert_eq!(url.to_string(), "https://example.com/mcp?***");
        assert_eq!(url.url().query(), Some("key=hunter2"));
    }
}
