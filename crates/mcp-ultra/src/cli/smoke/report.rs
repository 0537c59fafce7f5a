//! What came of the steps, as text and as JSON.

use std::time::Duration;

use serde::Serialize;

use super::language::{Texts, fill};

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Failed,
    /// There was nothing to do, or what it stands on failed before.
    Skipped,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// The name, the same in every language.
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// How long it took, in milliseconds.
    pub(super) ms: f64,
    /// More, in the language of the report.
    pub(super) detail: String,
}

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) target: String,
    /// The server's name and version, as it says.
    pub(super) server: Option<String>,
    /// The revision that was spoken.
    pub(super) protocol_version: Option<&'static str>,
    pub(super) steps: Vec<Step>,
}

impl Report {
    /// Whether no step failed.
    pub(super) fn ok(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.status == Status::Failed)
            .count()
    }

    pub(super) fn add(&mut self, name: &'static str, status: Status, took: Duration, detail: &str) {
        // Microseconds are exact in f64 for centuries; three decimals are what a reader needs.
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        // What a server sends must not steer the terminal.
        let detail = detail.chars().filter(|c| !c.is_control()).collect();
        self.steps.push(Step {
            name,
            status,
            ms,
            detail,
        });
    }

    /// The report as one JSON object.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct WithVerdict<'a> {
            ok: bool,
            #[serde(flatten)]
            report: &'a Report,
        }
        let all = WithVerdict {
            ok: self.ok(),
            report: self,
        };
        // Strings and numbers only: this can't fail.
        serde_json::to_string_pretty(&all).unwrap_or_default()
    }

    /// The report for a reader.
    pub(super) fn to_text(&self, texts: &Texts) -> String {
        let mut lines = vec![self.target.clone()];
        for step in &self.steps {
            let status = match step.status {
                Status::Ok => texts.ok,
                Status::Failed => texts.failed,
                Status::Skipped => texts.skipped,
            };
            let (name, ms, detail) = (step.name, step.ms, &step.detail);
            let line = format!("  {status:<8}  {name:<15} {ms:>9.1} ms  {detail}");
            lines.push(line.trim_end().to_owned());
        }
        lines.push(match self.failures() {
            0 => texts.passed_all.to_owned(),
            failures => fill(texts.failed_some, failures),
        });
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::smoke::language::Language;

    fn report(status: Status) -> Report {
        let mut report = Report {
            target: "http://127.0.0.1:1/mcp".to_owned(),
            server: None,
            protocol_version: None,
            steps: Vec::new(),
        };
        report.add("connect", status, Duration::from_micros(1500), "x\u{1b}[2J");
        report
    }

    #[test]
    fn one_failed_step_fails_the_report() {
        assert!(report(Status::Ok).ok() && report(Status::Skipped).ok());
        let failed = report(Status::Failed);
        assert!(!failed.ok());
        let text = failed.to_text(Language::Portuguese.texts());
        assert!(text.contains("FALHOU") && text.contains("1.5 ms"), "{text}");
        assert!(!text.contains('\u{1b}'));
        let json: serde_json::Value = serde_json::from_str(&failed.to_json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["steps"][0]["status"], "failed");
    }
}
