//! A body is a message, a batch or an error, never a panic; and whatever is a message can be
//! rewritten and back without a byte of it changing.

use mcp_ultra_protocol::{
    Body, ByteString, EnvelopeError, Id, Message, Notification, Outcome, Request, Response, json,
};
use serde_json::{Value, value::RawValue};

/// The property.
pub fn holds(data: &[u8]) {
    match Body::parse(data.to_vec()) {
        Ok(Body::Single(message)) => self::message(&message),
        Ok(Body::Batch(messages)) => {
            assert!(!messages.is_empty());
            for element in messages {
                match element {
                    Ok(message) => self::message(&message),
                    Err(error) => refusal(&error),
                }
            }
        }
        Err(error) => {
            if !matches!(error, EnvelopeError::Malformed(_)) {
                assert!(std::str::from_utf8(data).is_ok());
            }
            refusal(&error);
        }
    }
}

fn refusal(error: &EnvelopeError) {
    let wire = error.to_wire();
    assert!(matches!(wire.code, -32700 | -32600));
    let answer = Response::error(error.id(), &wire);
    let Ok(Message::Response(read)) = Message::parse(answer.text.clone().into_bytes()) else {
        unreachable!("an error that is no message: {}", answer.text)
    };
    assert_eq!(read.id.as_ref(), error.id());
}

fn message(message: &Message) {
    let text = match message {
        Message::Request(request) => &request.text,
        Message::Notification(notification) => &notification.text,
        Message::Response(response) => &response.text,
    };
    assert!(is_json(text) && json::check_depth(text).is_ok(), "{text}");
    line(text, message);
    match message {
        Message::Request(request) => self::request(request),
        Message::Notification(notification) => self::notification(notification),
        Message::Response(response) => self::response(response),
    }
}

/// A message on a line of its own is still the same message, and one line.
fn line(text: &ByteString, message: &Message) {
    let line = json::to_line(text);
    assert!(!line.contains(['\r', '\n']));
    assert_eq!(json::to_line(&line), line);
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    assert_eq!(value(text), value(&line));
    let Ok(read) = Message::parse(line.into_bytes()) else {
        unreachable!("a message that is none on one line: {text}")
    };
    assert_eq!(
        std::mem::discriminant(&read),
        std::mem::discriminant(message)
    );
}

fn request(request: &Request) {
    assert!(request.params.as_deref().is_none_or(is_json_object));
    let other = request.rewritten(Id::from(7), Some(r#"{"z":1}"#));
    let Ok(Message::Request(read)) = Message::parse(other.text.clone().into_bytes()) else {
        unreachable!("a rewritten request that is none: {}", other.text)
    };
    assert_eq!((&read.id, &read.method), (&Id::from(7), &request.method));
    assert_eq!(read.params.as_deref(), Some(r#"{"z":1}"#));
    if let Some(params) = &request.params {
        let back = read.rewritten(request.id.clone(), Some(params));
        assert_eq!(back.text, request.text, "every other byte");
    }
}

fn notification(notification: &Notification) {
    assert!(notification.params.as_deref().is_none_or(is_json_object));
    let other = notification.with_params("{}");
    let Ok(Message::Notification(read)) = Message::parse(other.text.clone().into_bytes()) else {
        unreachable!("a rewritten notification that is none: {}", other.text)
    };
    if let Some(params) = &notification.params {
        let back = read.with_params(params.clone());
        assert_eq!(back.text, notification.text, "every other byte");
    }
}

fn response(response: &Response) {
    let other = response.with_id(&Id::from(7));
    let Ok(Message::Response(read)) = Message::parse(other.text.clone().into_bytes()) else {
        unreachable!("a rewritten response that is none: {}", other.text)
    };
    assert_eq!(read.id, Some(Id::from(7)));
    if let Some(id) = &response.id {
        assert_eq!(read.with_id(id).text, response.text, "every other byte");
    }
    match &response.outcome {
        Outcome::Result(result) => {
            assert!(is_json_object(result));
            let back = response.with_result("{}").with_result(result.clone());
            assert_eq!(back.text, response.text, "every other byte");
        }
        Outcome::Error(error) => assert!(is_json_object(error)),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn is_json_object(text: &str) -> bool {
    is_json(text) && json::is_object(text)
}
