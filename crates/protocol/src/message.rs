use bytes::Bytes;
use bytestring::ByteString;

use crate::{
    Id, WireError,
    json::{self, Object, ObjectError, TooDeep},
};

/// What an HTTP body or a line holds.
#[derive(Debug, Clone)]
pub enum Body {
    /// One message.
    Single(Message),
    /// A JSON-RPC batch: 2025-03-26 only. Each element stands for itself, valid or not.
    Batch(Vec<Result<Message, EnvelopeError>>),
}

/// One JSON-RPC message. All parts are slices of the received text.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Answers a request.
    Response(Response),
}

/// A JSON-RPC request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The whole message.
    pub text: ByteString,
    /// The request id.
    pub id: Id,
    /// The method, unescaped.
    pub method: ByteString,
    /// The text of `params`, an object, where present.
    pub params: Option<ByteString>,
}

/// A JSON-RPC notification.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The whole message.
    pub text: ByteString,
    /// The method, unescaped.
    pub method: ByteString,
    /// The text of `params`, an object, where present.
    pub params: Option<ByteString>,
}

/// A JSON-RPC response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The whole message.
    pub text: ByteString,
    /// The id of the request that is answered. `None` only with an error about a request whose
    /// id could not be read.
    pub id: Option<Id>,
    /// What came out.
    pub outcome: Outcome,
}

/// The outcome that a response carries.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The text of `result`, an object.
    Result(ByteString),
    /// The text of `error`, an object.
    Error(ByteString),
}

/// Why a text is not an MCP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not UTF-8, or not JSON.
    #[error("the message is not valid JSON: {0}")]
    Malformed(String),
    /// JSON, but nested too deep to be read safely.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    /// JSON, but not a JSON-RPC message as MCP has it.
    #[error("the message is not a valid JSON-RPC message: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
        /// The id, where it could be read all the same.
        id: Option<Id>,
    },
}

impl EnvelopeError {
    /// The id to answer with, where it could be read.
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::Invalid { id, .. } => id.as_ref(),
            _ => None,
        }
    }

    /// The error as the sender gets it: `-32700` for what is not JSON, `-32600` for the rest.
    pub fn to_wire(&self) -> WireError {
        match self {
            Self::Malformed(_) => WireError::parse(self.to_string()),
            _ => WireError::invalid_request(self.to_string()),
        }
    }
}

impl Body {
    /// Reads the body of an HTTP request, or a line.
    ///
    /// # Errors
    /// [`EnvelopeError`] for what is not one message and not a batch. An invalid element of a
    /// batch does not spoil the others.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, EnvelopeError> {
        let text = text_of(bytes.into())?;
        json::check_depth(&text)?;
        if !text
            .trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('[')
        {
            return Message::read(&text).map(Self::Single);
        }
        let elements = json::elements(&text)
            .ok_or_else(|| EnvelopeError::Malformed("a batch that does not parse".into()))?;
        if elements.is_empty() {
            return Err(invalid("an empty batch", None));
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
        let text = text_of(bytes.into())?;
        json::check_depth(&text)?;
        Self::read(&text)
    }

    /// Reads text whose nesting has been checked.
    fn read(text: &ByteString) -> Result<Self, EnvelopeError> {
        let object = Object::parse(text).map_err(|error| match error {
            ObjectError::Syntax(reason) => EnvelopeError::Malformed(reason),
            ObjectError::NotAnObject | ObjectError::DuplicateKey(_) => {
                invalid(error.to_string(), None)
            }
        })?;
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
        Ok(Self::Response(Response {
            id,
            outcome,
            text: text.clone(),
        }))
    }
}

/// JSON-RPC answers an unreadable request with `"id": null`; legacy peers do so.
fn has_error(object: &Object<'_>) -> bool {
    object.get("method").is_none() && object.get("error").is_some()
}

fn invalid(reason: impl Into<String>, id: Option<Id>) -> EnvelopeError {
    EnvelopeError::Invalid {
        reason: reason.into(),
        id,
    }
}

impl Request {
    /// A request of our own making; `params` is the text of an object.
    pub fn new(id: Id, method: &str, params: Option<&str>) -> Self {
        let params_member = params
            .map(|params| format!(",\"params\":{params}"))
            .unwrap_or_default();
        let text: ByteString = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{}{params_member}}}",
            json::quote(method)
        )
        .into();
        Self {
            id,
            method: method.to_owned().into(),
            params: params.map(|params| params.to_owned().into()),
            text,
        }
    }

    /// The text of the same request under another id and with other `params` (the text of an
    /// object); every other byte of the envelope stays.
    pub fn rewritten_text(&self, id: &Id, params: Option<&str>) -> ByteString {
        let Some(id_at) = span(&self.text, self.id.as_raw()) else {
            return self
                .rewritten(id.clone(), params.map(|params| params.to_owned().into()))
                .text;
        };
        let mut cuts = vec![(id_at, id.as_raw())];
        if let Some(params) = params {
            let Some(at) = self.params.as_ref().and_then(|old| span(&self.text, old)) else {
                let params = Some(params.to_owned().into());
                return self.rewritten(id.clone(), params).text;
            };
            cuts.push((at, params));
        }
        cuts.sort_unstable_by_key(|(at, _)| at.start);
        let grown: usize = cuts.iter().map(|(_, new)| new.len()).sum();
        let mut out = String::with_capacity(self.text.len() + grown);
        let mut done = 0;
        for (at, new) in cuts {
            out.push_str(&self.text[done..at.start]);
            out.push_str(new);
            done = at.end;
        }
        out.push_str(&self.text[done..]);
        out.into()
    }

    /// The same request under another id and with other `params` (the text of an object); every
    /// other byte of the envelope stays.
    pub fn rewritten(&self, id: Id, params: Option<ByteString>) -> Self {
        // The envelope was read before, so it parses.
        let Ok(object) = Object::parse(&self.text) else {
            return self.clone();
        };
        let text = object
            .edit()
            .set("id", id.as_raw())
            .set_some("params", params.as_deref())
            .finish();
        let params = params.or_else(|| self.params.clone());
        Self {
            id,
            method: self.method.clone(),
            params,
            text: text.into(),
        }
    }
}

