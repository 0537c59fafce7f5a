//! Faults of a configuration as miette shows them: file, line, column, the line itself.

use mcp_ultra_config::{ConfigError, Origin, Problem};
use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

/// Everything that is wrong.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the configuration can't be used: {count} problem{}", if *.count == 1 { "" } else { "s" })]
pub(super) struct Faults {
    count: usize,
    #[related]
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
struct Fault {
    message: String,
    #[help]
    help: Option<String>,
    #[source_code]
    source_code: Option<Line>,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
}

impl Faults {
    pub(super) fn new(error: &ConfigError) -> Self {
        let faults: Vec<Fault> = error.problems().iter().map(fault).collect();
        Self {
            count: faults.len(),
            faults,
        }
    }
}

fn fault(problem: &Problem) -> Fault {
    let path = if problem.path.is_empty() {
        String::new()
    } else {
        format!("{}: ", problem.path)
    };
    let shown = shown(problem);
    let place = match (&shown, &problem.origin) {
        // It stands above the line.
        (Some(_), _) | (_, Origin::Default) => String::new(),
        (None, Origin::File { file, line, column }) if *line > 0 => {
            format!("{file}:{line}:{column}: ")
        }
        (None, Origin::File { file, .. }) => format!("{file}: "),
        (None, Origin::Environment { name }) => format!("environment variable {name}: "),
        (None, Origin::Flag { name }) => format!("flag {name}: "),
    };
    let (source_code, labels) = match shown {
        Some((source, label)) => (Some(source), vec![label]),
        None => (None, Vec::new()),
    };
    Fault {
        message: format!("{place}{path}{}", problem.message),
        help: problem.help.clone(),
        source_code,
        labels,
    }
}

/// The one line that is shown. Those around it are not at hand, on purpose: they may hold secrets.
#[derive(Debug)]
struct Line {
    file: String,
    /// The line number, from 0.
    number: usize,
    text: String,
}

impl SourceCode for Line {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let marked = self.text.get(start..end).ok_or(MietteError::OutOfBounds)?;
        let before = self.text.get(..start).unwrap_or_default();
        // Without lines around it, what is asked for is the span alone: its place.
        let (data, span, column) = if lines_before == 0 {
            (marked, *span, before.chars().count())
        } else {
            (&*self.text, SourceSpan::from(0..self.text.len()), 0)
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.clone(),
            data.as_bytes(),
            span,
            self.number,
            column,
            1,
        )))
    }
}

/// The line with a mark, where it may be shown.
fn shown(problem: &Problem) -> Option<(Line, LabeledSpan)> {
    let Origin::File { file, line, column } = &problem.origin else {
        return None;
    };
    let text = problem.snippet.clone()?;
    let bytes = |text: &str, characters: usize| -> usize {
        text.chars().take(characters).map(char::len_utf8).sum()
    };
    let start = bytes(&text, usize::try_from(column.saturating_sub(1)).ok()?);
    let length = bytes(text.get(start..).unwrap_or_default(), problem.width);
    let line = Line {
        file: file.to_string(),
        number: usize::try_from(line.checked_sub(1)?).ok()?,
        text,
    };
    Some((
        line,
        LabeledSpan::new(Some("here".to_owned()), start, length),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_where_the_fault_is() {
        let text = "server: { port: 8080 }\n# ação\nlog: { é: 1, level: alto }\n";
        let error = mcp_ultra_config::load_str(text, "a.yaml").unwrap_err();
        for problem in error.problems() {
            let (line, label) = shown(problem).unwrap();
            assert_eq!((line.number, line.file.as_str()), (2, "a.yaml"));
            let marked = &line.text[label.offset()..label.offset() + label.len()];
            assert!(["é", "alto"].contains(&marked), "{marked}");
            let place = line.read_span(label.inner(), 0, 0).unwrap();
            assert_eq!(place.column(), if marked == "é" { 7 } else { 20 });
            assert!(line.read_span(&(90..91).into(), 0, 0).is_err());
        }
    }
}
