use serde_json::Value;

/// The members of one definition that another one has not, or has otherwise: paths such as
/// `inputSchema.properties.q.description`, in order, each with the values before and after as JSON
/// text. At most `most` of them.
pub fn difference(before: &str, after: &str, most: usize) -> Vec<Difference> {
    let mut found = Vec::new();
    match (serde_json::from_str(before), serde_json::from_str(after)) {
        (Ok(before), Ok(after)) => compare(Some(&before), Some(&after), "", most, &mut found),
        // What serde does not read (numbers of any size) counts by its text.
        _ if before != after => found.push(Difference {
            at: String::new(),
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
        }),
        _ => {}
    }
    found
}

/// A member that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path; empty where it is the whole.
    pub at: String,
    /// What was there, as JSON; `None` where nothing was.
    pub before: Option<String>,
    /// What is there now.
    pub after: Option<String>,
}

/// Recursion is bounded: the parser refuses more than 128 levels.
fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    at: &str,
    most: usize,
    found: &mut Vec<Difference>,
) {
    if before == after || found.len() >= most {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) {
        let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let below = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            compare(old.get(key), new.get(key), &below, most, found);
        }
        return;
    }
    found.push(Difference {
        at: at.to_owned(),
        before: before.map(Value::to_string),
        after: after.map(Value::to_string),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(before: &str, after: &str) -> Vec<String> {
        let found = difference(before, after, 10).into_iter();
        found.map(|one| one.at).collect()
    }

    #[test]
    fn members_that_differ_are_named() {
        let before = r#"{"name":"a","description":"Finds","inputSchema":{"properties":{"q":{"type":"string"}}},"title":"A"}"#;
        let after = r#"{"name":"a","description":"Sends","inputSchema":{"properties":{"q":{"type":"object"}}},"x":[1]}"#;
        let expected = ["description", "inputSchema.properties.q.type", "title", "x"];
        assert_eq!(paths(before, after), expected);
        let found = difference(before, after, 10);
        assert_eq!(found[0].before.as_deref(), Some("\"Finds\""));
        assert_eq!((&found[2].after, found[3].before.as_ref()), (&None, None));
        assert_eq!(paths(before, before), [""; 0]);
        assert_eq!(difference(before, after, 2).len(), 2);
    }

    #[test]
    fn what_is_not_read_counts_by_its_text() {
        assert_eq!(paths("{", "["), [""]);
        assert_eq!(paths("{", "{"), [""; 0]);
    }
}
