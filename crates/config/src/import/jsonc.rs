//! JSON with comments and trailing commas, as VS Code writes it, to plain JSON.

/// Replaces comments and trailing commas by spaces, so that positions in errors stay true. Inside
/// strings nothing changes. What is not valid stays so, for the JSON parser to refuse.
pub(super) fn to_json(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out = String::with_capacity(text.len());
    // Where the last comma stands, as long as only space and comments came after it.
    let mut comma = None;
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let token = if letter == '"' {
            string(rest)
        } else if rest.starts_with("//") {
            rest.find(['\n', '\r']).unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.get(2..)
                .and_then(|body| body.find("*/"))
                .map_or(rest.len(), |end| end + 4)
        } else {
            letter.len_utf8()
        };
        let (taken, left) = rest.split_at(token);
        rest = left;
        if taken.len() > 1 && taken.starts_with('/') {
            out.extend(taken.chars().map(blank));
            continue;
        }
        match letter {
            ',' => comma = Some(out.len()),
            ']' | '}' => {
                if let Some(comma) = comma.take() {
                    out.replace_range(comma..=comma, " ");
                }
            }
            _ if letter.is_whitespace() => {}
            _ => comma = None,
        }
        out.push_str(taken);
    }
    out
}

/// The length of the string that the text begins with, quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn blank(letter: char) -> char {
    if matches!(letter, '\n' | '\r') {
        letter
    } else {
        ' '
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_comments_and_trailing_commas() {
        let text =
            "\u{feff}{ // one, \"two\"\n \"a\": [1, /* , */ 2 , ], \"b//\": \"/* x */,]\", }";
        let value: serde_json::Value = serde_json::from_str(&to_json(text)).expect("json");
        assert_eq!(
            value,
            serde_json::json!({ "a": [1, 2], "b//": "/* x */,]" })
        );
    }

    #[test]
    fn keeps_lines_and_what_is_not_valid() {
        assert_eq!(to_json("/* a\n b */x").lines().count(), 2);
        for text in [
            "\"open",
            "\"\\",
            "/* open",
            "//",
            "/",
            ",]",
            "{,}",
            "é//é\n,",
        ] {
            assert_eq!(
                to_json(text).lines().count(),
                text.lines().count(),
                "{text}"
            );
        }
    }
}
