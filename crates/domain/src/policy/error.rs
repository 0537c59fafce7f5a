use std::fmt;

use miette::Diagnostic;

/// What is wrong with a file of policies or types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as [`super::Source::name`] has it.
    pub file: String,
    /// The line, from 1; 0 where the problem is the file itself.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

/// Everything that is wrong with a set of policies. None of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyErrors(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            help,
        } = self;
        write!(out, "{file}")?;
        if *line > 0 {
            write!(out, ":{line}:{column}")?;
        }
        write!(out, ": {message}")?;
        match help {
            Some(help) => write!(out, " ({help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str("; ")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl Problem {
    /// A problem at a position of a file's text, in bytes.
    pub(super) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset);
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
            help: None,
        }
    }

    /// What Cedar says, where its first label points.
    pub(super) fn of(file: &str, text: &str, diagnostic: &dyn Diagnostic) -> Self {
        let first = diagnostic.labels().and_then(|mut labels| labels.next());
        let mut message = diagnostic.to_string();
        if let Some(label) = first.as_ref().and_then(|label| label.label()) {
            message = format!("{message}: {label}");
        }
        let help = diagnostic.help().map(|help| help.to_string());
        match first {
            Some(label) => Self {
                help,
                ..Self::at(file, text, label.offset(), message)
            },
            None => Self {
                help,
                ..Self::whole(file, message)
            },
        }
    }

    /// A problem of a whole file.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Line and column of a position in bytes, both from 1, the column in characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}
