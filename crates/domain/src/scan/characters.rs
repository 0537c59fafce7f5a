use super::{FindingKind, Severity};

/// From this many on, invisible characters are a message rather than an accident.
const MESSAGE: usize = 8;

/// Characters of `text` that are not shown or that reorder what is.
pub(super) fn find(text: &str) -> Vec<(FindingKind, Severity, String)> {
    // Nearly all definitions, and all of ASCII is visible or refused by JSON.
    if text.is_ascii() {
        return Vec::new();
    }
    let (mut tags, mut selectors, mut invisible) = (0, 0, 0);
    let (mut overrides, mut marks) = (0, 0);
    let mut in_flag = false;
    let mut before = ' ';
    for c in text.chars() {
        in_flag = c == '\u{1F3F4}' || (in_flag && is_tag(c));
        match c {
            // A flag of a region is written so (UTS 51, emoji tag sequences).
            _ if is_tag(c) => tags += usize::from(!in_flag),
            // One after a character chooses how it is shown; those after it choose nothing.
            '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
                selectors += usize::from(is_selector(before) || before.is_ascii_alphabetic());
            }
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => overrides += 1,
            '\u{200E}' | '\u{200F}' | '\u{061C}' => marks += 1,
            // They join emoji and the letters of some scripts, but none of ASCII.
            '\u{200C}' | '\u{200D}' => {
                invisible += usize::from(before.is_ascii() || is_joiner(before));
            }
            '\u{00AD}'
            | '\u{034F}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206A}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}' => invisible += 1,
            _ => {}
        }
        before = c;
    }
    let hidden = |count| {
        if count >= MESSAGE {
            Severity::High
        } else {
            Severity::Medium
        }
    };
    [
        (
            FindingKind::Invisible,
            Severity::High,
            tags,
            "tag characters (U+E0000 and on)",
        ),
        (
            FindingKind::Invisible,
            Severity::High,
            selectors,
            "variation selectors that select nothing",
        ),
        (
            FindingKind::Invisible,
            hidden(invisible),
            invisible,
            "invisible characters",
        ),
        (
            FindingKind::Bidirectional,
            Severity::High,
            overrides,
            "characters that reorder text",
        ),
        (
            FindingKind::Bidirectional,
            Severity::Medium,
            marks,
            "marks of direction",
        ),
    ]
    .into_iter()
    .filter(|(_, _, count, _)| *count > 0)
    .map(|(kind, severity, count, what)| (kind, severity, format!("{count} {what}")))
    .collect()
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{E0001}'..='\u{E007F}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200D}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(text: &str) -> Option<Severity> {
        find(text)
            .into_iter()
            .map(|(_, severity, _)| severity)
            .max()
    }

    #[test]
    fn hidden_characters_are_found_by_what_they_can_carry() {
        for (text, expected) in [
            ("a\u{E0061}b", Some(Severity::High)),
            ("a\u{FE01}\u{FE02}\u{FE03}", Some(Severity::High)),
            ("é\u{E0101}\u{E0102}", Some(Severity::High)),
            ("in\u{200B}visible", Some(Severity::Medium)),
            ("ad\u{200D}min", Some(Severity::Medium)),
            (&"\u{2060}".repeat(MESSAGE), Some(Severity::High)),
            ("\u{202E}gpj", Some(Severity::High)),
            ("a\u{200F}", Some(Severity::Medium)),
            ("❤\u{FE0F}", None),
            ("👩\u{200D}💻", None),
            ("é", None),
        ] {
            assert_eq!(severity(text), expected, "{text:?}");
        }
    }
}
