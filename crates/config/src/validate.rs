//! What the sections' own checks report: impossible values, by path.

use crate::{period::Period, size::Size};

/// One impossible value.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The path as it is shown: `servers[1].url`.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) help: String,
}

/// The impossible values found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    placeholders: bool,
}

impl Findings {
    /// `placeholders`: references that lead nowhere were accepted, so values may be stand-ins.
    pub(crate) fn new(placeholders: bool) -> Self {
        Self {
            list: Vec::new(),
            placeholders,
        }
    }

    /// Whether values may be stand-ins for secrets that are not there.
    pub(crate) fn placeholders(&self) -> bool {
        self.placeholders
    }

    /// Reports an impossible value.
    pub(crate) fn report(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.list.push(Finding {
            path: path.into(),
            message: message.into(),
            help: help.into(),
        });
    }

    /// Reports what should be the path of a file with certificates or a key and is the text of one,
    /// or a reference to it. These are read again when they change, which takes a file.
    pub(crate) fn file(&mut self, path: &str, file: Option<&str>) {
        if file.is_some_and(|file| file.contains("${") || file.contains("-----BEGIN")) {
            self.report(
                path,
                "this is the path of a file: references such as ${secret:NAME} are not replaced in it",
                "have the file written (a mounted Secret, cert-manager, Vault Agent) and name it here: it is read again when it changes",
            );
        }
    }

    /// Reports a period of nothing.
    pub(crate) fn not_zero(&mut self, path: &str, period: Period) {
        if period.is_zero() {
            self.report(
                path,
                "0s would end everything at once",
                "use a period such as 30s",
            );
        }
    }

    /// Reports a size outside of its bounds.
    pub(crate) fn size(&mut self, path: &str, size: Size, least: Size, most: Size) {
        if size < least || size > most {
            self.report(
                path,
                format!("{size} is not between {least} and {most}"),
                format!("use a size from {least} to {most}"),
            );
        }
    }

    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.list
    }
}
