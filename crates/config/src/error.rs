//! What is wrong with a configuration: where, why, and what would be right.

use std::fmt;

use serde::Serialize;

use crate::origin::Origin;

/// A configuration that can't be used, with everything that is wrong with it.
///
/// Its text is one line a problem, `file:line:column: path: message; help`;
/// [`ConfigError::detailed`] adds the lines of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Every problem with its line of the file, for people.
    pub fn detailed(&self) -> String {
        let parts: Vec<String> = self.problems.iter().map(Problem::detailed).collect();
        parts.join("\n")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where the value stands.
    pub origin: Origin,
    /// The path of the value, such as `servers[1].url`; empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never contains the value of a secret.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line of the file, if it can be shown without showing a secret.
    pub snippet: Option<String>,
    /// How many characters from the column on are meant; at least 1.
    pub width: usize,
}

impl Problem {
    /// The problem with its line of the file, for people.
    pub fn detailed(&self) -> String {
        let path = if self.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.path)
        };
        let head = format!("{}: {path}{}\n", place(&self.origin), self.message);
        let help = self.help.as_ref().map(|help| format!("  help: {help}\n"));
        [
            head,
            self.marked_line().unwrap_or_default(),
            help.unwrap_or_default(),
        ]
        .concat()
    }

    /// The line of the file with marks under what is meant.
    fn marked_line(&self) -> Option<String> {
        let Origin::File { line, column, .. } = &self.origin else {
            return None;
        };
        let snippet = self.snippet.as_ref()?;
        let number = line.to_string();
        let before = (*column as usize).saturating_sub(1);
        // The marks stand under the text also where the line has tabs.
        let indent: String = snippet
            .chars()
            .take(before)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = snippet.chars().count().saturating_sub(before).max(1);
        let marks = "^".repeat(self.width.clamp(1, room));
        let margin = " ".repeat(number.len());
        Some(format!(
            " {number} | {snippet}\n {margin} | {indent}{marks}\n"
        ))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", place(&self.origin))?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::Default => "configuration".to_owned(),
        Origin::File { file, line: 0, .. } => file.to_string(),
        Origin::File { file, line, column } => format!("{file}:{line}:{column}"),
        Origin::Environment { name } => format!("environment variable {name}"),
        Origin::Flag { name } => format!("flag {name}"),
    }
}

/// Something that is probably a mistake, but does not stop the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What is odd.
    pub message: String,
    /// What was probably meant.
    pub help: Option<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// The longest line that is shown.
const LONGEST_LINE: usize = 200;

/// Keys whose values, and everything below them, may be secrets.
const SECRET_KEYS: [&str; 10] = [
    "client_secret",
    "env",
    "headers",
    "jwt_secret",
    "nkey",
    "password",
    "role_id",
    "secret",
    "secret_id",
    "token",
];

/// Whether a path leads to or through a secret.
pub(crate) fn is_secret_path(path: &str) -> bool {
    path.split(['.', '[']).any(|key| SECRET_KEYS.contains(&key))
}

/// A line of the file, unless it may show a secret: it names a key for secrets, or stands deeper
/// than a line above that does.
pub(crate) fn snippet(text: &str, line: u32) -> Option<String> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let lines: Vec<&str> = text.lines().take(index + 1).collect();
    let wanted = *lines.get(index)?;
    if wanted.len() > LONGEST_LINE || wanted.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let mut depth = usize::MAX;
    for line in lines.iter().rev() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if trimmed.is_empty() || indent >= depth {
            continue;
        }
        if names_secret(trimmed) {
            return None;
        }
        depth = indent;
        // Flow style and text over several lines don't follow indentation: look no further than
        // lines that begin at the margin.
        if depth == 0 {
            break;
        }
    }
    Some(wanted.to_owned())
}

fn names_secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let suspicious = [
        "token",
        "password",
        "passwd",
        "authorization",
        "api_key",
        "api-key",
        "apikey",
    ];
    // Credentials are put into addresses as user:password@ and as ?key=.
    let address = lower
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains(['@', '?']));
    address
        || suspicious.iter().any(|word| lower.contains(word))
        || lower
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .any(|word| SECRET_KEYS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "servers:\n  - name: a\n    env:\n      KEY: hunter2\n    url: x\nlog: { level: y }\n";

    #[test]
    fn a_snippet_never_shows_what_may_be_a_secret() {
        assert_eq!(snippet(FILE, 4), None, "below env");
        assert_eq!(snippet(FILE, 3), None, "env itself");
        assert_eq!(snippet(FILE, 5).as_deref(), Some("    url: x"));
        assert_eq!(snippet(FILE, 6).as_deref(), Some("log: { level: y }"));
        assert_eq!(
            snippet("servers: [{ name: a, headers: { X: hunter2 } }]", 1),
            None
        );
        assert_eq!(snippet(FILE, 0), None);
        assert_eq!(snippet(FILE, 99), None);
    }

    #[test]
    fn every_secret_of_the_schema_stands_under_a_secret_key() {
        let schema = crate::schema().to_value();
        let is = |schema: &serde_json::Value| schema["$ref"] == "#/$defs/Secret";
        let secret = |schema: &serde_json::Value| {
            let options = schema["anyOf"].as_array().into_iter().flatten();
            is(schema) || options.into_iter().any(is)
        };
        let mut found = std::collections::BTreeSet::new();
        for group in schema["$defs"].as_object().expect("definitions").values() {
            for (key, property) in group["properties"].as_object().into_iter().flatten() {
                if secret(property) || secret(&property["additionalProperties"]) {
                    found.insert(key);
                    assert!(SECRET_KEYS.contains(&key.as_str()), "{key}");
                }
            }
        }
        assert_eq!(found.len(), SECRET_KEYS.len());
    }
}
