//! What is inside of a message survives byte for byte, whatever it is.

use mcp_ultra_protocol::{
    ByteString, Id, Message, Outcome,
    json::{self, Edit, Object},
};
use proptest::prelude::*;
use serde_json::Value;

fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -!#-\\[\\]-~]{1,8}",
        "[é世\u{7f}\u{2028}😀]{1,3}",
        prop::sample::select(vec![
            r#"\""#,
            r"\\",
            r"\/",
            r"\b",
            r"\n",
            r"\u0000",
            r"\u00E9",
            r"\ud83d\ude00",
            r"\ud800",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// The text of any JSON value, with any spelling of it.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string(),
        "-?(0|[1-9][0-9]{0,30})([.][0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        "[1-9][0-9]{399}",
        prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let spaced = (space(), inner, space())
            .prop_map(|(a, value, b)| a + &value + &b)
            .boxed();
        let member = (space(), string(), space(), spaced.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            prop::collection::vec(spaced, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

fn message(text: &str) -> Message {
    Message::parse(text.as_bytes().to_vec()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The value where `serde_json` can hold it: it has no numbers of 400 digits, nor lone surrogates.
fn meaning(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn params_of_a_request(tree in tree(), vendor in tree(), before in space(), behind in space()) {
        let text = format!(
            r#"{{"x-vendor":{vendor},"method":"tools/call",{before}"id":"q"{behind},"params":{{"name":"n","arguments":{tree}}},"jsonrpc":"2.0"}}"#
        );
        let Message::Request(request) = message(&text) else { panic!("a request") };
        let params = request.params.clone().unwrap();
        let object = Object::parse(&params).unwrap();
        prop_assert_eq!(object.get("arguments"), Some(tree.as_str()));
        let renamed = object.edit().set_str("name", "other").finish();
        let sent = request.rewritten(Id::from(1), Some(&renamed));
        prop_assert!(sent.text.contains(&tree) && sent.text.contains(&vendor));
        let shorter = "\"q\"".len() - "1".len();
        let longer = "other".len() - "n".len();
        prop_assert_eq!(sent.text.len(), text.len() - shorter + longer);
        let Message::Request(read) = message(&sent.text) else { panic!("a request") };
        let back = read.rewritten(request.id.clone(), Some(&params));
        prop_assert_eq!(back.text, text);
    }

    #[test]
    fn result_of_a_response(tree in tree()) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"structuredContent":{tree}}}}}"#);
        let Message::Response(response) = message(&text) else { panic!("a response") };
        let sent = response.with_id(&Id::from(77));
        prop_assert_eq!(&*sent.text, text.replacen("\"id\":3", "\"id\":77", 1));
        let Outcome::Result(result) = &sent.outcome else { panic!("a result") };
        prop_assert_eq!(Object::parse(result).unwrap().get("structuredContent"), Some(tree.as_str()));
    }

    #[test]
    fn edits_leave_the_other_members(values in prop::collection::vec((tree(), space(), space()), 1..6), at: prop::sample::Index) {
        let member = |(index, (value, a, b)): (usize, &(String, String, String))| format!("{a}\"k{index}\"{b}:{a}{value}{b}");
        let members: Vec<String> = values.iter().enumerate().map(member).collect();
        let text = format!("{{{}}}", members.join(","));
        let object = Object::parse(&text).unwrap();
        let key = format!("k{}", at.index(values.len()));
        let edit = |change: fn(Edit<'_, '_>, &str) -> String| change(object.edit(), &key);
        let replaced = edit(|edit, key| edit.set(key.to_owned(), "0").finish());
        let removed = edit(|edit, key| edit.remove(key.to_owned()).finish());
        for (index, (value, ..)) in values.iter().enumerate() {
            let name = format!("k{index}");
            if name == key {
                prop_assert_eq!(Object::parse(&replaced).unwrap().get(&name), Some("0"));
                prop_assert_eq!(Object::parse(&removed).unwrap().get(&name), None);
            } else {
                prop_assert_eq!(Object::parse(&replaced).unwrap().get(&name), Some(value.as_str()));
                prop_assert_eq!(Object::parse(&removed).unwrap().get(&name), Some(value.as_str()));
            }
        }
        let object = Object::parse(&replaced).unwrap();
        let value = values[at.index(values.len())].0.as_str();
        prop_assert_eq!(object.edit().set(key.clone(), value).finish(), text);
    }

    #[test]
    fn a_line_has_no_line_break_and_the_same_meaning(tree in tree()) {
        let line = json::to_line(&ByteString::from(tree.as_str()));
        prop_assert!(!line.contains(['\r', '\n']));
        prop_assert_eq!(&json::to_line(&line), &line);
        prop_assert_eq!(meaning(&line), meaning(&tree));
        let meant: String = tree.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        prop_assert_eq!(&*line, meant);
    }
}
