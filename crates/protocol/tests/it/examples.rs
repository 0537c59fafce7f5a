//! An example of every message of the four revisions: valid against its schema, read as what it
//! is, and after every rewriting still valid and the same in every other byte.

use std::collections::BTreeSet;

use mcp_ultra_protocol::{Body, Id, Message, Method, Outcome, Request, Response, Version, json};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::schema::{assert_valid, definitions, value};

#[derive(Deserialize)]
struct Example<'a> {
    /// The definition in the schema: of the message, or of its `result`.
    #[serde(rename = "type")]
    definition: String,
    from: Option<&'a str>,
    #[serde(borrow)]
    message: &'a RawValue,
}

impl Example<'_> {
    fn versions(&self, examples: &Examples) -> Vec<Version> {
        let from = self.from.and_then(Version::parse).unwrap_or(examples.since);
        Version::ALL
            .into_iter()
            .filter(|version| (from..=examples.until).contains(version))
            .collect()
    }
}

struct Examples {
    lines: &'static str,
    since: Version,
    until: Version,
}

const ALL: [Examples; 2] = [
    Examples {
        lines: include_str!("messages/legacy.jsonl"),
        since: Version::V2025_03_26,
        until: Version::LATEST_LEGACY,
    },
    Examples {
        lines: include_str!("messages/modern.jsonl"),
        since: Version::V2026_07_28,
        until: Version::LATEST,
    },
];

fn each(mut check: impl FnMut(&Example<'_>, &[Version])) {
    for examples in &ALL {
        for line in examples.lines.lines() {
            let example: Example<'_> = serde_json::from_str(line).unwrap();
            check(&example, &example.versions(examples));
        }
    }
}

fn read(text: &str) -> Message {
    match Body::parse(text.as_bytes().to_vec()) {
        Ok(Body::Single(message)) => message,
        other => panic!("one message, not {other:?}: {text}"),
    }
}

/// Checks a message against its definition and against the envelope that all messages share.
#[track_caller]
fn assert_message(version: Version, definition: &str, text: &str) {
    let value = value(text);
    assert_valid(version, "JSONRPCMessage", &value);
    if definition.ends_with("Result") {
        assert_valid(version, definition, &value["result"]);
    } else {
        assert_valid(version, definition, &value);
    }
}

/// What is left of `text` when the only place where `part` stands is cut out.
#[track_caller]
fn around<'a>(text: &'a str, part: &str) -> (&'a str, &'a str) {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    (&text[..start], &text[start + part.len()..])
}

#[test]
fn every_example_is_valid_and_read_as_what_it_is() {
    let mut count = 0;
    each(|example, versions| {
        let text = example.message.get();
        for version in versions {
            assert_message(*version, &example.definition, text);
            count += 1;
        }
        let message = read(text);
        let kind = match &message {
            Message::Request(_) => "Request",
            Message::Notification(_) => "Notification",
            Message::Response(_) => "Result",
        };
        assert!(example.definition.ends_with(kind), "{kind}: {text}");
        let value = value(text);
        match message {
            Message::Request(request) => {
                assert_eq!(request.method, value["method"].as_str().unwrap());
                assert_eq!(request.id.as_raw(), value["id"].to_string());
                assert_eq!(request.params.is_some(), value.get("params").is_some());
                assert_eq!(request.text, text);
            }
            Message::Notification(notification) => {
                assert_eq!(notification.method, value["method"].as_str().unwrap());
                assert_eq!(notification.text, text);
            }
            Message::Response(response) => {
                assert_eq!(response.id.unwrap().as_raw(), value["id"].to_string());
                assert!(matches!(response.outcome, Outcome::Result(_)));
            }
        }
    });
    assert!(count > 180, "{count} examples in all revisions");
}

#[test]
fn a_rewritten_request_is_valid_and_the_same_elsewhere() {
    each(|example, versions| {
        let text = example.message.get();
        let Message::Request(request) = read(text) else {
            return;
        };
        let sent = request.rewritten(Id::from(4711), None);
        let (before, behind) = around(&request.text, request.id.as_raw());
        assert_eq!(sent.text, format!("{before}4711{behind}"));
        assert_message_all(versions, &example.definition, &sent.text);

        let Some(params) = &request.params else {
            return;
        };
        let object = json::Object::parse(params).unwrap();
        let edited = object.edit().set("x-added", "[1e400]").finish();
        let sent = request.rewritten(request.id.clone(), Some(&edited));
        let (before, behind) = around(&request.text, params);
        assert_eq!(sent.text, format!("{before}{edited}{behind}"));
        let Message::Request(read) = read(&sent.text) else {
            panic!("a request: {}", sent.text)
        };
        let restored = json::Object::parse(read.params.as_ref().unwrap())
            .unwrap()
            .edit()
            .remove("x-added")
            .finish();
        assert_eq!(restored, &**params);
        assert_eq!(
            read.rewritten(request.id.clone(), Some(&restored)).text,
            text
        );
    });
}

