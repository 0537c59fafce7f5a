//! The catalog: the six tools that answer with a text, and as many more as are asked for, with
//! definitions as long as those of real servers (about 600 bytes). Pages are made once.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::payload::{Form, Size, tool_name};

/// The pages of `tools/list`, as result objects.
#[derive(Debug)]
pub(crate) struct Pages {
    modern: Vec<Bytes>,
    legacy: Vec<Bytes>,
}

/// An hour: nobody asks again during a run.
const TTL_MS: u64 = 3_600_000;

impl Pages {
    /// A catalog of the six tools and `more` others.
    pub(crate) fn new(more: usize, page_size: usize) -> Self {
        let tools: Vec<Value> = echoes().chain((0..more).map(record_tool)).collect();
        let count = tools.len().div_ceil(page_size);
        let mut pages = Self {
            modern: Vec::new(),
            legacy: Vec::new(),
        };
        for (number, tools) in tools.chunks(page_size).enumerate() {
            let mut page = json!({ "tools": tools });
            if number + 1 < count {
                page["nextCursor"] = json!(format!("page-{}", number + 1));
            }
            pages.legacy.push(Bytes::from(page.to_string()));
            page["resultType"] = json!("complete");
            page["ttlMs"] = json!(TTL_MS);
            page["cacheScope"] = json!("public");
            pages.modern.push(Bytes::from(page.to_string()));
        }
        pages
    }

    /// The page that a cursor of ours names, the first without one; `None` for a foreign cursor.
    pub(crate) fn page(&self, modern: bool, cursor: Option<&str>) -> Option<Bytes> {
        let number = match cursor {
            None => 0,
            Some(cursor) => cursor.strip_prefix("page-")?.parse().ok()?,
        };
        let pages = if modern { &self.modern } else { &self.legacy };
        pages.get(number).cloned()
    }
}

fn echoes() -> impl Iterator<Item = Value> {
    Form::ALL.into_iter().flat_map(|form| {
        Size::ALL.into_iter().map(move |size| {
            json!({
                "name": tool_name(size, form),
                "description": format!("Notes of {} as {}.", size.label(), form.label()),
                "inputSchema": {
                    "type": "object",
                    "properties": { "order": { "type": "string", "maxLength": 40 } }
                }
            })
        })
    })
}

fn record_tool(number: usize) -> Value {
    const AREAS: [&str; 8] = [
        "orders",
        "invoices",
        "tickets",
        "parcels",
        "refunds",
        "contracts",
        "visits",
        "assets",
    ];
    const VERBS: [&str; 5] = ["search", "read", "create", "update", "archive"];
    let area = AREAS[number % AREAS.len()];
    let verb = VERBS[number / AREAS.len() % VERBS.len()];
    json!({
        "name": format!("{verb}_{area}_{number:05}"),
        "title": format!("{verb} {area} of branch {number}"),
        "description": format!(
            "Use this to {verb} {area} of branch {number}. Filters combine with AND; dates are \
             RFC 3339; at most 100 records come back, newest first. Fails with a clear message \
             when the branch is closed."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Words to look for" },
                "since": { "type": "string", "format": "date-time" },
                "status": { "type": "string", "enum": ["open", "waiting", "done"] },
                "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 20 }
            },
            "required": ["query"]
        },
        "annotations": { "readOnlyHint": verb == "search" || verb == "read" }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_about_600_bytes() {
        for number in [0, 17, 9_999] {
            let bytes = record_tool(number).to_string().len();
            assert!((540..=680).contains(&bytes), "{bytes} bytes");
        }
    }

    #[test]
    fn the_pages_hold_every_tool_once() {
        let pages = Pages::new(1_000, 300);
        let (mut cursor, mut names) = (None, std::collections::BTreeSet::new());
        loop {
            let page = pages.page(true, cursor.as_deref()).unwrap();
            let page: Value = serde_json::from_slice(&page).unwrap();
            assert_eq!(page["resultType"], "complete");
            for tool in page["tools"].as_array().unwrap() {
                assert!(names.insert(tool["name"].as_str().unwrap().to_owned()));
            }
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(names.len(), 1_006);
        assert!(pages.page(true, Some("page-4")).is_none());
        assert!(pages.page(true, Some("elsewhere")).is_none());
    }

    #[test]
    fn legacy_pages_carry_nothing_modern() {
        let page = Pages::new(0, 10).page(false, None).unwrap();
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(
            page.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["tools"]
        );
    }
}
