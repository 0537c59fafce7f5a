use bytes::Bytes;
use bytestring::ByteString;

use super::{Body, EnvelopeError, Message, Notification, Outcome, Request, Response};
use crate::{
    Id,
    json::{self, Object, ObjectError},
};

/// How many messages a batch may hold: each costs far more memory than the two bytes that the
/// shortest element takes on the wire.
pub const MAX_BATCH: usize = 1000;

impl Body {
    /// Reads the body of an HTTP request, or a line.
    ///
    /// # Errors
    /// [`EnvelopeError`] for what is not one message and not a batch. An invalid element of a
    /// batch does not spoil the others.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, EnvelopeError> {
        let text = text_of(bytes.into())?;
        if !text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('[')
        {
            return Message::read(&text).map(Self::Single);
        }
        let elements = json::read_elements(&text).map_err(unreadable)?;
        if elements.is_empty() {
            return Err(invalid("an empty batch", None));
        }
        if elements.len() > MAX_BATCH {
            return Err(invalid(
                format!("a batch of more than {MAX_BATCH} messages"),
                None,
            ));
        }
        let messages = elements
            .into_iter()
            .map(|element| Message::read(&text.slice_ref(element)))
            .collect();
        Ok(Self::Batch(messages))
    }
}

fn text_of(bytes: Bytes) -> Result<ByteString, EnvelopeError> {
    ByteString::try_from(bytes).map_err(|error| EnvelopeError::Malformed(error.to_string()))
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// [`EnvelopeError`], also for a batch.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, EnvelopeError> {
        Self::read(&text_of(bytes.into())?)
    }

    fn read(text: &ByteString) -> Result<Self, EnvelopeError> {
        let (object, outline) = Object::parse_outlined(text).map_err(unreadable)?;
        let part = |raw: &str| text.slice_ref(raw);
        let raw_id = object.get("id");
        let id = raw_id.and_then(|raw| Id::from_raw(part(raw)));
        let fail = |reason: &str| Err(invalid(reason, id.clone()));

        if object.get_str("jsonrpc").as_deref() != Some("2.0") {
            return fail("\"jsonrpc\" must be \"2.0\"");
        }
        if raw_id.is_some() && id.is_none() && !(raw_id == Some("null") && has_error(&object)) {
            return fail("\"id\" must be a string or an integer");
        }
        if let Some(raw) = object.get("method") {
            let Some(method) = json::as_str(raw) else {
                return fail("\"method\" must be a string");
            };
            if object.get("result").is_some() || object.get("error").is_some() {
                return fail("a message has either \"method\" or \"result\" or \"error\"");
            }
            let method = match method {
                std::borrow::Cow::Borrowed(inner) => part(inner),
                std::borrow::Cow::Owned(unescaped) => unescaped.into(),
            };
            let params = object.get("params").map(part);
            if params
                .as_ref()
                .is_some_and(|params| !json::is_object(params))
            {
                return fail("\"params\" must be an object");
            }
            return Ok(match id {
                Some(id) => Self::Request(Request {
                    id,
                    method,
                    params,
                    outline,
                    text: text.clone(),
                }),
                None => Self::Notification(Notification {
                    method,
                    params,
                    text: text.clone(),
                }),
            });
        }
        let outcome = match (object.get("result"), object.get("error")) {
            (Some(result), None) if json::is_object(result) => Outcome::Result(part(result)),
            (Some(_), None) => return fail("\"result\" must be an object"),
            (None, Some(error)) if json::is_object(error) => Outcome::Error(part(error)),
            (None, Some(_)) => return fail("\"error\" must be an object"),
            (Some(_), Some(_)) => return fail("a response has either \"result\" or \"error\""),
            (None, None) => return fail("neither \"method\" nor \"result\" nor \"error\""),
        };
        if id.is_none() && matches!(outcome, Outcome::Result(_)) {
            return fail("a result needs the \"id\" of its request");
        }
        // `jsonrpc`, the outcome, and the id where there is one.
        let more = object.members().len() > 2 + usize::from(raw_id.is_some());
        Ok(Self::Response(Response {
            id,
            outcome,
            more,
            text: text.clone(),
        }))
    }
}

/// JSON-RPC answers an unreadable request with `"id": null`; legacy peers do so.
fn has_error(object: &Object<'_>) -> bool {
    object.get("method").is_none() && object.get("error").is_some()
}

fn unreadable(error: ObjectError) -> EnvelopeError {
    match error {
        ObjectError::Syntax(reason) => EnvelopeError::Malformed(reason),
        ObjectError::TooDeep(error) => error.into(),
        ObjectError::NotAnObject | ObjectError::DuplicateKey(_) => invalid(error.to_string(), None),
    }
}

fn invalid(reason: impl Into<String>, id: Option<Id>) -> EnvelopeError {
    EnvelopeError::Invalid {
        reason: reason.into(),
        id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, EnvelopeError> {
        Message::parse(text.as_bytes().to_vec())
    }

    fn code(text: &str) -> i64 {
        parse(text).unwrap_err().to_wire().code
    }

    #[test]
    fn reads_the_three_kinds() {
        let Message::Request(request) =
            parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools\/call","params":{"x":1}}"#).unwrap()
        else {
            panic!("a request")
        };
        assert_eq!(request.method, "tools/call");
        assert_eq!(request.params.unwrap(), r#"{"x":1}"#);
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap(),
            Message::Notification(_)
        ));
        let Message::Response(response) =
            parse(r#"{"jsonrpc":"2.0","id":"a","result":{"big":12345678901234567890123}}"#)
                .unwrap()
        else {
            panic!("a response")
        };
        assert!(
            matches!(response.outcome, Outcome::Result(text) if text.contains("12345678901234567890123"))
        );
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for text in [
            "",
            "{",
            "nul",
            "{\"jsonrpc\":\"2.0\",\"method\":\"a\nb\"}",
            "{\"a\":\"\0\"}",
        ] {
            assert_eq!(code(text), -32700, "{text:?}");
        }
        assert_eq!(
            Message::parse(vec![0xff, 0xfe]).unwrap_err().to_wire().code,
            -32700
        );
    }

    #[test]
    fn what_is_not_a_message_is_an_invalid_request() {
        for text in [
            "[]",
            "1",
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        ] {
            assert_eq!(code(text), -32600, "{text}");
        }
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        );
        assert_eq!(code(&deep), -32600);
    }

    #[test]
    fn the_id_is_kept_with_the_error_where_it_can_be_read() {
        let error = parse(r#"{"jsonrpc":"2.0","id":"q","method":1}"#).unwrap_err();
        assert_eq!(error.id().unwrap().as_raw(), "\"q\"");
    }

    #[test]
    fn a_batch_is_read_element_by_element() {
        let body = Body::parse(
            br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},5,{"jsonrpc":"2.0","method":"n"}]"#
                .to_vec(),
        );
        let Ok(Body::Batch(elements)) = body else {
            panic!("a batch")
        };
        assert!(elements[0].is_ok() && elements[1].is_err() && elements[2].is_ok());
        assert!(Body::parse(&b"[]"[..]).is_err());
        assert!(Body::parse(&b"[{}"[..]).is_err());
    }

    #[test]
    fn a_batch_is_bounded() {
        let batch = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(matches!(Body::parse(batch(MAX_BATCH)), Ok(Body::Batch(all)) if all.len() == 1000));
        let refused = Body::parse(batch(MAX_BATCH + 1)).unwrap_err();
        assert_eq!(refused.to_wire().code, -32600);
    }
}
