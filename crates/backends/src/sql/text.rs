//! Texts with a NUL, which PostgreSQL does not take: a server may well name a tool so, and must not
//! keep its other tools from being noted.
//!
//! U+10FFFF, which stands for no character, marks what was replaced. Such texts sort elsewhere than
//! in SQLite, which nothing depends on.

use std::borrow::Cow;

const MARK: char = '\u{10FFFF}';
const NUL: &str = "\u{10FFFF}0";
const MARK_ITSELF: &str = "\u{10FFFF}1";

/// `text` as PostgreSQL can keep it.
pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return text.into();
    }
    let marked = text.replace(MARK, MARK_ITSELF);
    marked.replace('\0', NUL).into()
}

/// The text that [`without_nul`] was given.
pub(super) fn with_nul(kept: String) -> String {
    if !kept.contains(MARK) {
        return kept;
    }
    kept.replace(NUL, "\0").replace(MARK_ITSELF, "\u{10FFFF}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let texts = [
            "",
            "plain é",
            "\0",
            "a\0b\0",
            "\u{10FFFF}",
            "\u{10FFFF}0",
            "\u{10FFFF}\0",
            "\0\u{10FFFF}1\u{10FFFF}\u{10FFFF}0",
        ];
        for text in texts {
            let kept = without_nul(text);
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(with_nul(kept.into_owned()), text);
        }
    }

    #[test]
    fn different_texts_stay_different() {
        assert_ne!(without_nul("\0"), without_nul("\u{10FFFF}0"));
    }
}
