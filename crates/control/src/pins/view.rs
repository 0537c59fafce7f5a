use jiff::Timestamp;
use mcp_ultra_domain::{
    pinning::{Difference, Fingerprint, Pin, difference},
    scan::Finding,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::segment;
use crate::time::timestamp;

/// How many differences are shown, and how much of each value.
const MOST_CHANGES: usize = 50;
const LONGEST_VALUE: usize = 2_000;

/// A tool of a server, and what its definition is beside the one that was agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Tool)]
pub struct PinView {
    /// The server's name in the configuration.
    pub server: String,
    /// The server's own name of the tool.
    pub tool: String,
    /// The path of the tool in this API. A name that URLs would not keep is written in it as `~` and
    /// its base64url.
    pub href: String,
    /// `approved`, or why it waits for approval: `changed` since it was approved, `suspicious` at
    /// first sight, or `unknown`: not in the lock file, or another definition of a tool that was
    /// suspicious. What waits is held back where `pinning` is `enforce`.
    pub standing: String,
    /// Whether the server offered the tool the last time.
    pub offered: bool,
    /// Since when it is gone; null where the server offers it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub gone_since: Option<Timestamp>,
    /// The fingerprint of the definition that the server offers.
    pub fingerprint: Option<String>,
    /// The fingerprint of the definition that was agreed to; null where none was.
    pub approved: Option<String>,
    /// When it was agreed to (RFC 3339).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub approved_at: Option<Timestamp>,
    /// Who agreed; null where it was the first that was seen, or the lock file.
    pub approved_by: Option<String>,
    /// Since when another definition waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Timestamp>,
    /// What the scan found in the definition that the server offers.
    pub findings: Vec<FindingView>,
    /// What differs in the one that waits from the one that was agreed to, at most 50 members;
    /// null where one of them was too large to be kept.
    pub changes: Option<Vec<ChangeView>>,
}

/// Something that the scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ToolFinding)]
pub struct FindingView {
    /// `invisible`, `bidirectional`, `instruction`, `look_alike` or `too_large`.
    pub kind: String,
    /// `medium` or `high`.
    pub severity: String,
    /// The path of the text in the definition.
    pub at: String,
    /// What, in printable characters.
    pub what: String,
}

/// A member of a definition that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ToolChange)]
pub struct ChangeView {
    /// The path of the member; empty for the whole.
    pub at: String,
    /// What was agreed to, as JSON text, cut at 2,000 characters; null where there was nothing.
    pub before: Option<String>,
    /// What is there now.
    pub after: Option<String>,
}

impl PinView {
    /// The tool as it is shown.
    pub fn of(pin: &Pin) -> Self {
        let waiting = pin.waiting.as_ref().map(|(waiting, _)| waiting);
        let print = |print: Fingerprint| print.to_string();
        Self {
            server: pin.server.clone(),
            tool: pin.tool.clone(),
            href: format!("/api/v1/tools/{}/{}", pin.server, segment(&pin.tool)),
            standing: pin.standing().as_str().to_owned(),
            offered: pin.is_offered(),
            gone_since: pin.gone.map(timestamp),
            fingerprint: pin.current().map(|one| print(one.fingerprint)),
            approved: pin.approved.as_ref().map(|one| print(one.fingerprint)),
            approved_at: pin.approved.as_ref().map(|one| timestamp(one.at)),
            approved_by: pin.approved_by.clone(),
            waiting_since: waiting.map(|one| timestamp(one.at)),
            findings: pin.findings.iter().map(FindingView::of).collect(),
            changes: changes(pin),
        }
    }

    /// Whether it waits for approval.
    pub fn waits(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Its `ETag`, as it is sent in `If-Match`: the fingerprint that was agreed to, and the one that
    /// waits.
    pub fn tag(&self) -> String {
        let waiting = self.fingerprint.as_deref().filter(|_| self.waits());
        let approved = self.approved.as_deref().unwrap_or("none");
        let gone = if self.offered { "" } else { "gone." };
        format!("\"{gone}{approved}.{}\"", waiting.unwrap_or("none"))
    }
}

impl FindingView {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind.as_str().to_owned(),
            severity: finding.severity.as_str().to_owned(),
            at: finding.at.clone(),
            what: finding.what.clone(),
        }
    }
}

fn changes(pin: &Pin) -> Option<Vec<ChangeView>> {
    let Some((waiting, _)) = &pin.waiting else {
        return Some(Vec::new());
    };
    let after = waiting.text.as_deref()?;
    let before = match &pin.approved {
        Some(approved) => approved.text.as_deref()?,
        // All of it is new.
        None => "{}",
    };
    let found = difference(before, after, MOST_CHANGES).into_iter();
    let view = |one: Difference| ChangeView {
        at: one.at,
        before: one.before.map(cut),
        after: one.after.map(cut),
    };
    Some(found.map(view).collect())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_ultra_domain::pinning::{Definition, Standing};

    use super::*;

    #[test]
    fn what_differs_is_shown_and_cut() {
        let long = "x".repeat(LONGEST_VALUE * 2);
        let approved = Definition::new(&r#"{"name":"a","description":"One"}"#.into());
        let text = format!(r#"{{"name":"a","description":"{long}"}}"#);
        let waiting = Definition::new(&text.into()).at(Duration::from_secs(5));
        let mut pin = Pin {
            server: "crm".into(),
            tool: "a".into(),
            approved: Some(approved.clone()),
            approved_by: None,
            waiting: Some((waiting.clone(), Standing::Changed)),
            findings: Vec::new(),
            gone: None,
        };
        let view = PinView::of(&pin);
        let changes = view.changes.as_ref().unwrap();
        assert_eq!((changes.len(), &*changes[0].at), (1, "description"));
        assert_eq!(changes[0].before.as_deref(), Some("\"One\""));
        assert_eq!(
            changes[0].after.as_ref().unwrap().chars().count(),
            LONGEST_VALUE + 1
        );
        let (one, other) = (approved.fingerprint, waiting.fingerprint);
        assert_eq!(view.tag(), format!("\"{one}.{other}\""));
        pin.approved = None;
        let changes = PinView::of(&pin).changes.unwrap();
        assert_eq!(changes.len(), 2, "all of it is new");
        pin.waiting = None;
        pin.approved = Some(approved);
        let view = PinView::of(&pin);
        assert_eq!(
            (view.changes.as_deref(), view.waits()),
            (Some(&[][..]), false)
        );
        assert_eq!(view.tag(), format!("\"{one}.none\""));
    }
}
