use std::fmt;

use crate::policy::position;

/// What is wrong with a text of definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagProblem {
    /// The file, as [`super::Source::name`] has it.
    pub file: String,
    /// The line, from 1; 0 where the problem is the file itself.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Where in the JSON it is (RFC 6901), such as `/flags/new-search/targeting`. Empty for the whole.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

/// Everything that is wrong with a set of definitions. None of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FlagErrors(pub Vec<FlagProblem>);

impl FlagProblem {
    /// A problem at a position of a file's text, in bytes.
    pub(super) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset);
        Self {
            line,
            column,
            ..Self::whole(file, message)
        }
    }

    /// A problem of a whole file.
    pub fn whole(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            pointer: String::new(),
            message: message.into(),
            help: None,
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for FlagProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file)?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        if !self.pointer.is_empty() {
            write!(out, ": {}", self.pointer)?;
        }
        write!(out, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(out, " ({help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FlagErrors {
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
