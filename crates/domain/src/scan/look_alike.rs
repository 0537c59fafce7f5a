use std::collections::HashMap;

use super::{Finding, FindingKind, Severity};

/// Names that look like another of `names`, by their index: letters of other scripts, capitals,
/// digits for letters, other separators. Of those that look alike, each but the first is reported.
pub fn look_alikes(names: &[&str]) -> Vec<(usize, Finding)> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let other = *first.entry(skeleton(name)).or_insert(index);
        if names[other] == *name {
            continue;
        }
        // Capitals and separators are a matter of style; foreign letters in such a name are not.
        let severity = if name.is_ascii() && names[other].is_ascii() {
            Severity::Medium
        } else {
            Severity::High
        };
        let shown: String = names[other]
            .chars()
            .filter(char::is_ascii_graphic)
            .collect();
        found.push((
            index,
            Finding {
                kind: FindingKind::LookAlike,
                severity,
                at: "name".to_owned(),
                what: format!("looks like {shown}"),
            },
        ));
    }
    found
}

/// Whether a name has letters of another script that look like Latin ones, among Latin letters (UTS
/// 39, 5.1: mixed scripts): it is made to be taken for another name, whether that one is there or
/// not.
pub fn mixed_scripts(name: &str) -> Option<Finding> {
    let foreign = |c: char| c.is_alphabetic() && looks_ascii(c);
    let mixed = name.chars().any(foreign) && name.chars().any(|c| c.is_ascii_alphabetic());
    mixed.then(|| Finding {
        kind: FindingKind::LookAlike,
        severity: Severity::High,
        at: "name".to_owned(),
        what: "letters of another script among Latin ones".to_owned(),
    })
}

/// Whether a name has a character beyond ASCII that looks like one within, or like none: it may be
/// taken for another name, if that one is there.
pub fn may_imitate(name: &str) -> bool {
    name.chars().any(looks_ascii)
}

fn looks_ascii(c: char) -> bool {
    let mut one = [0; 4];
    !c.is_ascii() && skeleton(c.encode_utf8(&mut one)).is_ascii()
}

/// What a name looks like (after UTS 39, section 4, for the characters that are used for it).
fn skeleton(name: &str) -> String {
    let visible = name
        .chars()
        .flat_map(char::to_lowercase)
        .filter_map(|c| match c {
            '_'
            | '-'
            | '.'
            | '/'
            | ' '
            | '\u{00AD}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2060}'..='\u{2064}'
            | '\u{FEFF}' => None,
            '0' | 'о' | 'ο' | 'օ' => Some('o'),
            '1' | 'l' | 'і' | 'ι' | 'ı' | '|' | 'ӏ' => Some('i'),
            'а' | 'α' => Some('a'),
            'е' | 'ε' => Some('e'),
            'с' | 'ϲ' => Some('c'),
            'р' | 'ρ' => Some('p'),
            'х' | 'χ' => Some('x'),
            'у' | 'γ' => Some('y'),
            'ѕ' => Some('s'),
            'ј' => Some('j'),
            'ԁ' => Some('d'),
            'һ' => Some('h'),
            'к' | 'κ' => Some('k'),
            'м' => Some('m'),
            'т' | 'τ' => Some('t'),
            'ν' => Some('v'),
            'ո' => Some('n'),
            'υ' | 'ս' => Some('u'),
            'ɡ' => Some('g'),
            '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0),
            other => Some(other),
        });
    visible.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_are_mixed_are_found() {
        for (name, mixed) in [
            ("sеnd_mail", true),
            ("ѕend", true),
            ("send_mail", false),
            ("отправить", false),
            ("buscar_ação", false),
            ("поиск_2", false),
        ] {
            assert_eq!(mixed_scripts(name).is_some(), mixed, "{name}");
        }
    }

    #[test]
    fn names_that_may_imitate_others_are_known() {
        for (name, may) in [
            ("сору", true), // all of it is Cyrillic
            ("sеnd_mail", true),
            ("send\u{200B}", true),
            ("ｓend", true),
            ("send_mail", false),
            ("buscar_ação", false),
            ("検索", false),
        ] {
            assert_eq!(may_imitate(name), may, "{name}");
        }
    }

    #[test]
    fn names_that_look_alike_are_found() {
        let names = [
            "send_mail",
            "sеnd_mail",
            "SendMail",
            "list",
            "1ist",
            "other",
            "list",
        ];
        let found: Vec<_> = look_alikes(&names)
            .into_iter()
            .map(|(index, finding)| (index, finding.severity, finding.what))
            .collect();
        let expected = [
            (1, Severity::High, "looks like send_mail"),
            (2, Severity::Medium, "looks like send_mail"),
            (4, Severity::Medium, "looks like list"),
        ];
        let expected = expected.map(|(index, severity, what)| (index, severity, what.to_owned()));
        assert_eq!(found, expected);
    }
}
