//! Messages that are made to be read in two ways, or to break the reader.

use mcp_ultra_protocol::{
    Body, Id, MAX_BATCH, Message,
    json::{MAX_DEPTH, Object, ObjectError},
    meta::RequestMeta,
};

fn code(text: &str) -> i64 {
    match Body::parse(text.as_bytes().to_vec()) {
        Err(error) => error.to_wire().code,
        Ok(body) => panic!("{body:?}"),
    }
}

/// A request whose `params` nest to `levels` levels of the whole message.
fn nested(levels: usize) -> String {
    let inner = levels - 2;
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
        "[".repeat(inner),
        "]".repeat(inner)
    )
}

#[test]
fn nesting_is_accepted_up_to_its_limit() {
    assert!(Body::parse(nested(MAX_DEPTH)).is_ok());
    assert_eq!(code(&nested(MAX_DEPTH + 1)), -32600);
    // A batch is a level of its own.
    assert!(Body::parse(format!("[{}]", nested(MAX_DEPTH - 1))).is_ok());
    assert_eq!(code(&format!("[{}]", nested(MAX_DEPTH))), -32600);
}

#[test]
fn nesting_without_end_does_not_overflow_the_stack() {
    for opening in [
        "[",
        "{\"a\":",
        "[{\"a\":",
        "{\"jsonrpc\":\"2.0\",\"params\":[",
    ] {
        assert_eq!(code(&opening.repeat(1_000_000)), -32600, "{opening}");
    }
}

#[test]
fn a_key_twice_is_refused_at_every_level_that_is_read() {
    for envelope in [
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1,"method":"x"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","m\u0065thod":"y"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"x","vendor":1,"vendor":1}"#,
    ] {
        assert_eq!(code(envelope), -32600, "{envelope}");
    }
    let params = r#"{"name":"a","n\u0061me":"b"}"#;
    assert_eq!(
        Object::parse(params).unwrap_err(),
        ObjectError::DuplicateKey("name".into())
    );
    let meta = r#"{"_meta":{"progressToken":1,"progressToken":2}}"#;
    assert!(RequestMeta::of_params(Some(meta)).is_err());
    let arguments = r#"{"arguments":{"a":1,"a":2}}"#;
    let object = Object::parse(arguments).unwrap();
    assert!(object.get_object("arguments").is_err());
    // Nobody reads this one: it goes on as it came.
    assert_eq!(object.get("arguments"), Some(r#"{"a":1,"a":2}"#));
}

#[test]
fn hundreds_of_keys_are_compared_too() {
    let members = |count: usize| -> String {
        (0..count)
            .map(|n| format!("\"key-{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let text = format!("{{{}}}", members(500));
    assert_eq!(Object::parse(&text).unwrap().members().len(), 500);
    let text = format!("{{{},\"key\\u002d499\":0}}", members(500));
    assert_eq!(
        Object::parse(&text).unwrap_err(),
        ObjectError::DuplicateKey("key-499".into())
    );
}

#[test]
fn an_id_of_400_digits_is_an_id() {
    let digits = "7".repeat(400);
    let text = format!(r#"{{"jsonrpc":"2.0","id":{digits},"method":"ping"}}"#);
    let Ok(Message::Request(request)) = Message::parse(text.clone()) else {
        panic!("a request")
    };
    assert_eq!(request.id.as_raw(), digits);
    assert_eq!(
        request.rewritten(Id::from(1), None).text,
        text.replace(&digits, "1")
    );
    let longer = text.replace(&digits, &"7".repeat(2000));
    assert_eq!(code(&longer), -32600);
}

#[test]
fn lone_surrogates_pass_where_they_are_not_read() {
    let inside =
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800","b":{"\udfff":1}}}"#;
    let Ok(Message::Request(request)) = Message::parse(inside) else {
        panic!("a request")
    };
    assert_eq!(
        request.params.unwrap(),
        r#"{"a":"\ud800","b":{"\udfff":1}}"#
    );
    // As a method or an id they mean nothing, as a key of the envelope neither.
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#),
        -32600
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":"\ud800","method":"x"}"#),
        -32600
    );
    assert_eq!(
        code(r#"{"jsonrpc":"2.0","id":1,"method":"x","\ud800":1}"#),
        -32700
    );
}

#[test]
fn raw_control_characters_and_what_is_not_utf8_are_no_json() {
    for text in [
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\nb\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\u{0}b\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ab\"}\u{0}",
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ab\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ab\",}",
        "{\"jsonrpc\":\"2.0\",\"id\":01,\"method\":\"ab\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ab\"} {}",
    ] {
        assert_eq!(code(text), -32700, "{text:?}");
    }
    let error = Body::parse(&b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc3\x28\"}"[..]);
    assert_eq!(error.unwrap_err().to_wire().code, -32700);
}

#[test]
fn escaped_names_mean_what_they_say() {
    let text = r#"{"jsonrpc":"2\u002e0","\u0069d":"a\/b","method":"tools\/call"}"#;
    let Ok(Message::Request(request)) = Message::parse(text) else {
        panic!("a request")
    };
    assert_eq!(request.method, "tools/call");
    assert_eq!(request.id, Id::from_raw("\"a/b\"".into()).unwrap());
    assert_eq!(request.id.as_raw(), r#""a\/b""#);
}

#[test]
fn a_batch_of_very_many_elements_is_refused() {
    let batch = format!("[{}]", vec!["1"; MAX_BATCH * 1000].join(","));
    assert_eq!(code(&batch), -32600);
}
