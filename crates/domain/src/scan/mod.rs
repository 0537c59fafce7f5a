//! Looks for what people do not see in the definition of a tool and models do: invisible and
//! bidirectional characters, instructions to the model, and names that look like another's.
//!
//! A finding is a hint for whoever approves tools. What is not found is not thereby harmless.

mod characters;
mod instructions;
mod look_alike;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use look_alike::{look_alikes, mixed_scripts};

/// How much a finding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It may well be meant as it reads.
    Medium,
    /// There is hardly an honest reason for it.
    High,
}

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Characters that are not shown (Unicode: default ignorable code points).
    Invisible,
    /// Characters that change the order in which text is shown (UAX 9).
    Bidirectional,
    /// Words that speak to the model about more than the tool.
    Instruction,
    /// A name that looks like another one.
    LookAlike,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// How much it says.
    pub severity: Severity,
    /// Where: the path of the text in the definition, such as `inputSchema.properties.q.description`.
    pub at: String,
    /// What, in printable characters. Nothing of the text itself is in it but words of our list and
    /// names of characters.
    pub what: String,
}

impl Severity {
    /// Its name in output and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Invisible,
        Self::Bidirectional,
        Self::Instruction,
        Self::LookAlike,
    ];

    /// Its name in output and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invisible => "invisible",
            Self::Bidirectional => "bidirectional",
            Self::Instruction => "instruction",
            Self::LookAlike => "look_alike",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name or another text of a server for people: what is not visible ASCII or a space is written
/// out, as `\u{202e}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

/// What is found in the JSON text of one definition: in every string of it, keys among them. Text
/// that is no JSON is looked through as it is.
pub fn definition(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => walk(&value, "", &mut findings),
        Err(_) => string(text, "", &mut findings),
    }
    findings
}

/// Recursion is bounded: the parser refuses more than 128 levels.
fn walk(value: &Value, at: &str, findings: &mut Vec<Finding>) {
    match value {
        Value::String(text) => string(text, at, findings),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{at}[{index}]"), findings);
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                let shown: String = key
                    .chars()
                    .filter(char::is_ascii_graphic)
                    .take(60)
                    .collect();
                let below = if at.is_empty() {
                    shown
                } else {
                    format!("{at}.{shown}")
                };
                string(key, &below, findings);
                walk(value, &below, findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn string(text: &str, at: &str, findings: &mut Vec<Finding>) {
    let found = characters::find(text)
        .into_iter()
        .chain(instructions::find(text));
    findings.extend(found.map(|(kind, severity, what)| Finding {
        kind,
        severity,
        at: at.to_owned(),
        what,
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(FindingKind, Severity, String)> {
        let findings = definition(text).into_iter();
        findings
            .map(|one| (one.kind, one.severity, one.at))
            .collect()
    }

    #[test]
    fn every_string_is_looked_through() {
        let hidden = "\u{E0041}\u{E0042}";
        let text = format!(
            r#"{{"name":"q","inputSchema":{{"properties":{{"a":{{"enum":["x","{hidden}"]}}}}}},"title":"T\u202eitle"}}"#
        );
        let mut found = found(&text);
        found.sort();
        assert_eq!(
            found,
            [
                (
                    FindingKind::Invisible,
                    Severity::High,
                    "inputSchema.properties.a.enum[1]".to_owned()
                ),
                (
                    FindingKind::Bidirectional,
                    Severity::High,
                    "title".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn honest_definitions_have_no_findings() {
        for text in [
            r#"{"name":"echo","description":"Says it again","inputSchema":{"type":"object"}}"#,
            r#"{"name":"a","description":"Ação 👩‍💻 ❤️ 🏴\udb40\udc67\udb40\udc62\udb40\udc7f, می‌خواهم, שלום"}"#,
            r#"{"name":"a","description":"Ignores case. Do not use it for files that are important."}"#,
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_looked_through(text in any::<String>()) {
            for finding in definition(&text) {
                prop_assert!(finding.what.chars().all(|c| c.is_ascii_graphic() || c == ' '));
                prop_assert!(finding.at.is_ascii());
            }
        }
    }
}
