//! `${NAME}` and `${file:/path}` inside values: what is written, and what it stands for.
//!
//! Grammar: `${NAME}` is an environment variable, `${NAME:-text}` the same with a fallback for an
//! unset or empty one, `${file:PATH}` the content of a file without its last line break,
//! `${secret:NAME}` a secret that was fetched, `$${` a literal `${`. Anything else that begins with `${` is an error, never passed through.

use std::{collections::BTreeMap, fs, io::Read};

use crate::{
    load::MissingReferences,
    secret::{SecretName, SecretValues},
};

/// What stands for a value that is not there, where that is accepted; a host name that can't exist.
pub(crate) const STAND_IN: &str = "unset.invalid";

/// The largest secret file that is read.
const LARGEST_FILE: u64 = 64 * 1024;

/// One part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Text as it stands.
    Literal(&'a str),
    /// A reference, with everything between `${` and `}`.
    Reference(&'a str),
}

/// Splits a value into literals and references.
pub(crate) fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            parts.push(Part::Literal(before));
            parts.push(Part::Literal("${"));
            rest = &after[2..];
            continue;
        }
        parts.push(Part::Literal(before));
        let Some(end) = after.find('}') else {
            return Err("`${` without its `}`; write `$${` for the characters themselves".into());
        };
        parts.push(Part::Reference(&after[2..end]));
        rest = &after[end + 1..];
    }
    parts.push(Part::Literal(rest));
    parts.retain(|part| *part != Part::Literal(""));
    Ok(parts)
}

/// What references are looked up in.
pub(crate) struct Lookup<'a> {
    /// The environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Secrets.
    pub(crate) secrets: &'a SecretValues,
    /// What to do about a reference that leads nowhere.
    pub(crate) missing: MissingReferences,
}

impl Lookup<'_> {
    /// Replaces every reference in `text`. The error says what is missing, never a value.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        let mut value = String::with_capacity(text.len());
        for part in parts(text)? {
            match part {
                Part::Literal(literal) => value.push_str(literal),
                Part::Reference(reference) => match self.resolve(reference) {
                    Ok(found) => value.push_str(&found),
                    Err(Missing::Malformed(message)) => return Err(message),
                    Err(Missing::Absent(message)) => match self.missing {
                        MissingReferences::Refuse => return Err(message),
                        MissingReferences::Accept => value.push_str(STAND_IN),
                    },
                },
            }
        }
        Ok(value)
    }

    fn resolve(&self, reference: &str) -> Result<String, Missing> {
        if let Some(path) = reference.strip_prefix("file:") {
            return read_secret(path).map_err(Missing::Absent);
        }
        if let Some(name) = reference.strip_prefix("secret:") {
            return self.secret(name);
        }
        let (name, fallback) = match reference.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (reference, None),
        };
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(Missing::Malformed(format!(
                "`${{{reference}}}` is not a reference: expected ${{NAME}}, ${{NAME:-fallback}}, \
                 ${{file:/path}} or ${{secret:name}}; write `$${{` for the characters themselves"
            )));
        }
        match (self.environment.get(name), fallback) {
            (Some(value), None) => Ok(value.clone()),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
            (_, Some(fallback)) => Ok(fallback.to_owned()),
            (None, None) => Err(Missing::Absent(format!(
                "the environment variable {name} is not set"
            ))),
        }
    }

    fn secret(&self, name: &str) -> Result<String, Missing> {
        let Some(name) = SecretName::parse(name) else {
            return Err(Missing::Malformed(
                "`${secret:…}` needs the name of a secret, such as crm-token or crm#token".into(),
            ));
        };
        match self.secrets.get(&name) {
            Some(Ok(value)) => Ok(value.to_owned()),
            Some(Err(why)) => Err(Missing::Absent(format!(
                "the secret `{name}` can't be read: {why}"
            ))),
            None => Err(Missing::Absent(format!(
                "the secret `{name}` was not looked up: the section `secrets` itself can't refer \
                 to secrets"
            ))),
        }
    }
}

/// Why a reference gave nothing.
enum Missing {
    /// It is not a reference at all.
    Malformed(String),
    /// It is one, but what it names is not there.
    Absent(String),
}

fn read_secret(path: &str) -> Result<String, String> {
    let fail = |why: &dyn std::fmt::Display| format!("the secret file {path} can't be read: {why}");
    let file = fs::File::open(path).map_err(|error| fail(&error))?;
    // A directory opens on Linux, and a FIFO would block for ever on reading.
    if !file.metadata().map_err(|error| fail(&error))?.is_file() {
        return Err(fail(&"it is not a regular file"));
    }
    let mut text = String::new();
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| fail(&error))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(fail(&"it is larger than 64KiB"));
    }
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let environment = BTreeMap::from([
            ("A".to_owned(), "one".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        Lookup {
            environment: &environment,
            secrets: &SecretValues::default(),
            missing: MissingReferences::Refuse,
        }
        .expand(text)
    }

    #[test]
    fn replaces_references() {
        for (text, value) in [
            ("plain", "plain"),
            ("", ""),
            ("x ${A} y ${A}", "x one y one"),
            ("${NOPE:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("$${A}", "${A}"),
            ("$", "$"),
            ("a$b}", "a$b}"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn says_what_is_missing() {
        assert!(
            expand("${NOPE}")
                .expect_err("unset")
                .contains("NOPE is not set")
        );
        assert!(expand("${A").expect_err("open").contains("without its `}`"));
        assert!(
            expand("${input:key}")
                .expect_err("foreign")
                .contains("not a reference")
        );
        assert!(
            expand("${file:/does/not/exist}")
                .expect_err("file")
                .contains("/does/not/exist")
        );
        assert!(
            expand("${file:/}")
                .expect_err("directory")
                .contains("not a regular file")
        );
    }

    #[test]
    fn reads_a_secret_file_without_its_line_break() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("token");
        fs::write(&path, "s3cret\r\n").expect("write");
        assert_eq!(
            expand(&format!("${{file:{}}}", path.display())).as_deref(),
            Ok("s3cret")
        );
        fs::write(&path, vec![b'x'; 70_000]).expect("write");
        assert!(expand(&format!("${{file:{}}}", path.display())).is_err());
    }
}
