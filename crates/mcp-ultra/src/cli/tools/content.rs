//! What a tool returned, for a person to read.

use mcp_ultra_protocol::json::{self, Object};

/// The result of a call as text: text content as it is, structured content as JSON, the rest as
/// a note of what is there.
pub(crate) fn readable(result: &str) -> String {
    let Ok(object) = Object::parse(result) else {
        return result.to_owned();
    };
    let blocks = object
        .get("content")
        .and_then(json::elements)
        .unwrap_or_default();
    let mut parts: Vec<String> = blocks.into_iter().map(block).collect();
    if let Some(structured) = object.get("structuredContent")
        // A server repeats the structure as text for old clients: once is enough.
        && !parts.iter().any(|part| same(part, structured))
    {
        parts.push(pretty(structured));
    }
    if parts.is_empty() {
        "(the tool returned no content)".to_owned()
    } else {
        parts.join("\n")
    }
}

/// Whether the tool says that it failed.
pub(crate) fn is_error(result: &str) -> bool {
    Object::parse(result).is_ok_and(|object| object.get("isError") == Some("true"))
}

fn block(raw: &str) -> String {
    let Ok(object) = Object::parse(raw) else {
        return raw.to_owned();
    };
    let text = |key| object.get_str(key).unwrap_or_default().into_owned();
    match &*text("type") {
        "text" => printable(&text("text")),
        kind @ ("image" | "audio") => {
            // Four characters of base64 hold three bytes.
            let bytes = object.get_str("data").map_or(0, |data| data.len() / 4 * 3);
            format!("({kind}, {}, about {bytes} bytes)", text("mimeType"))
        }
        "resource_link" => format!("(link to {}: {})", text("uri"), text("name")),
        "resource" => {
            let inner = object.get_object("resource").ok().flatten();
            let get = |key| inner.as_ref().and_then(|inner| inner.get_str(key));
            let uri = get("uri").unwrap_or_default();
            match get("text") {
                Some(text) => format!("(resource {uri})\n{}", printable(&text)),
                None => format!("(resource {uri}, binary)"),
            }
        }
        _ => pretty(raw),
    }
}

/// Without what would steer the terminal; line breaks and tabs stay.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

fn pretty(raw: &str) -> String {
    let tree = serde_json::from_str::<serde_json::Value>(raw);
    tree.and_then(|tree| serde_json::to_string_pretty(&tree))
        .unwrap_or_else(|_| raw.to_owned())
}

fn same(text: &str, structured: &str) -> bool {
    let read = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    read(text).is_some_and(|tree| Some(tree) == read(structured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_becomes_readable() {
        let result = r#"{"content":[{"type":"text","text":"olá\u001b[2J"},
            {"type":"image","mimeType":"image/png","data":"AAAAAAAA"},
            {"type":"resource_link","uri":"demo://a","name":"A"}],
            "structuredContent":{"n":1}}"#;
        assert_eq!(
            readable(result),
            "olá[2J\n(image, image/png, about 6 bytes)\n(link to demo://a: A)\n{\n  \"n\": 1\n}"
        );
        assert!(!is_error(result) && is_error(r#"{"isError": true,"content":[]}"#));
    }

    #[test]
    fn a_structure_that_is_repeated_as_text_is_shown_once() {
        let result =
            r#"{"content":[{"type":"text","text":"{\"n\":1}"}],"structuredContent":{"n": 1}}"#;
        assert_eq!(readable(result), r#"{"n":1}"#);
        assert_eq!(
            readable(r#"{"content":[]}"#),
            "(the tool returned no content)"
        );
    }
}