/// Where `part` stands in `text`, if it is a slice of it.
fn span(text: &ByteString, part: &str) -> Option<std::ops::Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= text.len() && text.is_char_boundary(start) && text.is_char_boundary(end))
        .then_some(start..end)
}

impl Notification {
    /// A notification of our own making; `params` is the text of an object.
    pub fn new(method: &str, params: Option<&str>) -> Self {
        let params_member = params
            .map(|params| format!(",\"params\":{params}"))
            .unwrap_or_default();
        let text: ByteString = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":{}{params_member}}}",
            json::quote(method)
        )
        .into();
        Self {
            method: method.to_owned().into(),
            params: params.map(|params| params.to_owned().into()),
            text,
        }
    }

    /// The same notification with other `params`; every other byte of the envelope stays.
    pub fn with_params(&self, params: impl Into<ByteString>) -> Self {
        let params = params.into();
        let Ok(object) = Object::parse(&self.text) else {
            return self.clone();
        };
        let text = object.edit().set("params", &*params).finish().into();
        Self {
            method: self.method.clone(),
            params: Some(params),
            text,
        }
    }
}

impl Response {
    /// A response with `result`, the text of an object.
    pub fn result(id: &Id, result: &str) -> Self {
        Self::new(Some(id), "result", result)
    }

    /// A response with an error; `id` is missing where the request's could not be read.
    pub fn error(id: Option<&Id>, error: &WireError) -> Self {
        Self::new(id, "error", &error.to_json())
    }

    /// A response with the text of an error object that came from elsewhere.
    pub fn raw_error(id: &Id, error: &str) -> Self {
        Self::new(Some(id), "error", error)
    }

    fn new(id: Option<&Id>, key: &str, value: &str) -> Self {
        const AROUND: usize = 40;
        let mut text =
            String::with_capacity(AROUND + value.len() + id.map_or(0, |id| id.as_raw().len()));
        text.push_str("{\"jsonrpc\":\"2.0\",");
        if let Some(id) = id {
            text.push_str("\"id\":");
            text.push_str(id.as_raw());
            text.push(',');
        }
        text.push('"');
        text.push_str(key);
        text.push_str("\":");
        let start = text.len();
        text.push_str(value);
        text.push('}');
        let text = ByteString::from(text);
        let part = text.slice_ref(&text[start..start + value.len()]);
        let outcome = if key == "result" {
            Outcome::Result(part)
        } else {
            Outcome::Error(part)
        };
        Self {
            text,
            id: id.cloned(),
            outcome,
        }
    }

    /// The same response under another id; every other byte stays.
    pub fn with_id(&self, id: &Id) -> Self {
        let Ok(object) = Object::parse(&self.text) else {
            return self.clone();
        };
        let text = object.edit().set("id", id.as_raw()).finish().into();
        Self {
            text,
            id: Some(id.clone()),
            outcome: self.outcome.clone(),
        }
    }

    /// The same response with another `result`, the text of an object.
    pub fn with_result(&self, result: impl Into<ByteString>) -> Self {
        let result = result.into();
        let Ok(object) = Object::parse(&self.text) else {
            return self.clone();
        };
        let text = object.edit().set("result", &*result).finish().into();
        Self {
            text,
            id: self.id.clone(),
            outcome: Outcome::Result(result),
        }
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
    fn splicing_and_editing_give_the_same_text() {
        for text in [
            r#"{"jsonrpc":"2.0","id":"c","method":"m","params":{"name":"a"},"x":1}"#,
            r#"{"params" : {} ,"jsonrpc":"2.0","method":"m","id": 12345678901234567890 }"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#,
        ] {
            let Ok(Message::Request(request)) = parse(text) else {
                panic!("a request")
            };
            let id = Id::from(7);
            for params in [None, Some(r#"{"p":[1,2]}"#)] {
                let spliced = request.rewritten_text(&id, params);
                let edited =
                    request.rewritten(id.clone(), params.map(|text| text.to_owned().into()));
                let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                assert_eq!(value(&spliced), value(&edited.text), "{text}");
            }
        }
    }

    #[test]
    fn rewriting_touches_nothing_else() {
        let text = r#"{"x-trace":{"n":1e400},"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"a"}}"#;
        let Ok(Message::Request(request)) = parse(text) else {
            panic!("a request")
        };
        let sent = request.rewritten(Id::from(9), Some(r#"{"name":"b"}"#.into()));
        assert_eq!(
            sent.text,
            r#"{"x-trace":{"n":1e400},"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"b"}}"#
        );
    }
}