#[test]
fn a_rewritten_response_is_valid_and_the_same_elsewhere() {
    each(|example, versions| {
        let text = example.message.get();
        let Message::Response(response) = read(text) else {
            return;
        };
        let Outcome::Result(result) = &response.outcome else {
            panic!("a result: {text}")
        };
        let id = response.id.clone().unwrap();
        let sent = response.with_id(&Id::from(4711));
        let (before, behind) = around(&response.text, id.as_raw());
        assert_eq!(sent.text, format!("{before}4711{behind}"));
        assert_message_all(versions, &example.definition, &sent.text);

        let meta = r#"{"vendor/seen":12345678901234567890}"#;
        let edited = json::Object::parse(result)
            .unwrap()
            .edit()
            .set("x-vendor", meta)
            .finish();
        let sent = response.with_result(edited.clone());
        let (before, behind) = around(&response.text, result);
        assert_eq!(sent.text, format!("{before}{edited}{behind}"));
        assert_message_all(versions, &example.definition, &sent.text);
        assert_eq!(sent.with_result(result.clone()).with_id(&id).text, text);
    });
}

#[track_caller]
fn assert_message_all(versions: &[Version], definition: &str, text: &str) {
    for version in versions {
        assert_message(*version, definition, text);
    }
}

#[test]
fn batches_of_2025_03_26_are_read_element_by_element() {
    let version = Version::V2025_03_26;
    let mut asked = Vec::new();
    let mut answered = Vec::new();
    each(|example, versions| {
        if versions.contains(&version) {
            let text = example.message.get();
            match read(text) {
                Message::Response(_) => answered.push(text.to_owned()),
                Message::Request(_) | Message::Notification(_) => asked.push(text.to_owned()),
            }
        }
    });
    for (definition, texts) in [
        ("JSONRPCBatchRequest", asked),
        ("JSONRPCBatchResponse", answered),
    ] {
        let batch = format!(" [{}\n]", texts.join(" ,\n"));
        assert_valid(version, definition, &value(&batch));
        let Ok(Body::Batch(elements)) = Body::parse(batch.into_bytes()) else {
            panic!("a batch of {definition}")
        };
        assert_eq!(elements.len(), texts.len());
        for (element, text) in elements.iter().zip(&texts) {
            let read = match element.as_ref().unwrap() {
                Message::Request(request) => &request.text,
                Message::Notification(notification) => &notification.text,
                Message::Response(response) => &response.text,
            };
            assert_eq!(read, text);
        }
    }
}

#[test]
fn messages_of_our_own_making_are_valid() {
    each(|example, versions| {
        let text = match read(example.message.get()) {
            Message::Request(request) => {
                Request::new(request.id, &request.method, request.params.as_deref()).text
            }
            Message::Notification(notification) => {
                let params = notification.params.as_deref();
                mcp_ultra_protocol::Notification::new(&notification.method, params).text
            }
            Message::Response(response) => match &response.outcome {
                Outcome::Result(result) => {
                    Response::result(response.id.as_ref().unwrap(), result).text
                }
                Outcome::Error(_) => panic!("no errors among the examples"),
            },
        };
        assert_message_all(versions, &example.definition, &text);
    });
}

#[test]
fn no_message_of_any_revision_is_without_an_example() {
    // What only groups others, or is never sent by itself.
    const GROUPS: [&str; 14] = [
        "Request",
        "Notification",
        "Result",
        "PaginatedRequest",
        "PaginatedResult",
        "CacheableResult",
        "ClientRequest",
        "ServerRequest",
        "ClientNotification",
        "ServerNotification",
        "ClientResult",
        "ServerResult",
        "JSONRPCRequest",
        "JSONRPCNotification",
    ];
    // Of 2026-07-28: parts of an `InputRequiredResult` and of the request that answers it.
    const INSIDE: [&str; 7] = [
        "InputRequest",
        "ElicitRequest",
        "ElicitResult",
        "CreateMessageRequest",
        "CreateMessageResult",
        "ListRootsRequest",
        "ListRootsResult",
    ];
    for version in Version::ALL {
        let mut shown = BTreeSet::new();
        let mut methods = BTreeSet::new();
        let mut contents = BTreeSet::new();
        each(|example, versions| {
            if !versions.contains(&version) {
                return;
            }
            shown.insert(example.definition.clone());
            let value = value(example.message.get());
            methods.extend(value["method"].as_str().map(str::to_owned));
            let blocks = value["result"]["content"].as_array().into_iter().flatten();
            contents.extend(blocks.map(|block| block["type"].as_str().unwrap().to_owned()));
        });
        let missing: Vec<&String> = definitions(version)
            .keys()
            .filter(|name| {
                ["Request", "Notification", "Result"]
                    .iter()
                    .any(|end| name.ends_with(end))
            })
            .filter(|name| !GROUPS.contains(&name.as_str()) && !shown.contains(*name))
            // Shown by the test of batches.
            .filter(|name| *name != "JSONRPCBatchRequest")
            .filter(|name| version != Version::LATEST || !INSIDE.contains(&name.as_str()))
            .collect();
        assert!(missing.is_empty(), "{version}: {missing:?}");

        let mut kinds = vec!["audio", "image", "resource", "text"];
        if version >= Version::V2025_06_18 {
            kinds.insert(3, "resource_link");
        }
        assert!(contents.iter().eq(&kinds), "{version}: {contents:?}");

        for method in definitions(version)
            .iter()
            .filter(|(name, _)| name.ends_with("Request"))
            .filter_map(|(_, schema)| schema["properties"]["method"]["const"].as_str())
        {
            let by_servers = ["roots/list", "sampling/createMessage", "elicitation/create"];
            if !by_servers.contains(&method) {
                assert!(methods.contains(method), "{version}: {method}");
                assert!(Method::parse(method).is_some(), "{method} is not known");
            }
        }
    }
}
